#include "agentsight/agentsight.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "agentsight/client.hpp"
#include "agentsight/conversation_manager.hpp"
#include "agentsight/version.hpp"
#include "c_options.hpp"
#include "c_text.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"

/// The handle of the C interface is the C++ object itself.
struct agentsight_manager {
    explicit agentsight_manager(agentsight::Options options) : manager(std::move(options)) {}
    agentsight::ConversationManager manager;
};

namespace agentsight {
namespace {

using std::chrono::milliseconds;

/// The caller's buffer; see the header.
struct Message {
    char* text;
    std::size_t size;

    void set(std::string_view sentence) const noexcept {
        if (!text || size == 0) {
            return;
        }
        std::size_t length = std::min(sentence.size(), size - 1);
        while (length > 0 && length < sentence.size() &&
               (static_cast<unsigned char>(sentence[length]) & 0xc0) == 0x80) {
            --length;  // not in the middle of a character
        }
        std::memcpy(text, sentence.data(), length);
        text[length] = '\0';
    }
};

int code_of(const std::error_code& code) {
    return code.category() == error_category() ? code.value() : AGENTSIGHT_INTERNAL;
}

/// What an Error had to say beside its message, for the functions that pass it on.
struct Details {
    std::string record_id;
    int http_status = 0;
    std::string response;
};

/// Inside a handler: the code of the exception in flight. One copy for all functions.
int code_of_failure(const Message& message, Details* details) noexcept {
    try {
        throw;
    } catch (const Error& error) {
        message.set(error.what());
        try {
            if (details) {
                *details = {error.id(), error.http_status(), error.response()};
            }
        } catch (...) {
            return AGENTSIGHT_OUT_OF_MEMORY;
        }
        return code_of(error.code());
    } catch (const std::bad_alloc&) {
        message.set("no memory: free some and call again");
        return AGENTSIGHT_OUT_OF_MEMORY;
    } catch (const std::exception& failure) {
        message.set(failure.what());
        return AGENTSIGHT_INTERNAL;
    } catch (...) {
        message.set("an unknown failure: please report it");
        return AGENTSIGHT_INTERNAL;
    }
}

/// Runs `body`, which returns a code; no exception gets past.
template <class Body>
int guarded(const Message& message, Body&& body, Details* details = nullptr) noexcept {
    try {
        message.set("");
        return body();
    } catch (...) {
        return code_of_failure(message, details);
    }
}

[[noreturn]] void refuse(std::string_view what) {
    core::throw_error(errc::invalid_option, what);
}

[[noreturn]] void refuse_null(const char* name) {
    refuse(core::joined({"the argument ", name, " is NULL: give one"}));
}

template <class T>
T& required(T* pointer, const char* name) {
    if (!pointer) {
        refuse_null(name);
    }
    return *pointer;
}

ConversationManager& required(agentsight_manager* manager) {
    return required(manager, "manager").manager;
}

std::string_view text_of(const char* text, std::size_t length) {
    return text ? std::string_view{text, length} : std::string_view{};
}

/// A structure of the caller's as this library knows it: what an older caller did not know is
/// zero; what a newer one set beyond it is refused, not ignored.
template <class Struct>
Struct sized_copy(const Struct& given, const char* name) {
    const std::size_t size = given.struct_size;
    if (size < sizeof(std::size_t) || size > 4096) {
        refuse(core::joined({"struct_size of ", name, " is not its size: set it to sizeof"}));
    }
    const char* const bytes = reinterpret_cast<const char*>(&given);
    for (std::size_t i = sizeof(Struct); i < size; ++i) {
        if (bytes[i] != 0) {
            refuse(core::joined(
                {name, " has a member that this version of the library does not know: update it"}));
        }
    }
    Struct copy{};
    std::memcpy(&copy, &given, std::min(size, sizeof(Struct)));
    return copy;
}

Feedback feedback_of(const agentsight_feedback& given) {
    const ConversationRef conversation =
        given.conversation_id
            ? ConversationRef{text_of(given.conversation_id, given.conversation_id_length)}
            : ConversationRef{given.conversation};
    Feedback feedback{conversation, text_of(given.sentiment, given.sentiment_length)};
    if (given.comment) {
        feedback.comment = text_of(given.comment, given.comment_length);
    }
    feedback.metadata_json = text_of(given.metadata, given.metadata_length);
    if (given.id) {
        feedback.id = text_of(given.id, given.id_length);
        if (feedback.id.empty()) {
            feedback.id = "-";  // given on purpose: refused, not replaced
        }
    }
    return feedback;
}

agentsight_receipt receipt_of(std::string_view id, bool stored) noexcept {
    agentsight_receipt result{};
    id.copy(result.id, sizeof result.id - 1);
    result.stored = stored ? 1 : 0;
    return result;
}

/// Text for agentsight_free().
char* allocated(std::string_view text) {
    char* const copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (!copy) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
    return copy;
}

void hand_over(std::string_view text, char*& out, std::size_t* length) {
    out = allocated(text);
    if (length) {
        *length = text.size();
    }
}

/// What agentsight_callbacks::dispatch passes back to us.
extern "C" void agentsight_run_task(void* task) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(task));
    try {
        (*owned)();
    } catch (...) {  // NOLINT: the relay has counted it; C knows no exceptions
    }
}

void set_callbacks(Options& options, const agentsight_callbacks& callbacks) {
    void* const context = callbacks.context;
    if (callbacks.observe) {
        options.observer = [context, observe = callbacks.observe](const Event& event) {
            const std::string json = event_json(event);
            observe(context, json.data(), json.size());
        };
    }
    if (callbacks.log) {
        options.log = [context, log = callbacks.log](LogLevel level, std::string_view line) {
            log(context, static_cast<int>(level), line.data(), line.size());
        };
    }
    if (callbacks.dispatch) {
        options.dispatch = [context,
                            dispatch = callbacks.dispatch](std::function<void()> callback) {
            auto task = std::make_unique<std::function<void()>>(std::move(callback));
            dispatch(context, &agentsight_run_task, task.release());
        };
    }
}

Credential credential_of(int kind, std::string_view secret) {
    switch (kind) {
        case AGENTSIGHT_CREDENTIAL_NONE:
            return {};
        case AGENTSIGHT_CREDENTIAL_API_KEY:
            return ApiKey{std::string(secret)};
        case AGENTSIGHT_CREDENTIAL_JWT:
            return Jwt{std::string(secret)};
        default:
            refuse("the argument kind is not one of agentsight_credential_kind: give another");
    }
}

}  // namespace
}  // namespace agentsight

using namespace agentsight;

int agentsight_open(const char* options, size_t options_length,
                    const agentsight_callbacks* callbacks, agentsight_manager** manager,
                    char* message, size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        required(manager, "manager") = nullptr;
        Options all = options_from_json(text_of(options, options_length));
        if (callbacks) {
            set_callbacks(all, sized_copy(*callbacks, "agentsight_callbacks"));
        }
        *manager = new agentsight_manager(std::move(all));
        return AGENTSIGHT_OK;
    });
}

void agentsight_stop(agentsight_manager* manager, int64_t deadline_ms) noexcept {
    if (!manager) {
        return;
    }
    guarded({nullptr, 0}, [&] {
        manager->manager.close(milliseconds{std::max<int64_t>(deadline_ms, 0)});
        return AGENTSIGHT_OK;
    });
}

void agentsight_close(agentsight_manager* manager, int64_t deadline_ms) noexcept {
    agentsight_stop(manager, deadline_ms);
    delete manager;
}

int agentsight_submit(agentsight_manager* manager, const agentsight_feedback* feedback,
                      agentsight_receipt* receipt, char* message, size_t message_size) noexcept {
    Details details;
    Receipt made{{}, false};
    const int code = guarded(
        {message, message_size},
        [&] {
            const agentsight_feedback known =
                sized_copy(required(feedback, "feedback"), "agentsight_feedback");
            made = required(manager).submit_feedback(feedback_of(known));
            return AGENTSIGHT_OK;
        },
        &details);
    if (receipt) {
        *receipt = code == AGENTSIGHT_OK ? receipt_of(made.id, made.stored)
                                         : receipt_of(details.record_id, false);
    }
    return code;
}

int agentsight_submit_async(agentsight_manager* manager, const agentsight_feedback* feedback,
                            void (*done)(void* context, int code,
                                         const agentsight_receipt* receipt),
                            void* context, char* message, size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        const agentsight_feedback known =
            sized_copy(required(feedback, "feedback"), "agentsight_feedback");
        required(manager).async_submit_feedback(
            feedback_of(known), [done, context](std::error_code code, const Receipt& made) {
                if (done) {
                    const agentsight_receipt receipt = receipt_of(made.id, made.stored);
                    done(context, code ? code_of(code) : AGENTSIGHT_OK, &receipt);
                }
            });
        return AGENTSIGHT_OK;
    });
}

int agentsight_flush(agentsight_manager* manager, int64_t deadline_ms, char* message,
                     size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        return required(manager).flush(milliseconds{deadline_ms}) ? AGENTSIGHT_OK
                                                                  : AGENTSIGHT_NOT_SETTLED;
    });
}

int agentsight_wait(agentsight_manager* manager, const char* id, size_t id_length,
                    int64_t deadline_ms, int* state, char* message, size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        required(state, "state") = AGENTSIGHT_STATE_WAITING;
        *state =
            static_cast<int>(required(manager, "manager")
                                 .manager.wait(text_of(id, id_length), milliseconds{deadline_ms}));
        return AGENTSIGHT_OK;
    });
}

int agentsight_stats(agentsight_manager* manager, char** json, size_t* length, char* message,
                     size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        required(json, "json") = nullptr;
        hand_over(status_json(required(manager).stats()), *json, length);
        return AGENTSIGHT_OK;
    });
}

int agentsight_pause(agentsight_manager* manager, int paused, char* message,
                     size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        ConversationManager& known = required(manager);
        paused ? known.pause() : known.resume();
        return AGENTSIGHT_OK;
    });
}

int agentsight_set_credential(agentsight_manager* manager, int kind, const char* secret,
                              size_t secret_length, char* message, size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        required(manager).set_credential(credential_of(kind, text_of(secret, secret_length)));
        return AGENTSIGHT_OK;
    });
}

int agentsight_network_changed(agentsight_manager* manager, char* message,
                               size_t message_size) noexcept {
    return guarded({message, message_size}, [&] {
        required(manager).network_changed();
        return AGENTSIGHT_OK;
    });
}

int agentsight_fetch_conversation(const char* options, size_t options_length,
                                  const char* conversation_id, size_t conversation_id_length,
                                  int64_t conversation, char** response, size_t* length,
                                  int* http_status, char* message, size_t message_size) noexcept {
    Details details;
    const int code = guarded(
        {message, message_size},
        [&] {
            required(response, "response") = nullptr;
            Client client(options_from_json(text_of(options, options_length)));
            const ConversationRef name =
                conversation_id ? ConversationRef{text_of(conversation_id, conversation_id_length)}
                                : ConversationRef{conversation};
            hand_over(client.fetch_conversation_text(name), *response, length);
            details.http_status = 200;
            return AGENTSIGHT_OK;
        },
        &details);
    if (http_status) {
        *http_status = details.http_status;
    }
    if (code == AGENTSIGHT_OK || details.http_status == 0) {
        return code;
    }
    return guarded({nullptr, 0}, [&] {  // the refusal's body; the message stands already
        hand_over(details.response, *response, length);
        return code;
    });
}

void agentsight_free(void* text) noexcept {
    std::free(text);
}

const char* agentsight_version(void) noexcept {
    return version();
}
