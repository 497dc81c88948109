#include "outbox/people.hpp"

#include "agentsight/error.hpp"
#include "agentsight/feedback.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"
#include "outbox/drain.hpp"

namespace agentsight::outbox {

namespace {

/// Sent anew, behind everything accepted so far.
void requeue(Tables& tables, RowState& row) {
    row.turn = tables.last_turn();
    row.attempts = 0;
    row.refusals = 0;
    row.first_attempt.reset();
    row.looks = 0;
    row.first_absent.reset();
    tables.wait_again(row, tables.now());
}

}  // namespace

RecordJob::RecordJob(const core::Uuid& id, std::string path)
    : Job(Kind::other), id_(id), path_(std::move(path)) {}

void RecordJob::apply(Tables& tables) {
    const auto key = tables.find(id_);
    if (!key) {
        core::throw_error(errc::not_found,
                          core::joined({"no record ", id_.text(), " in '", path_, "'"}));
    }
    RowState row = existing_row(tables.database(), *key);
    // Else the commit of unknown outcome did reach the disk.
    if (row.lane != left_in_) {
        change(tables, row);
    }
    left_in_ = row.lane;
    makes_work = true;
}

void RecordJob::refuse(const RowState& row, std::string_view why) const {
    core::throw_error(errc::refused_state,
                      core::joined({"record ", id_.text(), " is ",
                                    to_string(public_state(row.lane)), ": ", why}));
}

void RequeueJob::change(Tables& tables, RowState& row) {
    if (row.lane == Lane::dead) {
        return requeue(tables, row);
    }
    if (row.lane != Lane::unknown && row.lane != Lane::left) {
        refuse(row, "only dead letters, and with force unknown records, are requeued");
    }
    if (!force_) {
        refuse(row, "it may have arrived; requeue it with force, or resolve it");
    }
    ++tables.ledger().possible_duplicates;
    requeue(tables, row);
}

void DiscardJob::change(Tables& tables, RowState& row) {
    switch (row.lane) {
        case Lane::delivered:
        case Lane::discarded:
            refuse(row, "there is nothing left to discard");
        case Lane::claimed:
            if (drainer_lives_) {
                refuse(row, "it is being sent; try again once it is settled");
            }
            if (!force_) {
                refuse(
                    row,
                    "it may have arrived; discard it with force, or let the next drain find out");
            }
            break;
        case Lane::unknown:
        case Lane::left:
            if (!force_) {
                refuse(row, "it may have arrived; discard it with force, or resolve it");
            }
            break;
        default:
            break;
    }
    tables.erase_text(row);
    row.due.reset();
    row.last_error.clear();
    row.ended = tables.moment();  // when it was settled, for a purge
    tables.move(row, Lane::discarded);
}

void ResolveJob::change(Tables& tables, RowState& row) {
    if (row.lane != Lane::unknown && row.lane != Lane::left) {
        refuse(row, "only unknown records are resolved");
    }
    if (delivered_) {
        claim_server_id(tables, row);
        mark_delivered(tables, row, server_id_, std::nullopt, {});
        return;
    }
    ++tables.ledger().possible_duplicates;
    if (row.lane == Lane::left) {
        return requeue(tables, row);
    }
    tables.wait_again(row, tables.now());
}

/// One row of the server is one record's. A record whose origin is not known, as it comes from
/// elsewhere, claims it under none, and may not have one that any other record has.
void ResolveJob::claim_server_id(Tables& tables, const RowState& row) const {
    if (server_id_.empty()) {
        return;
    }
    std::optional<std::int64_t> owner;
    {
        sqlite::Rows rows = tables.database().query(
            "SELECT key FROM owned WHERE origin IN (SELECT 0 UNION SELECT number FROM origin)"
            " AND server_id = ?1 AND (?2 IS NULL OR origin = ?2 OR origin = 0) AND key <> ?3"
            " LIMIT 1",
            server_id_, row.origin, row.key);
        if (rows.next()) {
            owner = rows.integer(0);
        }
    }
    if (owner) {
        const auto other = read_row(tables.database(), *owner);
        core::throw_error(errc::refused_state,
                          "the server's id " + server_id_ + " is another record's" +
                              (other ? ", " + other->name().text() : "") +
                              "; look on the server which one is this record's");
    }
    if (!row.origin) {
        tables.own(0, server_id_, row.key, tables.moment().utc_ms);
    }
}

void HoldJob::apply(Tables& tables) {
    Control& control = tables.ledger().control;
    if (hold_) {
        if (!control.person_hold) {
            control.person_hold = true;
            control.person_hold_since = tables.moment().utc_ms;
        }
        return;
    }
    control.person_hold = false;
    ++control.releases;
    // A drainer ends its own; where there is none, the next one begins without. What the server
    // said binds still, and without a credential nothing can be sent.
    std::vector<HoldRow> holds = read_holds(tables.database());
    std::erase_if(holds, [&](HoldRow& hold) {
        if (hold.reason == HoldReason::throttled) {
            hold.until = hold.told();
            hold.step = 0;
            return !hold.until || *hold.until <= tables.now();
        }
        return hold.reason != HoldReason::no_credential;
    });
    write_holds(tables.database(), holds);
    tables.ledger().refusals_in_row = 0;
    makes_work = true;
}

}  // namespace agentsight::outbox
