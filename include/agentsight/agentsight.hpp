#pragma once

#include "agentsight/client.hpp"
#include "agentsight/conversation_manager.hpp"
#include "agentsight/error.hpp"
#include "agentsight/events.hpp"
#include "agentsight/feedback.hpp"
#include "agentsight/options.hpp"
#include "agentsight/outbox.hpp"
#include "agentsight/status.hpp"
#include "agentsight/version.hpp"
