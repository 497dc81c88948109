#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/uuid.hpp"
#include "outbox/job.hpp"

/// What people do to records. Each throws Error (not_found, refused_state) and is durable
/// once its job is committed.
namespace agentsight::outbox {

/// A person's change of one record.
class RecordJob : public Job {
  public:
    RecordJob(const core::Uuid& id, std::string path);
    void apply(Tables& tables) override;

  protected:
    virtual void change(Tables& tables, RowState& row) = 0;
    [[noreturn]] void refuse(const RowState& row, std::string_view why) const;

  private:
    core::Uuid id_;
    std::string path_;
    std::optional<Lane> left_in_;  ///< by an earlier run
};

class RequeueJob final : public RecordJob {
  public:
    RequeueJob(const core::Uuid& id, std::string path, bool force)
        : RecordJob(id, std::move(path)), force_(force) {}

  private:
    void change(Tables& tables, RowState& row) override;
    bool force_;
};

class DiscardJob final : public RecordJob {
  public:
    DiscardJob(const core::Uuid& id, std::string path, bool force, bool drainer_lives)
        : RecordJob(id, std::move(path)), force_(force), drainer_lives_(drainer_lives) {}

  private:
    void change(Tables& tables, RowState& row) override;
    bool force_;
    bool drainer_lives_;
};

class ResolveJob final : public RecordJob {
  public:
    /// `delivered`: it did arrive, as `server_id` where known; else it is sent again.
    ResolveJob(const core::Uuid& id, std::string path, bool delivered, std::string server_id)
        : RecordJob(id, std::move(path)), delivered_(delivered), server_id_(std::move(server_id)) {}

  private:
    void change(Tables& tables, RowState& row) override;
    void claim_server_id(Tables& tables, const RowState& row) const;
    bool delivered_;
    std::string server_id_;
};

class HoldJob final : public Job {
  public:
    explicit HoldJob(bool hold) : Job(Kind::other), hold_(hold) {}
    void apply(Tables& tables) override;

  private:
    bool hold_;
};

}  // namespace agentsight::outbox
