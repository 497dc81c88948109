#include "agentsight/client.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <utility>

#include "core/json_tree.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"
#include "core/wire.hpp"
#include "net/transport.hpp"
#include "os/clock.hpp"
#include "settings.hpp"
#include "transport_options.hpp"

namespace agentsight {
namespace {

namespace asio = boost::asio;

/// A long conversation, with all its messages.
constexpr std::size_t max_conversation_bytes = 8 * 1024 * 1024;

/// One request, on an event loop that lives as long as it.
core::Evidence exchange(const Settings& settings, core::HttpRequest request) {
    static const os::SystemClock clock;
    asio::io_context context{1};
    net::TransportOptions options = transport_options(settings);
    options.connections = 1;
    options.max_body_bytes = max_conversation_bytes;
    net::Transport transport(context, std::move(options), clock);
    core::Evidence evidence;
    asio::awaitable<core::Evidence> sending = transport.send(std::move(request));
    asio::co_spawn(context, std::move(sending),
                   [&](std::exception_ptr failure, core::Evidence result) {
                       if (failure) {
                           result.failure = core::Failure::aborted;
                           result.detail = "the transport failed by itself";
                       }
                       evidence = std::move(result);
                       transport.abort();
                   });
    context.run();
    return evidence;
}

[[noreturn]] void fail(const core::Evidence& evidence) {
    constexpr std::string_view doing = "fetching a conversation: ";
    if (evidence.failure != core::Failure::none) {
        core::throw_error(errc::network, core::joined({doing, "no answer (", evidence.detail,
                                                       "): try again later"}));
    }
    std::string words;
    const bool api = evidence.json && core::parse_api_error(evidence.body, words);
    errc code = errc::api;
    if (evidence.status == 401) {
        code = errc::unauthorized;
    } else if (evidence.status == 403) {
        code = errc::forbidden;
    } else if (evidence.status == 404 && api) {
        code = errc::not_found;
    }
    Error error(code, core::joined({doing, "the server answered ", std::to_string(evidence.status),
                                    words.empty() ? "" : " (", words, words.empty() ? "" : ")"}));
    error.with_response(evidence.status, evidence.body);
    throw error;
}

[[noreturn]] void fail_unexpected(const core::Evidence& evidence) {
    Error error(
        errc::api,
        "fetching a conversation: the server's answer is not the API's: check the endpoint");
    error.with_response(evidence.status, evidence.body);
    throw error;
}

}  // namespace

class Client::Impl {
  public:
    explicit Impl(Options options) : settings_(resolve(std::move(options))) {}

    std::string fetch(const ConversationRef& conversation) const {
        check(conversation);
        if (settings_.options.credential.kind() == Credential::Kind::none) {
            core::throw_error(errc::no_credential,
                              "fetching a conversation: no credential: set Options::credential or "
                              "AGENTSIGHT_API_KEY");
        }
        const std::string id = conversation.is_number() ? std::to_string(conversation.number())
                                                        : find(conversation.text());
        core::Evidence answer = get(core::conversation_request(id));
        const nlohmann::json body = core::parse_json(answer.body);
        if (!body.is_object() || !body.contains("id")) {
            fail_unexpected(answer);
        }
        return std::move(answer.body);
    }

  private:
    void check(const ConversationRef& conversation) const {
        const core::FeedbackInput input{conversation, Sentiment::neutral, std::nullopt, {}, {}};
        core::Feedback ignored;
        if (const std::error_code problem = core::validate(input, {}, ignored)) {
            core::throw_error(static_cast<errc>(problem.value()),
                              core::validation_message(problem));
        }
    }

    core::Evidence get(core::HttpRequest request) const {
        core::Evidence answer = exchange(settings_, std::move(request));
        if (answer.failure != core::Failure::none || answer.status != 200) {
            fail(answer);
        }
        return answer;
    }

    /// The database id by the list's filter: the helper route is not on every server.
    std::string find(std::string_view business_id) const {
        const core::Evidence answer = get(core::find_conversation_request(business_id));
        const std::optional<std::string> found =
            core::parse_found_conversation(answer.body, business_id);
        if (!found) {
            fail_unexpected(answer);
        }
        if (found->empty()) {
            core::throw_error(errc::not_found,
                              "fetching a conversation: the server knows none of this id");
        }
        return *found;
    }

    const Settings settings_;
};

Client::Client(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::~Client() = default;

std::string Client::fetch_conversation_text(const ConversationRef& conversation) {
    return impl_->fetch(conversation);
}

}  // namespace agentsight
