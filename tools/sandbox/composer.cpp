#include "sandbox/composer.hpp"

#include <algorithm>
#include <boost/crc.hpp>

#include "sandbox/text.hpp"

namespace sandbox {
namespace {

std::int64_t or_else(std::int64_t value, std::int64_t fallback) {
    return value == Fault::unset ? fallback : value;
}

std::string little_endian(std::uint64_t value, int bytes) {
    std::string out;
    for (int index = 0; index < bytes; ++index)
        out += static_cast<char>(value >> (8 * index) & 0xFF);
    return out;
}

/// A gzip member of stored blocks (RFC 1951, 3.2.4): valid, and needs no library.
std::string gzip(const std::string& text) {
    constexpr std::size_t block = 65'535;
    std::string out{"\x1f\x8b\x08\0\0\0\0\0\0\xff", 10};
    for (std::size_t at = 0; at == 0 || at < text.size(); at += block) {
        const std::size_t size = std::min(block, text.size() - at);
        out += at + size == text.size() ? '\1' : '\0';
        out += little_endian(size, 2) + little_endian(~size & 0xFFFF, 2) + text.substr(at, size);
    }
    boost::crc_32_type crc;
    crc.process_bytes(text.data(), text.size());
    return out + little_endian(crc.checksum(), 4) + little_endian(text.size(), 4);
}

std::string chunked(const std::string& text, bool cut) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 16) {
        const std::string piece = text.substr(at, 16);
        out += std::string{"0123456789abcdef"}[piece.size() % 16];
        if (piece.size() == 16)
            out.insert(out.size() - 1, "1");
        out += "\r\n" + piece + "\r\n";
    }
    return cut ? out : out + "0\r\n\r\n";
}

std::string malformed(const std::string& variant) {
    const std::string head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n";
    const std::string body = "\r\n{\"id\": 1}";
    if (variant == "status_line")
        return "HTTP/1.1 abc\r\n\r\n";
    if (variant == "two_lengths")
        return head + "Content-Length: 9\r\nContent-Length: 5\r\n" + body;
    if (variant == "length_and_chunked")
        return head + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n" + body;
    if (variant == "obs_fold")
        return head + "X-Folded: one\r\n two\r\nContent-Length: 9\r\n" + body;
    if (variant == "header")
        return head + "No colon here\r\nContent-Length: 9\r\n" + body;
    if (variant == "http09")
        return "{\"id\": 1}";
    if (variant == "http2")
        return std::string{"\0\0\x12\x04\0\0\0\0\0", 9};
    return "\x15\x03\x01 garbage \xff\xfe\r\nmore of it\r\n\r\n";
}

/// Builds one reply; faults first change the body, then the fields, then the bytes.
class Composer {
  public:
    Composer(const Reply& reply, const Plan& plan, const ComposeContext& context)
        : reply_{reply}, plan_{plan}, context_{context}, body_{reply.body} {}

    Wire take() {
        change_body();
        add_fields();
        replace_fields();
        write();
        cut();
        add_interim();
        return std::move(wire_);
    }

  private:
    bool framed(FaultKind kind) const { return plan_.framing && plan_.framing->kind == kind; }

    bool bodiless() const { return reply_.status == 204 || reply_.status == 304; }

    void change_body() {
        if (framed(FaultKind::bad_json) && !body_.empty())
            body_.pop_back();
        if (framed(FaultKind::gzip))
            body_ = gzip(body_);
        if (bodiless())
            body_.clear();
        length_ = static_cast<std::int64_t>(body_.size());
        if (framed(FaultKind::wrong_length))
            length_ = std::max<std::int64_t>(0, length_ + or_else(plan_.framing->bytes, 10));
        if (framed(FaultKind::giant) && plan_.framing->variant != "header")
            grow();
        if (framed(FaultKind::chunked))
            body_ = chunked(body_, plan_.framing->variant == "cut");
    }

    void grow() {
        body_ = "{\"id\": 1, \"pad\": \"";
        wire_.tail = "\"}";
        const auto frame = static_cast<std::int64_t>(body_.size() + wire_.tail.size());
        length_ = std::max(frame, or_else(plan_.framing->bytes, 16 << 20));
        wire_.filler = static_cast<std::uint64_t>(length_ - frame);
    }

    void add_fields() {
        fields_ = {{"Date", context_.date}, {"Server", "agentsight-sandbox"}};
        if (!reply_.content_type.empty())
            fields_.emplace_back("Content-Type", reply_.content_type);
        fields_.emplace_back("Vary", "Accept");
        for (const auto& field : reply_.headers)
            fields_.push_back(field);
        if (framed(FaultKind::gzip))
            fields_.emplace_back("Content-Encoding", "gzip");
        if (framed(FaultKind::chunked))
            fields_.emplace_back("Transfer-Encoding", "chunked");
        else if (!framed(FaultKind::close_delimited) && !bodiless())
            fields_.emplace_back("Content-Length", std::to_string(length_));
        decide_closing();
        if (announced_close_)
            fields_.emplace_back("Connection", "close");
    }

    /// Only an honest close is announced.
    void decide_closing() {
        announced_close_ = !context_.keep_alive || framed(FaultKind::close_delimited);
        const bool broken = framed(FaultKind::wrong_length) || framed(FaultKind::malformed) ||
                            (framed(FaultKind::chunked) && plan_.framing->variant == "cut");
        wire_.close = announced_close_ || broken;
        wire_.reset = plan_.framing && plan_.framing->reset;
    }

    void replace_fields() {
        if (!plan_.headers)
            return;
        for (const auto& [name, value] : plan_.headers->headers) {
            const std::string& wanted = name;
            std::erase_if(fields_,
                          [&](auto& field) { return equal_ignoring_case(field.first, wanted); });
            if (!value.empty())
                fields_.emplace_back(name, value);
        }
    }

    void write() {
        if (framed(FaultKind::malformed)) {
            const std::string& raw = plan_.framing->body;
            wire_.bytes = raw.empty() ? malformed(plan_.framing->variant) : raw;
            return;
        }
        std::string& out = wire_.bytes;
        out.reserve(256 + body_.size());
        out += "HTTP/1.1 " + std::to_string(reply_.status) + " ";
        out += reason_phrase(reply_.status);
        out += "\r\n";
        for (const auto& [name, value] : fields_)
            out.append(name).append(": ").append(value).append("\r\n");
        if (framed(FaultKind::giant) && plan_.framing->variant == "header")
            pad_header();
        out += "\r\n";
        out += body_;
    }

    void pad_header() {
        constexpr std::int64_t most = 16 << 20;
        const auto size = static_cast<std::size_t>(
            std::clamp<std::int64_t>(or_else(plan_.framing->bytes, 64 << 10), 0, most));
        for (std::size_t done = 0; done < size; done += 1000)
            wire_.bytes += "X-Pad: " + std::string(991, 'x') + "\r\n";
    }

    void cut() {
        if (!framed(FaultKind::cut))
            return;
        const auto size = static_cast<std::int64_t>(wire_.bytes.size());
        const std::int64_t at = or_else(plan_.framing->at, size - (length_ + 1) / 2);
        wire_.bytes.resize(
            static_cast<std::size_t>(std::clamp<std::int64_t>(at < 0 ? size + at : at, 0, size)));
        wire_.close = true;
    }

    void add_interim() {
        if (!plan_.interim)
            return;
        const auto status = static_cast<int>(or_else(plan_.interim->status, 103));
        std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
        head += status == 103 ? "Early Hints" : reason_phrase(status);
        head += "\r\n";
        if (status == 103)
            head += "Link: </style.css>; rel=preload\r\n";
        head += "\r\n";
        const std::int64_t count = std::min<std::int64_t>(or_else(plan_.interim->count, 1), 10'000);
        std::string before;
        for (std::int64_t index = 0; index < count; ++index)
            before += head;
        wire_.bytes.insert(0, before);
    }

    const Reply& reply_;
    const Plan& plan_;
    const ComposeContext& context_;
    std::string body_;
    std::int64_t length_ = 0;
    Fields fields_;
    bool announced_close_ = false;
    Wire wire_;
};

}  // namespace

Wire compose(const Reply& reply, const Plan& plan, const ComposeContext& context) {
    return Composer{reply, plan, context}.take();
}

}  // namespace sandbox
