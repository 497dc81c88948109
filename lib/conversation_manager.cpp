#include "agentsight/conversation_manager.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "core/credential.hpp"
#include "core/feedback.hpp"
#include "core/throw_error.hpp"
#include "core/uuid.hpp"
#include "net/tls_library.hpp"
#include "os/clock.hpp"
#include "os/process.hpp"
#include "outbox/store.hpp"
#include "relay.hpp"
#include "settings.hpp"
#include "store_options.hpp"
#include "worker.hpp"

namespace agentsight {
namespace {

/// Clock and chance of the process: stateless, and used by threads that may outlive a manager.
const os::SystemClock& system_clock() {
    static const os::SystemClock* const clock = new os::SystemClock;
    return *clock;
}
os::SystemRandom& system_random() {
    static os::SystemRandom* const random = new os::SystemRandom;
    return *random;
}

bool is_settled(RecordState state) {
    return state == RecordState::delivered || state == RecordState::dead ||
           state == RecordState::discarded;
}

}  // namespace

class ConversationManager::Impl {
  public:
    explicit Impl(Options options)
        : settings_(resolve(std::move(options))),
          kind_(settings_.options.credential.kind()),
          relay_(std::make_shared<Relay>(settings_.options.observer, settings_.options.log,
                                         settings_.options.dispatch)),
          fork_generation_(os::fork_generation()) {
        if (settings_.endpoint.tls) {
            net::keep_tls_through_exit();
        }
        outbox::StoreOptions store =
            store_options(settings_.options.outbox_path, OutboxMode::create, settings_.options);
        // The worker is made after the store and known to it only then.
        const auto hook = std::make_shared<std::atomic<Worker*>>(nullptr);
        store.on_work = [hook] {
            if (Worker* worker = hook->load()) {
                worker->work_committed();
            }
        };
        if (relay_->listens()) {
            store.on_submitted = [relay = relay_](const core::Uuid& id) noexcept {
                relay->submitted(id);
            };
        }
        store.on_event = [relay = relay_, hook](const Event& event) {
            relay->post(event);
            if (Worker* worker = hook->load()) {
                worker->wake();  // to tell it, also where it has nothing to send
            }
        };
        store_ = std::make_shared<outbox::Store>(std::move(store), system_clock(), system_random());
        worker_ =
            std::make_shared<Worker>(settings_, store_, relay_, system_clock(), system_random());
        hook_ = hook;
        *hook_ = worker_.get();
        worker_->start();
    }

    ~Impl() {
        closed_ = true;
        worker_->shut(settings_.options.close_deadline);
        *hook_ = nullptr;
        if (os::fork_generation() != fork_generation_) {
            // In a forked child: nothing of the parent's database may be touched or closed.
            new std::shared_ptr<outbox::Store>(std::move(store_));
            new std::shared_ptr<Worker>(std::move(worker_));
        }
    }

    void check_usable() const {
        if (os::fork_generation() != fork_generation_) {
            core::throw_error(errc::forked,
                              "using a manager made before fork: make a new one in the child");
        }
        if (closed_) {
            core::throw_error(errc::closed, "using a manager that has been closed: make a new one");
        }
    }

    /// Validation, before anything is written; throws Error.
    outbox::Submission submission(const Feedback& feedback,
                                  std::error_code metadata_problem) const {
        const core::ValidationLimits limits{settings_.options.max_metadata_bytes};
        outbox::Submission result;
        result.kind = kind_;
        if (!feedback.id.empty()) {
            result.id = core::Uuid::parse(feedback.id);
            if (!result.id) {
                refuse(errc::record_id_invalid, limits, {});
            }
        }
        const core::FeedbackInput input{feedback.conversation, feedback.sentiment, feedback.comment,
                                        feedback.metadata_json, metadata_problem};
        if (const std::error_code problem = core::validate(input, limits, result.feedback)) {
            refuse(problem, limits, result.id ? result.id->text() : std::string());
        }
        return result;
    }

    Receipt submit(const Feedback& feedback, std::error_code metadata_problem) {
        check_usable();
        Receipt receipt;
        receipt.id.reserve(core::Uuid::text_size);  // once it is stored nothing may fail any more
        const outbox::SubmitResult result = store_->submit(submission(feedback, metadata_problem));
        receipt.stored = result.stored;
        if (result.has_id) {
            result.id.append_text(receipt.id);
        }
        if (result.error) {
            core::throw_error(static_cast<errc>(result.error.value()), result.message, receipt.id);
        }
        if (result.stored && relay_->listens()) {
            relay_->log_submitted(receipt.id);
            worker_->wake();  // a worker that does not drain has the event to tell, all the same
        }
        return receipt;
    }

    void async_submit(const Feedback& feedback, std::error_code metadata_problem,
                      SubmitCallback callback) {
        std::error_code refused;
        std::string id;
        bool stored = false;
        QueuedSubmit queued;
        queued.callback = std::move(callback);
        try {
            check_usable();
            queued.submission = submission(feedback, metadata_problem);
            if (worker_->has_thread()) {
                if (worker_->enqueue(queued)) {
                    return;
                }
                refused = errc::busy;
            } else {  // no thread could be started: the caller's commits
                const outbox::SubmitResult result = store_->submit(queued.submission);
                refused = result.error;
                id = result.has_id ? result.id.text() : std::string();
                stored = !result.error && result.stored;
            }
        } catch (const Error& error) {
            refused = error.code();
            id = error.id();
        }
        if (queued.callback) {
            queued.callback(refused, Receipt{id, stored});
        }
    }

    RecordState wait(std::string_view id, std::chrono::milliseconds deadline) {
        constexpr std::chrono::hours longest{24 * 365};  // beyond: for ever, without overflow
        const auto until =
            std::chrono::steady_clock::now() +
            std::clamp<std::chrono::milliseconds>(deadline, std::chrono::milliseconds{0}, longest);
        while (true) {
            check_usable();
            const std::uint64_t seen = worker_->changes();
            const RecordState state = store_->state_of(id);
            if (is_settled(state) || worker_->on_own_thread() ||
                std::chrono::steady_clock::now() >= until) {
                return state;
            }
            worker_->wait_for_change(seen, until);
        }
    }

    void set_credential(Credential credential) {
        if (std::optional<std::string> problem = core::credential_problem(credential)) {
            core::throw_error(errc::invalid_option, "the credential " + *problem);
        }
        kind_ = credential.kind();
        worker_->set_credential(std::move(credential));
    }

    void close(std::chrono::milliseconds deadline) {
        if (os::fork_generation() == fork_generation_) {
            closed_ = true;
        }
        worker_->close(deadline);
    }

    outbox::Store& store() { return *store_; }
    Worker& worker() { return *worker_; }

  private:
    [[noreturn]] static void refuse(std::error_code problem, const core::ValidationLimits& limits,
                                    const std::string& id) {
        core::throw_error(static_cast<errc>(problem.value()),
                          core::validation_message(problem, limits), id);
    }

    Settings settings_;
    std::atomic<Credential::Kind> kind_;
    std::shared_ptr<Relay> relay_;
    std::shared_ptr<std::atomic<Worker*>> hook_;
    std::shared_ptr<outbox::Store> store_;
    std::shared_ptr<Worker> worker_;
    std::atomic<bool> closed_ = false;
    const std::uint64_t fork_generation_;
};

ConversationManager::ConversationManager(Options options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

ConversationManager::~ConversationManager() = default;

Receipt ConversationManager::submit(const Feedback& feedback, std::error_code metadata_problem,
                                    std::error_code* ec) {
    if (!ec) {
        return impl_->submit(feedback, metadata_problem);
    }
    try {
        Receipt receipt = impl_->submit(feedback, metadata_problem);
        ec->clear();
        return receipt;
    } catch (const Error& error) {
        *ec = error.code();
        return Receipt{error.id(), false};
    } catch (const std::bad_alloc&) {
        *ec = errc::out_of_memory;
        return Receipt{{}, false};
    }
}

void ConversationManager::async_submit(const Feedback& feedback, std::error_code metadata_problem,
                                       SubmitCallback callback) {
    impl_->async_submit(feedback, metadata_problem, std::move(callback));
}

bool ConversationManager::flush(std::chrono::milliseconds deadline) {
    impl_->check_usable();
    return impl_->worker().flush(deadline);
}

RecordState ConversationManager::wait(std::string_view id, std::chrono::milliseconds deadline) {
    return impl_->wait(id, deadline);
}

RecordState ConversationManager::wait(std::string_view id, std::chrono::milliseconds deadline,
                                      std::error_code& ec) {
    try {
        ec.clear();
        return impl_->wait(id, deadline);
    } catch (const Error& error) {
        ec = error.code();
        return RecordState::waiting;
    }
}

Status ConversationManager::stats() const {
    impl_->check_usable();
    return impl_->store().status();
}

void ConversationManager::pause() {
    impl_->check_usable();
    impl_->worker().pause(true);
}

void ConversationManager::resume() {
    impl_->check_usable();
    impl_->worker().pause(false);
}

void ConversationManager::set_credential(Credential credential) {
    impl_->check_usable();
    impl_->set_credential(std::move(credential));
}

void ConversationManager::network_changed() {
    impl_->check_usable();
    impl_->worker().network_changed();
}

void ConversationManager::close(std::chrono::milliseconds deadline) {
    impl_->close(deadline);
}

ConversationManager& conversation_manager() {
    static std::mutex mutex;
    static ConversationManager* manager = nullptr;
    static std::uint64_t generation = 0;
    const std::lock_guard lock(mutex);
    if (!manager || generation != os::fork_generation()) {
        const bool first = !manager;
        manager = new ConversationManager();  // a forked child leaves the parent's alone
        generation = os::fork_generation();
        // Never destroyed: others may still use it. Its thread ends before the libraries it
        // uses are torn down, because this handler was registered after theirs.
        if (first) {
            std::atexit([] { manager->close(std::chrono::milliseconds{500}); });
        }
    }
    return *manager;
}

}  // namespace agentsight
