#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/api.hpp"
#include "sandbox/fault_book.hpp"
#include "sandbox/http.hpp"
#include "sandbox/inspection.hpp"
#include "sandbox/settings.hpp"
#include "sandbox/store.hpp"

namespace sandbox {

/// A request between its arrival and its answer.
struct Exchange {
    Request request;
    Body body;
    std::string_view route;
    Plan plan;
    Prepared prepared;
    std::int64_t row_id = 0;
};

/// How an exchange ends, once faults have had their say.
struct Ending {
    enum class Kind { reply, close, hang };
    Kind kind = Kind::reply;
    Reply reply;
    bool reset = false;
};

struct HubOptions {
    std::filesystem::path file;  ///< empty: rows in memory only
    Settings settings;
    std::size_t request_log = 100'000;       ///< requests and errors kept, each; then the oldest go
    std::function<void(const Row&)> on_row;  ///< called on the server's thread
};

/// All state of the sandbox: tables, faults, journal, clock. The server's thread changes
/// it, any thread may read and steer: every public member takes the lock.
class Hub {
  public:
    /// Runs a function on the server's thread after a while.
    using Schedule = std::function<void(std::int64_t ms, std::function<void()>)>;

    Hub(HubOptions options, Schedule schedule);

    // For connections.
    std::uint64_t open_connection(std::optional<Fault>& fault);
    Exchange admit(Request request);
    Ending answer(Exchange& exchange);
    void answered(const Exchange& exchange, int status);
    void note(std::uint64_t connection, std::uint64_t request, Remark remark);
    std::string date_field();
    int keep_alive_ms();

    // For steering and looking, from any thread.
    std::vector<Row> rows();
    std::vector<Row> rows_after(std::int64_t id, std::size_t limit);
    std::size_t row_count();
    std::vector<RequestRecord> requests(std::uint64_t after = 0);
    std::uint64_t request_count();
    std::vector<ProtocolError> errors();
    std::uint64_t connection_count();
    bool wait_for_rows(std::size_t count, std::chrono::milliseconds timeout);
    bool wait_for_requests(std::uint64_t count, std::chrono::milliseconds timeout);
    std::uint64_t add_fault(Fault fault);
    bool remove_fault(std::uint64_t id);
    void clear_faults();
    std::vector<FaultState> faults();
    void set_clock_offset(std::int64_t ms);
    std::int64_t clock_offset();
    Settings settings();
    void change_settings(const std::function<void(Settings&)>& change);
    std::int64_t add_conversation(const std::string& conversation_id, std::int64_t key);
    bool remove_row(std::int64_t id);
    void clear_journal();
    /// Rows, conversations, faults, journal and clock offset; ids go on increasing.
    void reset();

  private:
    std::int64_t now_us() const;
    void log(const Exchange& exchange);
    RequestRecord* find_record(std::uint64_t number);
    void push_error(ProtocolError error);
    const Row& store(Row row);
    Ending decide(Exchange& exchange);
    Ending create(Exchange& exchange);
    void store_later(Row row, std::int64_t ms);

    std::mutex mutex_;
    std::condition_variable changed_;
    Schedule schedule_;
    Settings settings_;
    std::size_t request_log_;
    std::function<void(const Row&)> on_row_;
    Store store_;
    FaultBook book_;
    std::deque<RequestRecord> requests_;
    std::deque<ProtocolError> errors_;
    std::uint64_t connections_ = 0;
    std::uint64_t request_count_ = 0;
    std::size_t live_rows_ = 0;
    std::int64_t offset_us_ = 0;
    std::int64_t date_second_ = -1;
    std::string date_;
};

}  // namespace sandbox
