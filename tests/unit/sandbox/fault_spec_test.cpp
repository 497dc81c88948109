#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sandbox/fault.hpp"

using sandbox::Fault;
using sandbox::FaultKind;
using sandbox::parse_fault;

TEST_CASE("a fault reads from JSON and from a list alike") {
    const Fault json =
        parse_fault(R"({"kind":"status","status":429,"times":3,"probability":0.25,"store":true,)"
                    R"("comment":"a b","headers":{"Retry-After":5,"Date":null}})");
    CHECK(json.kind == FaultKind::status);
    CHECK(json.status == 429);
    CHECK(json.times == 3);
    CHECK(json.probability == 0.25);
    CHECK(json.store);
    CHECK(json.comment == "a b");
    CHECK(json.headers == sandbox::Fields{{"Retry-After", "5"}, {"Date", ""}});
    const Fault list = parse_fault(
        "status,status=429,times=3,probability=0.25,store=true,comment=a b,"
        "header.Retry-After=5,header.Date=");
    CHECK(sandbox::fault_json(list) == sandbox::fault_json(json));
    CHECK(sandbox::fault_json(parse_fault(sandbox::fault_json(json))) == sandbox::fault_json(json));
}

TEST_CASE("text members stay text where they look like numbers") {
    const Fault fault = parse_fault("status,comment=5,conversation_id=42,retry_after=3");
    CHECK(fault.comment == "5");
    CHECK(fault.conversation_id == "42");
    CHECK(fault.retry_after == "3");
}

TEST_CASE("each kind goes by a name that reads back") {
    for (int kind = 0; kind <= static_cast<int>(FaultKind::push_idle); ++kind) {
        const auto wanted = static_cast<FaultKind>(kind);
        CHECK(parse_fault(std::string{sandbox::name_of(wanted)}).kind == wanted);
    }
}

TEST_CASE("a fault that makes no sense is refused with words") {
    for (const char* spec :
         {"", "nonsense", "status,nonsense=1", "status,times", "status,times=x", "status,store=7",
          "status,status=99", "status,every=0", "latency,ms=-5", "{\"kind\":\"status\"",
          "{\"times\":1}", "{\"kind\":\"nonsense\"}", "{\"kind\":\"status\",\"x\":1}",
          "status,times=1.5"}) {
        CAPTURE(spec);
        CHECK_THROWS_AS(parse_fault(spec), std::invalid_argument);
    }
}
