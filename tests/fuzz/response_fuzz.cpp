#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/http_date.hpp"
#include "core/text.hpp"
#include "delivery/outcome.hpp"
#include "need.hpp"
#include "net/http_codec.hpp"

/// The response path: the bytes a server or a proxy sent, to the class of the outcome. The
/// first byte says in pieces of what size they arrive and for what kind of request.
namespace {

using namespace agentsight;
using net::ResponseReader;
using test::need;
using State = ResponseReader::State;

constexpr core::UtcMs now = 1'788'220'800'000;

struct Result {
    State state = State::more;
    core::Failure failure = core::Failure::none;
    net::Response response;
    bool leftover = false;
    std::size_t taken = 0;  ///< bytes given to the reader
};

Result read(std::string_view bytes, std::size_t step, ResponseReader::Kind kind) {
    ResponseReader reader{{}};
    reader.start(kind);
    Result result;
    while (result.state == State::more && result.taken < bytes.size()) {
        const auto room = reader.room();
        need(!room.empty(), "there is room while more is wanted");
        const std::size_t size = std::min({step, room.size(), bytes.size() - result.taken});
        std::memcpy(room.data(), bytes.data() + result.taken, size);
        result.taken += size;
        result.state = reader.received(size);
    }
    result.failure = reader.failure();
    result.leftover = reader.leftover();
    need((result.state == State::failed) == (result.failure != core::Failure::none),
         "a failure has its class");
    if (result.state == State::complete) {
        result.response = reader.take();
    }
    return result;
}

void check(const net::Response& response) {
    need(response.status >= 200 && response.status <= 599, "a final status");
    need(response.body.size() <= net::ResponseLimits{}.body_bytes, "a bounded body");
}

void classify(const Result& result) {
    core::Evidence evidence;
    evidence.request_written = true;
    evidence.failure = result.state == State::more ? core::Failure::cut : result.failure;
    if (result.state == State::complete) {
        const net::Response& response = result.response;
        evidence.status = response.status;
        evidence.json = response.json;
        evidence.retry_after = response.retry_after;
        evidence.date = core::parse_http_date(response.date, now);
        evidence.location = core::printable(response.location, 500);
        evidence.body = response.body;
    }
    const auto outcome = delivery::classify(evidence, {Sentiment::positive, {"=c"}});
    if (outcome.what == delivery::Class::delivered) {
        need(result.state == State::complete, "only a complete answer delivers");
        need(evidence.status / 100 == 2, "only a 2xx delivers");
        need(!outcome.server_id.empty(), "a delivery has the server's id");
    }
    need(outcome.what != delivery::Class::link_down, "a written request is not a link down");
    for (const char c : outcome.detail) {
        need(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "words are printable");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const unsigned first = data[0];
    const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
    const auto kind =
        (first & 0x80U) != 0 ? ResponseReader::Kind::connect : ResponseReader::Kind::ordinary;
    const std::size_t step = (first & 0x7fU) + 1;
    const Result whole = read(bytes, bytes.size() + 1, kind);
    const Result pieces = read(bytes, step, kind);
    // How the network cut the bytes does not make an answer, or undo one. (A fault may be seen
    // earlier in one way than in the other.)
    need((whole.state == State::complete) == (pieces.state == State::complete),
         "complete also in pieces");
    if (whole.state == State::complete) {
        check(whole.response);
        need(whole.response.status == pieces.response.status &&
                 whole.response.body == pieces.response.body &&
                 whole.response.keep_alive == pieces.response.keep_alive,
             "the same response in pieces");
    }
    classify(pieces);
    return 0;
}
