#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "help.hpp"

// What the program's help says stands in the man page and in the completions too, and in the
// README; and nothing more.

using namespace agentsight::test;

namespace {

std::string source(const std::string& name) {
    const std::string text = bytes_of(std::string(TOOL_SOURCES) + "/" + name);
    REQUIRE_FALSE(text.empty());
    return text;
}

/// What bash would offer after these words.
std::set<std::string> offered(std::vector<std::string> words) {
    const std::string last = std::to_string(words.size());
    std::string script =
        ". '" TOOL_SOURCES "/completion/agentsight-outbox.bash'; COMP_WORDS=(agentsight-outbox";
    for (const std::string& word : words) {
        script += " '" + word + "'";
    }
    script +=
        "); COMP_CWORD=" + last +
        "; _agentsight_outbox; [ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' \"${COMPREPLY[@]}\"";
    const Run run =
        run_program("/usr/bin/env", {"bash", "-c", script}, {{"PATH", "/usr/bin:/bin"}});
    REQUIRE(run.code == 0);
    REQUIRE(run.err.empty());
    std::istringstream stream(run.out);
    return {std::istream_iterator<std::string>(stream), {}};
}

/// The part of the man page about one verb.
std::string man_section(const std::string& page, const std::string& verb) {
    const std::regex heading("\\n\\.SS \"?" + verb + "[ \"\\n]");
    std::smatch match;
    if (!std::regex_search(page, match, heading)) {
        return {};
    }
    const auto begin = static_cast<std::size_t>(match.position(0)) + 1;
    const std::size_t end = std::min(page.find("\n.SS ", begin), page.find("\n.SH ", begin));
    return page.substr(begin, end - begin);
}

std::string with_escaped_dashes(const std::string& flag) {
    return std::regex_replace(flag, std::regex("-"), "\\-");
}

}  // namespace

TEST_CASE("the man page has every verb and every flag of it") {
    const Tool tool;
    const std::string page = source("agentsight-outbox.1");
    for (const std::string& verb : verbs(tool)) {
        CAPTURE(verb);
        const std::string section = man_section(page, verb);
        CHECK_FALSE(section.empty());
        for (const Flag& flag : flags(tool, verb)) {
            const bool is_common =
                flag.name == "--outbox" || flag.name == "--json" || flag.name == "--help";
            const std::string& where = is_common ? page : section;
            CAPTURE(flag.name);
            CHECK(std::regex_search(where,
                                    std::regex("(^|[^a-z-])" +
                                               std::regex_replace(with_escaped_dashes(flag.name),
                                                                  std::regex("\\\\"), "\\\\") +
                                               "($|[^a-z\\\\])")));
        }
    }
}

TEST_CASE("bash offers every verb, and after each its flags and no other") {
    const Tool tool;
    std::set<std::string> wanted{"--help", "--version"};
    for (const std::string& verb : verbs(tool)) {
        wanted.insert(verb);
        CAPTURE(verb);
        std::set<std::string> names;
        for (const Flag& flag : flags(tool, verb)) {
            names.insert(flag.name);
        }
        CHECK(offered({verb, "--"}) == names);
    }
    CHECK(offered({""}) == wanted);
    CHECK(offered({"sta"}) == std::set<std::string>{"status"});
    CHECK(offered({"list", "--state", "de"}) == std::set<std::string>{"delivered", "dead"});
    CHECK(offered({"list", "--state", "dea"}) == std::set<std::string>{"dead"});
    CHECK(offered({"submit", "--sentiment", ""}) ==
          std::set<std::string>{"positive", "neutral", "negative"});
    CHECK(offered({"submit", "--comment", ""}).empty());
}

TEST_CASE("zsh's and fish's completions name every verb and flag") {
    const Tool tool;
    const std::string zsh = source("completion/_agentsight-outbox");
    const std::string fish = source("completion/agentsight-outbox.fish");
    for (const std::string& verb : verbs(tool)) {
        CAPTURE(verb);
        CHECK(zsh.find("'" + verb + ":") != std::string::npos);
        CHECK(fish.find(" -a " + verb + " ") != std::string::npos);
        for (const Flag& flag : flags(tool, verb)) {
            CAPTURE(flag.name);
            CHECK(zsh.find("'" + flag.name + "[") != std::string::npos);
            CHECK(fish.find(" -l " + flag.name.substr(2) + " ") != std::string::npos);
            if (flag.takes_value) {
                // What takes a value says so, or the next word would be taken for something else.
                const std::size_t at = zsh.find("'" + flag.name + "[");
                CHECK(zsh.substr(at, zsh.find('\n', at) - at).find("]:") != std::string::npos);
            }
        }
    }
}

TEST_CASE("completions are sound scripts, for those shells that are here") {
    for (const auto& [shell, file] :
         {std::pair{"bash", "agentsight-outbox.bash"}, std::pair{"zsh", "_agentsight-outbox"},
          std::pair{"fish", "agentsight-outbox.fish"}}) {
        const Run run = run_program(
            "/usr/bin/env", {shell, "-n", std::string(TOOL_SOURCES) + "/completion/" + file},
            {{"PATH", "/usr/bin:/bin"}, {"HOME", "/nonexistent"}});
        if (run.code == 127) {
            MESSAGE("skipped, not installed: " << std::string(shell));
            continue;
        }
        CAPTURE(shell);
        CAPTURE(run.err);
        CHECK(run.code == 0);
    }
}

TEST_CASE("the man page is sound, where there is a program that can tell") {
    const Run run = run_program(
        "/usr/bin/env",
        {"groff", "-man", "-ww", "-z", std::string(TOOL_SOURCES) + "/agentsight-outbox.1"},
        {{"PATH", "/usr/bin:/bin"}});
    if (run.code == 127) {
        MESSAGE("skipped: groff is not installed");
        return;
    }
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(run.err.empty());
}

TEST_CASE("the man page and the completions are installed where the shells look for them") {
    const std::string plan = bytes_of(BUILD_FOLDER "/meson-info/intro-installed.json");
    for (const char* file :
         {"man/man1/agentsight-outbox.1", "bash-completion/completions/agentsight-outbox",
          "zsh/site-functions/_agentsight-outbox",
          "fish/vendor_completions.d/agentsight-outbox.fish"}) {
        CAPTURE(file);
        CHECK(plan.find(std::string("/share/") + file + "\"") != std::string::npos);
    }
}

TEST_CASE("the README names every verb") {
    const Tool tool;
    const std::string readme = bytes_of(README);
    for (const std::string& verb : verbs(tool)) {
        CAPTURE(verb);
        CHECK(std::regex_search(readme, std::regex("\\n  ([a-z]+, )*" + verb + "[, ]")));
    }
}

TEST_CASE("help ends with 0 and teaches: every verb has an example that the tool takes") {
    const Tool tool;
    for (const std::string& verb : verbs(tool)) {
        CAPTURE(verb);
        const Run run = tool({verb, "--help"});
        CHECK(run.code == 0);
        std::smatch example;
        REQUIRE(std::regex_search(run.out, example,
                                  std::regex("Example:\\n  agentsight-outbox ([^\\n>|]+)")));
        CHECK(example.str(1).starts_with(verb));
        if (verb == "import" || verb == "drain") {
            continue;  // of files that are not here
        }
        // It may find nothing, but it is no wrong use.
        std::string words = example.str(1) + (verb == "watch" ? " --count 1" : "");
        if (words.find("--outbox") == words.npos) {
            words += " --outbox " + tool.path();
        }
        const Run tried = run_program(
            "/bin/sh", {"-c", std::string("exec \"") + AGENTSIGHT_OUTBOX_TOOL + "\" " + words},
            tool.environment);
        CAPTURE(tried.err);
        CHECK(tried.code != 2);
    }
}
