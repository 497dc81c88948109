#include <sys/stat.h>

#include <fstream>

#include "tool.hpp"

using namespace agentsight::test;

TEST_CASE("a technician finds the refused key by a script, replaces it, drains and verifies") {
    constexpr const char* new_key = "ags_fedcba9876543210fedcba9876543210_543210";
    Tool tool;
    sandbox::ServerOptions options;
    options.settings.api_keys = {new_key};
    const sandbox::Server server(std::move(options));
    for (int i = 0; i < 12; ++i) {
        tool.submit("conversation-" + std::to_string(i));
    }
    // The kiosk's own key has been withdrawn.
    CHECK(tool.drain(server).code == 3);
    const Run before = tool({"status"});
    CHECK(before.out.find("the server refuses the API key since 2") != std::string::npos);
    CHECK(before.out.find("(401 Invalid API key.): 12 records wait") != std::string::npos);
    CHECK(before.out.find("set a new key; nothing is lost") != std::string::npos);

    const std::string key_file = (tool.folder / "new.key").string();
    std::ofstream(key_file) << "Api-Key " << new_key << "\n";
    ::chmod(key_file.c_str(), 0600);
    const std::filesystem::path program = AGENTSIGHT_OUTBOX_TOOL;
    tool.environment["PATH"] = program.parent_path().string() + ":/usr/bin:/bin";
    tool.environment["AGENTSIGHT_API_ENDPOINT"] = server.url();
    const Run run = run_program("/bin/sh", {TECHNICIAN_SCRIPT, key_file}, tool.environment);
    CAPTURE(run.out);
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(run.out.starts_with("held: credential_refused, 12 waiting\n"));
    CHECK(run.out.ends_with("delivered: 12\n"));
    CHECK(server.row_count() == 12);
    // Once it is put right, there is nothing to find.
    CHECK(run_program("/bin/sh", {TECHNICIAN_SCRIPT, key_file}, tool.environment).code == 1);
    for (const std::string& text : {run.out, run.err}) {
        CHECK(text.find("fedcba") == std::string::npos);
    }
}
