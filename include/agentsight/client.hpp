#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "agentsight/error.hpp"
#include "agentsight/export.hpp"
#include "agentsight/feedback.hpp"
#include "agentsight/options.hpp"

namespace agentsight {

/// Online calls: each sends requests and waits for the answer, within
/// Options::request_timeout each. No outbox, no retry. Any thread.
class AGENTSIGHT_API Client {
  public:
    /// Uses endpoint, credential, TLS and time limits of `options`, with the same
    /// defaults from the environment. Throws errc::invalid_option.
    explicit Client(Options options = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// The conversation as the server describes it; an object with "id", the database
    /// id. Text is the business id, an integer the database id. Throws Error:
    /// no_credential, network, unauthorized, forbidden, not_found, api.
    nlohmann::json fetch_conversation(const ConversationRef& conversation) {
        return nlohmann::json::parse(fetch_conversation_text(conversation));
    }

    /// The same as the JSON text that the server sent.
    std::string fetch_conversation_text(const ConversationRef& conversation);

  private:
    class AGENTSIGHT_HIDDEN Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight
