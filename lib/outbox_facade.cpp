#include <utility>

#include "agentsight/outbox.hpp"
#include "core/throw_error.hpp"
#include "feedback_batch.hpp"
#include "os/bell.hpp"
#include "os/clock.hpp"
#include "outbox/store.hpp"
#include "settings.hpp"
#include "store_options.hpp"

namespace agentsight {
namespace {

/// Records a visitor sees at a time: short read transactions, bounded memory.
constexpr std::size_t page_size = 256;

/// Some three milliseconds of work, so that a submit that comes meanwhile waits no longer than
/// for a slow disk; four times fewer syncs than with 64.
constexpr std::size_t imports_a_commit = 256;

/// Looked at without a lock: to judge a million records takes seconds, in which no submit may
/// have to wait. What cannot be read is left to whoever has the lock.
bool is_sound(const std::filesystem::path& path, const Options& options) {
    try {
        return Outbox{path, OutboxMode::read_only, options}.verify().empty();
    } catch (const Error& error) {
        if (error.code() == errc::no_such_file && std::filesystem::exists(path)) {
            throw;  // a file in which nothing was ever written: neither sound nor damaged
        }
        return false;
    }
}

}  // namespace

class Outbox::Impl {
  public:
    Impl(const std::filesystem::path& path, OutboxMode mode, const Options& options)
        : limits_{options.max_metadata_bytes},
          store_(with_observer(with_bell(store_options(path, mode, options)), options.observer),
                 clock_, random_) {}

    outbox::Store& store() { return store_; }

    Receipt submit(const Feedback& feedback) {
        SubmitOutcome outcome = to_outcome(store_.submit(prepared({feedback}, limits_)));
        if (outcome.error) {
            core::throw_error(static_cast<errc>(outcome.error.value()), outcome.message,
                              outcome.receipt.id);
        }
        return std::move(outcome.receipt);
    }

    std::vector<SubmitOutcome> submit_many(const std::vector<outbox::Submission>& submissions) {
        std::vector<SubmitOutcome> outcomes;
        outcomes.reserve(submissions.size());
        for (outbox::SubmitResult& result : store_.submit_many(submissions, imports_a_commit)) {
            outcomes.push_back(to_outcome(std::move(result)));
        }
        return outcomes;
    }

  private:
    /// Whatever we commit wakes the drainer, wherever it runs; the bell is opened when it is
    /// first needed, which is after the store has checked its folder.
    outbox::StoreOptions with_bell(outbox::StoreOptions options) {
        options.on_work = [this] {
            if (!bell_) {
                std::filesystem::path path = store_.path();
                path += "-bell";
                bell_ = std::make_unique<os::Bell>(path);
            }
            bell_->ring();
        };
        return options;
    }

    /// On the caller's thread. An observer that throws stops nothing.
    static outbox::StoreOptions with_observer(outbox::StoreOptions options,
                                              const Observer& observer) {
        if (observer) {
            options.on_event = [observer](const Event& event) {
                try {
                    observer(event);
                } catch (...) {
                }
            };
        }
        return options;
    }

    static SubmitOutcome to_outcome(outbox::SubmitResult result) {
        return {{result.has_id ? result.id.text() : std::string(), result.stored},
                result.error,
                std::move(result.message)};
    }

    const core::ValidationLimits limits_;
    os::SystemClock clock_;
    os::SystemRandom random_;
    std::unique_ptr<os::Bell> bell_;
    outbox::Store store_;
};

Outbox::Outbox(const std::filesystem::path& path, OutboxMode mode, const Options& options)
    : impl_(std::make_unique<Impl>(path, mode, options)) {}
Outbox::~Outbox() = default;
Outbox::Outbox(Outbox&&) noexcept = default;
Outbox& Outbox::operator=(Outbox&&) noexcept = default;

std::filesystem::path Outbox::default_path(const std::string& application) {
    Options options;
    options.application = application;
    return resolve_outbox_path(options);
}

Status Outbox::status() const {
    return impl_->store().status();
}

std::vector<Record> Outbox::list(const Filter& filter, std::size_t limit) const {
    return impl_->store().list(filter, limit);
}

void Outbox::for_each(const Filter& filter, const std::function<bool(const Record&)>& visit) const {
    Filter rest = filter;
    while (true) {
        const std::vector<Record> page = impl_->store().list(rest, page_size);
        for (const Record& record : page) {
            if (!visit(record)) {
                return;
            }
        }
        if (page.size() < page_size) {
            return;
        }
        rest.after = page.back().id;
    }
}

Record Outbox::get(std::string_view id) const {
    return impl_->store().get(id);
}

std::uint64_t Outbox::count(const Filter& filter) const {
    return impl_->store().count(filter);
}

Receipt Outbox::submit(const Feedback& feedback) {
    return impl_->submit(feedback);
}

void Outbox::validate(const Feedback& feedback, const Options& options) {
    prepared({feedback}, {options.max_metadata_bytes});
}

std::vector<SubmitOutcome> Outbox::submit_many(const FeedbackBatch& feedbacks) {
    return impl_->submit_many(feedbacks.impl_->submissions);
}

void Outbox::requeue(std::string_view id, bool force) {
    impl_->store().requeue(id, force);
}
void Outbox::discard(std::string_view id, bool force) {
    impl_->store().discard(id, force);
}

void Outbox::resolve_delivered(std::string_view id, std::string_view server_id) {
    impl_->store().resolve_delivered(id, server_id);
}
void Outbox::resolve_resend(std::string_view id) {
    impl_->store().resolve_resend(id);
}

std::vector<std::string> Outbox::verify() const {
    return verify_report().problems;
}

VerifyReport Outbox::verify_report() const {
    return impl_->store().verify_report();
}

std::uint64_t Outbox::purge(UtcMilliseconds before) {
    return impl_->store().purge(before);
}

Compacted Outbox::compact() {
    return impl_->store().compact();
}

Salvage Outbox::salvage(const std::filesystem::path& path, const Options& options,
                        bool even_if_sound) {
    outbox::require_something_to_salvage(path);
    if (!even_if_sound && is_sound(path, options)) {
        return {};
    }
    return Impl{path, OutboxMode::create, options}.store().salvage(even_if_sound);
}

void Outbox::hold() {
    impl_->store().hold();
}
void Outbox::release() {
    impl_->store().release();
}

}  // namespace agentsight
