#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "raw_client.hpp"
#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

using namespace sandbox_test;
using agentsight::test::TemporaryFolder;
using sandbox::Server;

TEST_CASE("rows and conversations survive a restart, and ids go on") {
    const TemporaryFolder folder;
    const auto file = folder.path() / "rows";
    {
        Server server{{.file = file}};
        server.add_conversation("made by hand", 77);
        exchange(server.port(), create("one"));
        exchange(server.port(), post(old_route, {{"sentiment", "negative"},
                                                 {"conversation", 5},
                                                 {"metadata", {{"deep", {1, 2.5, nullptr}}}}}));
        exchange(server.port(), create("three"));
        server.remove_row(3);
    }
    Server server{{.file = file}};
    const auto rows = server.rows();
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].comment == "one");
    CHECK(rows[1].conversation == 5);
    CHECK(Json::parse(rows[1].metadata) == Json{{"deep", {1, 2.5, nullptr}}});
    CHECK(rows[1].created_at_us > rows[0].created_at_us);
    CHECK(server.add_conversation("made by hand") == 77);
    CHECK(exchange(server.port(), create("four")).json().at("id") == 4);
}

TEST_CASE("a last line cut short is dropped, and the file goes on after it") {
    const TemporaryFolder folder;
    const auto file = folder.path() / "rows";
    {
        Server server{{.file = file}};
        exchange(server.port(), create("one"));
        exchange(server.port(), create("two"));
    }
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
    {
        Server server{{.file = file}};
        CHECK(server.row_count() == 1);
        exchange(server.port(), create("three"));
    }
    Server server{{.file = file}};
    REQUIRE(server.row_count() == 2);
    CHECK(server.rows()[1].comment == "three");
}

TEST_CASE("a file that is something else is refused and left alone") {
    const TemporaryFolder folder;
    const auto file = folder.path() / "rows";
    std::ofstream{file} << "dear diary\n";
    CHECK_THROWS_AS((Server{{.file = file}}), std::runtime_error);
    CHECK(std::filesystem::file_size(file) == 11);
    CHECK_THROWS_AS((Server{{.file = folder.path()}}), std::runtime_error);
    CHECK_THROWS_AS((Server{{.file = folder.path() / "no" / "such"}}), std::runtime_error);
}

TEST_CASE("reset empties the file too") {
    const TemporaryFolder folder;
    const auto file = folder.path() / "rows";
    {
        Server server{{.file = file}};
        exchange(server.port(), create("one"));
        server.reset();
        exchange(server.port(), create("two"));
    }
    Server server{{.file = file}};
    REQUIRE(server.row_count() == 1);
    CHECK(server.rows()[0].comment == "two");
}
