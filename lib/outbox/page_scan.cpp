#include "outbox/page_scan.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <system_error>
#include <unordered_map>

#include "outbox/schema.hpp"

// The formats: https://www.sqlite.org/fileformat2.html
namespace agentsight::outbox {

namespace {

constexpr std::size_t page_bytes = static_cast<std::size_t>(page_size);
constexpr std::size_t wal_header_bytes = 32;
constexpr std::size_t frame_header_bytes = 24;
constexpr std::uint8_t table_leaf = 0x0d;
constexpr std::uint64_t largest_row = std::uint64_t{64} << 20;
constexpr std::size_t most_columns = 64;

using Page = std::array<std::uint8_t, page_bytes>;
using View = std::span<const std::uint8_t>;

std::uint32_t big_endian(View bytes, std::size_t at, int size) {
    std::uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
        value = value << 8 | bytes[at + static_cast<std::size_t>(i)];
    }
    return value;
}

std::ifstream open(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) {
        throw std::system_error(errno, std::generic_category(), "cannot read the damaged file");
    }
    return file;
}

bool read_at(std::ifstream& file, std::uint64_t offset, std::span<std::uint8_t> into) {
    file.clear();
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
    return file.gcount() == static_cast<std::streamsize>(into.size());
}

/// Where the WAL has a newer copy of a page.
class WalIndex {
  public:
    explicit WalIndex(const std::filesystem::path& path) : file_(path, std::ios::binary) {
        std::array<std::uint8_t, wal_header_bytes> header{};
        if (!file_ || !read_at(file_, 0, header)) {
            return;
        }
        const std::uint32_t magic = big_endian(header, 0, 4);
        big_endian_sums_ = (magic & 1) != 0;
        if ((magic & ~1U) != 0x377f0682 || big_endian(header, 8, 4) != page_bytes) {
            return;
        }
        add(View{header}.first(24));
        if (sum_ != std::array{big_endian(header, 24, 4), big_endian(header, 28, 4)}) {
            return;
        }
        read_frames(header);
    }

    bool read(std::uint32_t number, Page& page) {
        const auto found = pages_.find(number);
        return found != pages_.end() && read_at(file_, found->second, page);
    }
    std::uint32_t last_page() const { return last_page_; }

  private:
    void read_frames(View header) {
        std::unordered_map<std::uint32_t, std::uint64_t> uncommitted;
        std::array<std::uint8_t, frame_header_bytes + page_bytes> frame{};
        for (std::uint64_t at = wal_header_bytes; read_at(file_, at, frame); at += frame.size()) {
            if (!std::equal(frame.begin() + 8, frame.begin() + 16, header.begin() + 16)) {
                return;  // of an earlier round
            }
            add(View{frame}.first(8));
            add(View{frame}.subspan(frame_header_bytes));
            if (sum_ != std::array{big_endian(frame, 16, 4), big_endian(frame, 20, 4)}) {
                return;
            }
            const std::uint32_t number = big_endian(frame, 0, 4);
            uncommitted[number] = at + frame_header_bytes;
            if (big_endian(frame, 4, 4) != 0) {
                for (const auto& [page, offset] : uncommitted) {
                    pages_[page] = offset;
                    last_page_ = std::max(last_page_, page);
                }
                uncommitted.clear();
            }
        }
    }
    std::uint32_t word(View bytes, std::size_t at) const {
        const std::uint32_t big = big_endian(bytes, at, 4);
        return big_endian_sums_ ? big : __builtin_bswap32(big);
    }
    void add(View bytes) {
        for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
            sum_[0] += word(bytes, at) + sum_[1];
            sum_[1] += word(bytes, at + 4) + sum_[0];
        }
    }

    std::ifstream file_;
    bool big_endian_sums_ = false;
    std::array<std::uint32_t, 2> sum_{};
    std::unordered_map<std::uint32_t, std::uint64_t> pages_;
    std::uint32_t last_page_ = 0;
};

/// Pages by number, newest copy.
class Pages {
  public:
    Pages(const std::filesystem::path& database, const std::filesystem::path& wal)
        : file_(open(database)), wal_(wal) {
        file_.seekg(0, std::ios::end);
        const auto size = static_cast<std::uint64_t>(std::max<std::streamoff>(file_.tellg(), 0));
        last_ = std::max(
            static_cast<std::uint32_t>(std::min<std::uint64_t>(size / page_bytes, 0xfffffffe)),
            wal_.last_page());
    }
    std::uint32_t last() const { return last_; }
    bool read(std::uint32_t number, Page& page) {
        return number != 0 && (wal_.read(number, page) ||
                               read_at(file_, std::uint64_t{number - 1} * page_bytes, page));
    }

  private:
    std::ifstream file_;
    WalIndex wal_;
    std::uint32_t last_ = 0;
};

/// Reads from left to right and never past the end.
class Bytes {
  public:
    explicit Bytes(View view) : view_(view) {}

    bool failed() const { return failed_; }
    std::size_t position() const { return at_; }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int i = 0; i < 9; ++i) {
            const std::uint8_t byte = next();
            if (i == 8) {
                return value << 8 | byte;
            }
            value = value << 7 | (byte & 0x7f);
            if ((byte & 0x80) == 0) {
                return value;
            }
        }
        return value;
    }
    std::int64_t integer(std::size_t size) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < size; ++i) {
            const std::uint8_t byte = next();
            value =
                i == 0 && (byte & 0x80) != 0 ? ~std::uint64_t{0} << 8 | byte : value << 8 | byte;
        }
        return static_cast<std::int64_t>(value);
    }
    std::string string(std::uint64_t size) {
        if (failed_ || size > view_.size() - at_) {
            failed_ = true;
            return {};
        }
        const std::size_t start = at_;
        at_ += static_cast<std::size_t>(size);
        return {view_.begin() + static_cast<std::ptrdiff_t>(start),
                view_.begin() + static_cast<std::ptrdiff_t>(at_)};
    }

  private:
    std::uint8_t next() {
        if (at_ >= view_.size()) {
            failed_ = true;
            return 0;
        }
        return view_[at_++];
    }
    View view_;
    std::size_t at_ = 0;
    bool failed_ = false;
};

StoredValue read_value(Bytes& body, std::uint64_t serial) {
    static constexpr std::array<std::size_t, 7> sizes{0, 1, 2, 3, 4, 6, 8};
    StoredValue value;
    if (serial == 0) {
        return value;
    }
    if (serial >= 12) {
        value.type = serial % 2 == 0 ? StoredValue::Type::blob : StoredValue::Type::text;
        value.bytes = body.string((serial - 12) / 2);
        return value;
    }
    value.type = serial == 7 ? StoredValue::Type::real : StoredValue::Type::integer;
    if (serial <= 6) {
        value.integer = body.integer(sizes[serial]);
    } else if (serial == 7) {
        body.integer(8);
    } else {
        value.integer = serial == 9 ? 1 : 0;
    }
    return value;
}

std::optional<std::vector<StoredValue>> read_columns(View payload) {
    Bytes header{payload};
    const std::uint64_t header_size = header.varint();
    if (header.failed() || header_size > payload.size()) {
        return std::nullopt;
    }
    std::vector<std::uint64_t> serials;
    while (!header.failed() && header.position() < header_size) {
        serials.push_back(header.varint());
        if (serials.size() > most_columns || serials.back() == 10 || serials.back() == 11) {
            return std::nullopt;
        }
    }
    if (header.failed() || header.position() != header_size) {
        return std::nullopt;
    }
    Bytes body{payload.subspan(static_cast<std::size_t>(header_size))};
    std::vector<StoredValue> values;
    values.reserve(serials.size());
    for (const std::uint64_t serial : serials) {
        values.push_back(read_value(body, serial));
    }
    const bool exact = body.position() == payload.size() - header_size;
    return body.failed() || !exact ? std::nullopt : std::optional{std::move(values)};
}

/// How much of a payload stands on the leaf page itself.
std::size_t local_size(std::uint64_t payload) {
    constexpr std::uint64_t usable = page_bytes;
    constexpr std::uint64_t largest = usable - 35;
    if (payload <= largest) {
        return static_cast<std::size_t>(payload);
    }
    constexpr std::uint64_t smallest = (usable - 12) * 32 / 255 - 23;
    const std::uint64_t size = smallest + (payload - smallest) % (usable - 4);
    return static_cast<std::size_t>(size <= largest ? size : smallest);
}

std::optional<StoredRow> read_cell(Pages& pages, const Page& page, std::size_t at) {
    Bytes start{View{page}.subspan(at)};
    const std::uint64_t size = start.varint();
    const auto rowid = static_cast<std::int64_t>(start.varint());
    if (start.failed() || size > largest_row) {
        return std::nullopt;
    }
    const std::size_t local = local_size(size);
    const std::size_t body = at + start.position();
    const bool overflows = local < size;
    if (body + local + (overflows ? 4 : 0) > page_bytes) {
        return std::nullopt;
    }
    std::vector<std::uint8_t> payload(page.begin() + static_cast<std::ptrdiff_t>(body),
                                      page.begin() + static_cast<std::ptrdiff_t>(body + local));
    std::uint32_t next = overflows ? big_endian(page, body + local, 4) : 0;
    while (payload.size() < size) {
        Page more;
        if (!pages.read(next, more)) {
            return std::nullopt;
        }
        const auto piece = std::min<std::uint64_t>(size - payload.size(), page_bytes - 4);
        payload.insert(payload.end(), more.begin() + 4,
                       more.begin() + 4 + static_cast<std::ptrdiff_t>(piece));
        next = big_endian(more, 0, 4);
    }
    auto values = read_columns(payload);
    return values ? std::optional{StoredRow{rowid, std::move(*values)}} : std::nullopt;
}

}  // namespace

void scan_rows(const std::filesystem::path& database, const std::filesystem::path& wal,
               const std::function<void(StoredRow&&)>& visit) {
    Pages pages{database, wal};
    Page page;
    for (std::uint32_t number = 1; number <= pages.last(); ++number) {
        const std::size_t start = number == 1 ? 100 : 0;
        if (!pages.read(number, page) || page[start] != table_leaf) {
            continue;
        }
        const std::size_t cells = big_endian(page, start + 3, 2);
        for (std::size_t cell = 0; cell < cells; ++cell) {
            const std::size_t pointer = start + 8 + 2 * cell;
            if (pointer + 2 > page_bytes) {
                break;
            }
            const std::size_t at = big_endian(page, pointer, 2);
            if (at >= page_bytes) {
                continue;
            }
            if (auto row = read_cell(pages, page, at)) {
                visit(std::move(*row));
            }
        }
    }
}

}  // namespace agentsight::outbox
