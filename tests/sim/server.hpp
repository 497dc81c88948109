#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/exchange.hpp"
#include "scenario.hpp"

namespace agentsight::sim {

/// The true time when the simulation begins: 2026-03-01T00:00:00Z.
constexpr core::UtcMs epoch = 1'772'323'200'000;

struct Row {
    int id = 0;
    std::string record;        ///< the Idempotency-Key it came under: for the checks only
    std::string conversation;  ///< "=business id" or "#database id"
    std::string sentiment;
    std::string comment;  ///< stripped
    bool of_platform = false;
    Time created = 0;
};

struct Reply {
    int status = 200;
    std::string body;
    bool json = true;
    std::optional<std::string> retry_after;
    bool dated = true;
};

/// The API, both generations, as it behaves in the field: not idempotent, sometimes stale,
/// sometimes elsewhere. Knows only the truth's time.
class Server {
  public:
    Server(const Scenario& scenario, test::TestRandom& random);

    Reply handle(const core::HttpRequest& request, Credential::Kind kind, Time now);
    core::UtcMs date(Time now) const;

    const std::vector<Row>& rows() const { return rows_; }
    /// How many POSTs arrived under this key.
    int arrivals(const std::string& record) const;

    static constexpr const char* refused_comment = "refuse me";
    static constexpr const char* firewalled_comment = "'; DROP TABLE";
    static constexpr const char* failing_comment = "crash me";
    static constexpr const char* missing_conversation = "nobody-knows";

  private:
    Reply post(const core::HttpRequest& request, Credential::Kind kind, Time now);
    Reply moody(Time now);
    Reply get(const core::HttpRequest& request, Time now);
    Reply list(const std::map<std::string, std::string>& query, Time now);
    Reply conversation(const std::string& database_id, Time now);
    std::optional<Reply> in_the_way(const core::HttpRequest& request, Time now);
    bool is_visible(const Row& row, Time now) const;
    std::string row_json(const Row& row, bool with_conversation) const;

    const Scenario& scenario_;
    test::TestRandom& random_;
    std::vector<Row> rows_;
    std::map<std::string, int> arrivals_;
};

}  // namespace agentsight::sim
