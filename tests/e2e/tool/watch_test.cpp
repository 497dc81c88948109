#include <signal.h>

#include <fstream>

#include "tool.hpp"
#include "watch_frame.hpp"

// `watch`: what it draws, how it ends, and that the terminal is as it was afterwards.

using namespace agentsight::test;
using namespace std::chrono_literals;
using agentsight::Status;
using agentsight::tool::block_plot;
using agentsight::tool::WatchHistory;
using agentsight::tool::WatchLook;
using nlohmann::json;

namespace {

Environment on_terminal(const Tool& tool) {
    Environment environment = tool.environment;
    environment["TERM"] = "xterm";
    return environment;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
        text += line + "\n";
    }
    return text;
}

/// Code points.
std::size_t columns_of(const std::string& line) {
    return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
}

/// Ten minutes of a kiosk whose key was refused and replaced, looked at every ten seconds.
struct Night {
    Night() {
        constexpr agentsight::UtcMilliseconds start = 1'786'975'200'000;  // 2026-08-17T14:00:00Z
        Status& status = look.status;
        status.path = "/var/lib/kiosk/feedback.db";
        status.delivered = 10'250;
        status.dead = 2;
        status.drainer = agentsight::Drainer{4711, false};
        for (int i = 0; i < 60; ++i) {
            const auto at = std::chrono::milliseconds(i * 10'000);
            status.waiting = static_cast<std::uint64_t>(i < 10 ? 0 : (i - 10) * 6 + i % 7 * 2);
            status.accepted = status.waiting + status.delivered + status.dead;
            status.bytes = 180'000 + status.waiting * 400;
            history.add(at, status);
        }
        look.now = start + 600'000;
        status.oldest_submitted_at = start + 102'000;
        status.last_delivered_at = start + 98'400;
        agentsight::Hold hold{};
        hold.reason = agentsight::HoldReason::credential_refused;
        hold.since = start + 103'480;
        hold.status = 401;
        hold.detail = "Invalid API key.";
        status.hold = hold;
        look.errors.push_back(
            {start + 580'112, "401 Invalid API key.", 3, "0198b7d6-3f1a-7c02-9a41-5be7c08d12fe"});
        look.errors.push_back({start - 86'400'000, "422 comment: Not a valid string.", 2,
                               "0198b2af-9d11-7e40-8c6b-02d4f9a7b3c1"});
    }

    WatchLook look;
    WatchHistory history;
};

}  // namespace

TEST_CASE("the capture in the README is what watch draws") {
    const Night night;
    const std::string screen =
        joined(agentsight::tool::watch_frame(night.look, night.history, {90, 30, 10s}));
    std::ifstream file(README);
    const std::string readme{std::istreambuf_iterator<char>(file), {}};
    CAPTURE(screen);
    CHECK(readme.find("$ agentsight-outbox watch --every 10s\n" + screen) != std::string::npos);
}

TEST_CASE("a screen of any size is never overrun") {
    const Night night;
    for (std::size_t columns = 1; columns < 130; columns += 3) {
        for (std::size_t rows = 1; rows < 50; ++rows) {
            const auto lines =
                agentsight::tool::watch_frame(night.look, night.history, {columns, rows, 1s});
            CAPTURE(columns);
            CAPTURE(rows);
            REQUIRE(lines.size() <= rows);
            for (const std::string& line : lines) {
                REQUIRE(columns_of(line) <= columns);
            }
        }
    }
}

TEST_CASE("the plot scales to the largest value, and shows a single record") {
    const std::vector<std::string> plot = block_plot({0, 1, 50, 100}, 6, 2);
    REQUIRE(plot.size() == 2);
    CHECK(plot[0] == "     █");
    CHECK(plot[1] == "   ▁██");
    CHECK(block_plot({}, 3, 1) == std::vector<std::string>{"   "});
    CHECK(block_plot({0, 0}, 3, 1) == std::vector<std::string>{"   "});
    CHECK(block_plot({1, 2, 3, 4, 8}, 2, 1) == std::vector<std::string>{"▄█"});
}

TEST_CASE("rates are of the last ten seconds, and none where the counts went back") {
    WatchHistory history;
    Status status;
    history.add(0ms, status);
    CHECK(history.rate_in() == 0);
    for (int second = 1; second <= 60; ++second) {
        status.accepted += second <= 50 ? 100 : 3;
        status.delivered += second <= 50 ? 0 : 7;
        history.add(std::chrono::seconds(second), status);
    }
    CHECK(history.rate_in() == doctest::Approx(3));
    CHECK(history.rate_out() == doctest::Approx(7));
    status.accepted = 1;
    history.add(61s, status);
    CHECK(history.rate_in() == 0);
}

TEST_CASE("the server's words cannot act on the screen") {
    Night night;
    night.look.status.hold->detail = "\x1b[2J\x07 gone \xe2\x80\xae";
    night.look.errors[0].words = "500 \x1b]0;title\x07\n\r";
    const std::string screen =
        joined(agentsight::tool::watch_frame(night.look, night.history, {100, 40, 1s}));
    CHECK(screen.find('\x1b') == std::string::npos);
    CHECK(screen.find('\x07') == std::string::npos);
    CHECK(screen.find('\r') == std::string::npos);
    CHECK(screen.find("\xe2\x80\xae") == std::string::npos);
    CHECK(screen.find("\\x1b[2J") != std::string::npos);
}

TEST_CASE("a long error is shown whole where there is room, and hides no other") {
    Night night;
    night.look.errors.clear();
    for (int i = 0; i < 4; ++i) {
        night.look.errors.push_back(
            {night.look.now,
             std::to_string(500 + i) + " " + std::string(60, 'w') + " the last words", 1,
             "0198b2af-9d11-7e40-8c6b-02d4f9a7b3c1"});
    }
    for (const std::size_t rows : {24, 60}) {
        const std::string screen =
            joined(agentsight::tool::watch_frame(night.look, night.history, {80, rows, 1s}));
        CAPTURE(screen);
        for (const char* status : {"1 x  500", "1 x  501", "1 x  502", "1 x  503"}) {
            CHECK(screen.find(status) != std::string::npos);
        }
        CHECK((screen.find("the last words") != std::string::npos) == (rows == 60));
    }
}

TEST_CASE("on a terminal watch is drawn in place, follows the outbox, and q ends it") {
    const Tool tool;
    tool.submit();
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"watch", "--every", "100ms"},
                            on_terminal(tool));
    REQUIRE(session.until_shown("waiting    1 "));
    REQUIRE(session.until_shown("q quits"));
    CHECK(session.screen().is_alternate());
    CHECK_FALSE(session.screen().has_cursor());
    CHECK(session.screen().shows("no process is sending"));
    CHECK_FALSE(session.is_cooked());
    tool.submit();
    REQUIRE(session.until_shown("waiting    2 "));
    REQUIRE(session.until_shown("█"));
    tool.json({"hold"});
    REQUIRE(session.until_shown("stopped by a person"));
    session.type("x");  // no key of ours
    session.type("q");
    CHECK(session.until_ended() == 0);
    CHECK_FALSE(session.screen().is_alternate());
    CHECK(session.screen().has_cursor());
    CHECK(session.screen().wraps());
    CHECK(session.is_cooked());
    CHECK(session.screen().text().empty());
}

TEST_CASE("Ctrl-C and a signal that ends programs give the terminal back too") {
    const Tool tool;
    tool.submit();
    for (const int signal : {0, SIGINT, SIGTERM, SIGHUP}) {
        CAPTURE(signal);
        TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"watch"}, on_terminal(tool));
        REQUIRE(session.until_shown("q quits"));
        if (signal == 0) {
            session.type("\x03");
        } else {
            session.send(signal);
        }
        CHECK(session.until_ended() == 0);
        CHECK_FALSE(session.screen().is_alternate());
        CHECK(session.screen().has_cursor());
        CHECK(session.is_cooked());
    }
}

TEST_CASE("watch fills a terminal that has grown, and is whole on one that has shrunk") {
    const Tool tool;
    tool.submit();
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"watch", "--every", "1h"}, on_terminal(tool),
                            40, 12);
    REQUIRE(session.until_shown("q quits"));
    session.resize(120, 40);
    REQUIRE(session.until_shown("not yet delivered, the last"));
    session.resize(20, 5);
    REQUIRE(session.until_shown("2"));
    session.type("q");
    CHECK(session.until_ended() == 0);
}

TEST_CASE("piped, watch prints a line for each look, and JSON where it is asked for") {
    const Tool tool;
    tool.submit();
    const Run run = tool({"watch", "--every", "100ms", "--count", "3"});
    CHECK(run.code == 0);
    CHECK(run.err.empty());
    CHECK(std::count(run.out.begin(), run.out.end(), '\n') == 3);
    CHECK(run.out.find('\x1b') == std::string::npos);
    CHECK(run.out.find("1 waiting, 0 claimed, 0 unknown, 0 dead, 0 delivered") !=
          std::string::npos);
    const json look = tool.json({"watch", "--count", "1"});
    CHECK(look["waiting"] == 1);
    CHECK(look["in_per_second"] == 0);
    CHECK(look["errors"].empty());
    CHECK(look["trouble"] == nullptr);
}

TEST_CASE("watch names what failed, in the server's words") {
    const Tool tool;
    sandbox::Server server;
    server.add_fault("status,status=422,body=json,times=2");
    tool.submit("a");
    tool.submit("b");
    REQUIRE(tool.drain(server).code == 0);
    const json look = tool.json({"watch", "--count", "1"});
    REQUIRE(look["errors"].size() == 1);
    CHECK(look["errors"][0]["records"] == 2);
    CHECK(look["errors"][0]["words"].get<std::string>().starts_with("422"));
}

TEST_CASE("watch counts the newest failures too, and says where there may be more") {
    const Tool tool;
    std::string lines;
    for (int i = 0; i < 230; ++i) {
        lines +=
            R"({"conversation_id":"c)" + std::to_string(i) + R"(","sentiment":"neutral"})" + "\n";
    }
    REQUIRE(tool({"import", "-"}, lines).code == 0);
    const std::string newest = tool.submit("newest");
    sandbox::Server server;
    server.add_fault("status,status=425,body=json,conversation_id=newest");
    server.add_fault("status,status=404,body=json");
    REQUIRE(tool.drain(server, {"--deadline", "2s"}).code == 3);
    std::map<std::string, json> errors;
    const json look = tool.json({"watch", "--count", "1"});
    for (const json& error : look["errors"]) {
        errors[error["words"].get<std::string>().substr(0, 3)] = error;
    }
    REQUIRE(errors.size() == 2);
    CHECK(errors["425"]["id"] == newest);
    CHECK(errors["404"]["records"] == 230);
    CHECK(errors["404"]["and_more"] == true);
}

TEST_CASE("an outbox that goes away while it is watched is said, and looked for again") {
    const Tool tool;
    tool.submit();
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"watch", "--every", "100ms"},
                            on_terminal(tool));
    REQUIRE(session.until_shown("waiting    1 "));
    for (const char* companion : {"", "-wal", "-shm"}) {
        std::filesystem::remove(tool.path() + companion);
    }
    REQUIRE(session.until_shown("cannot look"));
    tool.submit();
    tool.submit();
    REQUIRE(session.until_shown("waiting    2 "));
    session.type("q");
    CHECK(session.until_ended() == 0);
}
