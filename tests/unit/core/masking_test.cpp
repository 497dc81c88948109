#include "core/masking.hpp"

#include <doctest/doctest.h>

using agentsight::core::Feedback;
using agentsight::core::masked;

namespace {

Feedback feedback(std::string comment, std::string metadata = {}) {
    return {{"=c"}, agentsight::Sentiment::neutral, std::move(comment), std::move(metadata)};
}

}  // namespace

TEST_CASE("words without what they repeat of the comment, whole or in part") {
    const Feedback given = feedback("Call me on 555-1234, Ann Example");
    CHECK(masked("comment: Call me on 555-1234, Ann Example", given) == "comment: ***");
    CHECK(masked("no: 'Ann Example' is not wanted", given) == "no: '***' is not wanted");
    CHECK(masked("no 555-1234!", given) == "no***!");
    CHECK(masked("CALL ME ON 555-1234", given) == "***");
    CHECK(masked("Invalid API key.", given) == "Invalid API key.");
    CHECK(masked("", given).empty());
    CHECK(masked("cut: Call me on 55", given) == "cut: ***");
}

TEST_CASE("short texts are in anybody's words, and are left") {
    CHECK(masked("not ok", feedback("ok")) == "not ok");
    CHECK(masked("a bad, bad word", feedback("")) == "a bad, bad word");
    CHECK(masked("not good, good Sir", feedback("good")) == "not ***, *** Sir");
}

TEST_CASE("texts and numbers of the metadata, whatever the depth") {
    const Feedback given =
        feedback("", R"({"who":{"names":["Ann Nym",true,null]},"phone":5551234567,"rating":5})");
    CHECK(masked("phone 5551234567 of Ann Nym has rating 5", given) ==
          "phone *** of *** has rating 5");
}

TEST_CASE("also where it is escaped, or on one line") {
    const Feedback given = feedback("\"Ann\" & 'Bob'\n<both>");
    CHECK(masked("got &quot;Ann&quot; &amp; &#x27;Bob&#x27; &lt;both&gt;", given) == "got ***");
    CHECK(masked("got &quot;Ann&quot; &amp; &#39;Bob&#39; &lt;both&gt;", given) == "got ***");
    CHECK(masked(R"(got \"Ann\" & 'Bob'\n<both>)", given) == "got ***");
    CHECK(masked("got \"Ann\" & 'Bob' <both>", given) == "got ***");
}

TEST_CASE("a code point is never cut in two") {
    const Feedback given = feedback("caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9");
    const std::string words = masked("x caf\xc3\xa9 caf\xc3\xa8", given);
    CHECK(words.find('\xa8') == std::string::npos);
    CHECK(words.starts_with("x***"));
}
