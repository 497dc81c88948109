#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "os/bell.hpp"
#include "os/fifo.hpp"

namespace agentsight::os {

DrainerSign::DrainerSign(const std::filesystem::path& path)
    : path_{std::filesystem::absolute(path)} {}

void DrainerSign::raise() {
    // O_RDWR, because O_WRONLY fails while nobody reads; nothing is ever written.
    write_end_ = open_or_make_fifo(path_, O_RDWR);
}

void DrainerSign::lower() {
    write_end_.close();
}

int DrainerSign::watch() {
    if (!read_end_.valid()) {
        read_end_ = open_or_make_fifo(path_, O_RDONLY);
    }
    return read_end_.value();
}

void DrainerSign::unwatch() {
    read_end_.close();
}

bool DrainerSign::drainer_seen() const noexcept {
    char none = 0;
    return read_end_.valid() && ::read(read_end_.value(), &none, 1) < 0 && errno == EAGAIN;
}

}  // namespace agentsight::os
