#include "os/link_watch.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "helpers.hpp"
#include "os/link_events.hpp"
#include "support/child_process.hpp"
#include "support/own_network.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

using Bytes = std::vector<std::byte>;

template <typename T>
void append(Bytes& bytes, const T& value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof value);
}

Bytes message(int type, Bytes body) {
    nlmsghdr head{};
    head.nlmsg_len = static_cast<std::uint32_t>(sizeof head + body.size());
    head.nlmsg_type = static_cast<std::uint16_t>(type);
    Bytes bytes;
    append(bytes, head);
    bytes.insert(bytes.end(), body.begin(), body.end());
    bytes.resize(NLMSG_ALIGN(bytes.size()));
    return bytes;
}

Bytes link(int type, int interface, unsigned flags) {
    ifinfomsg head{};
    head.ifi_index = interface;
    head.ifi_flags = flags;
    Bytes body;
    append(body, head);
    return message(type, body);
}

Bytes address(int type, unsigned interface, std::uint32_t value,
              unsigned char scope = RT_SCOPE_UNIVERSE) {
    ifaddrmsg head{};
    head.ifa_family = AF_INET;
    head.ifa_scope = scope;
    head.ifa_index = interface;
    rtattr attribute{.rta_len = RTA_LENGTH(sizeof value), .rta_type = IFA_LOCAL};
    Bytes body;
    append(body, head);
    append(body, attribute);
    append(body, value);
    return message(type, body);
}

constexpr unsigned running = IFF_UP | IFF_RUNNING;

}  // namespace

TEST_CASE("a link that comes up is news, once; down and up again is news again") {
    os::LinkEvents events;
    CHECK_FALSE(events.take(link(RTM_NEWLINK, 2, IFF_UP)));  // no carrier yet
    CHECK(events.take(link(RTM_NEWLINK, 2, running)));
    CHECK_FALSE(events.take(link(RTM_NEWLINK, 2, running)));  // a statistic
    CHECK_FALSE(events.take(link(RTM_NEWLINK, 2, IFF_UP)));
    CHECK(events.take(link(RTM_NEWLINK, 2, running)));
    CHECK_FALSE(events.take(link(RTM_DELLINK, 2, 0)));
    CHECK(events.take(link(RTM_NEWLINK, 2, running)));
    CHECK_FALSE(events.take(link(RTM_NEWLINK, 1, running | IFF_LOOPBACK)));
}

TEST_CASE("an address that is added is news, one repeated by a router is none") {
    os::LinkEvents events;
    events.address(2, std::string{"\x0A\0\0\x01", 4});
    CHECK_FALSE(events.take(address(RTM_NEWADDR, 2, 0x0100000A)));
    CHECK(events.take(address(RTM_NEWADDR, 2, 0x0200000A)));
    CHECK_FALSE(events.take(address(RTM_NEWADDR, 2, 0x0200000A)));
    CHECK(events.take(address(RTM_NEWADDR, 3, 0x0200000A)));
    CHECK_FALSE(events.take(address(RTM_DELADDR, 2, 0x0200000A)));
    CHECK(events.take(address(RTM_NEWADDR, 2, 0x0200000A)));
    CHECK_FALSE(events.take(address(RTM_NEWADDR, 2, 0x0300000A, RT_SCOPE_LINK)));
    CHECK_FALSE(events.take(address(RTM_NEWADDR, 2, 0x0300000A, RT_SCOPE_HOST)));
}

TEST_CASE("what was known at the start is no news") {
    os::LinkEvents events;
    events.running(2, true);
    CHECK_FALSE(events.take(link(RTM_NEWLINK, 2, running)));
}

TEST_CASE("several messages in one buffer are all judged, cut ones are not") {
    os::LinkEvents events;
    Bytes both = link(RTM_NEWLINK, 2, running);
    const Bytes second = address(RTM_NEWADDR, 2, 1);
    both.insert(both.end(), second.begin(), second.end());
    for (std::size_t size = 0; size < link(RTM_NEWLINK, 2, running).size(); ++size) {
        os::LinkEvents cut;
        CHECK_FALSE(cut.take(std::span<const std::byte>{both}.first(size)));
    }
    CHECK(events.take(both));
    CHECK_FALSE(events.take(both));
}

TEST_CASE("random bytes never do harm") {
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    TestRandom random{seed};
    os::LinkEvents events;
    for (int round = 0; round < 20'000; ++round) {
        Bytes bytes = random.one_in(2) ? link(RTM_NEWLINK, 2, running) : address(RTM_NEWADDR, 2, 7);
        for (std::uint64_t flips = random.below(6); flips > 0; --flips) {
            bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
        }
        bytes.resize(random.below(bytes.size() + 1));
        bytes.shrink_to_fit();
        events.take(bytes);
    }
}

TEST_CASE("a real link that comes up wakes the watch, and one that goes down is no news") {
    auto child = ChildProcess::run([](ParentLink&) {
        OwnNetwork network;
        if (!network.enter()) {
            return 77;
        }
        os::LinkWatch watch;
        if (watch.descriptor() < 0 || readable(watch.descriptor())) {
            return 1;
        }
        if (!network.up() || !readable(watch.descriptor(), soon) || !watch.drain()) {
            return 2;
        }
        if (readable(watch.descriptor()) || watch.drain()) {
            return 3;
        }
        if (!network.add_address() || !readable(watch.descriptor(), soon) || !watch.drain()) {
            return 4;
        }
        if (!network.down() || !readable(watch.descriptor(), soon) || watch.drain()) {
            return 5;
        }
        return 0;
    });
    const Ending ending = child.wait();
    if (ending.code == 77) {
        MESSAGE("skipped: no permission for a network of its own");
    } else {
        CHECK(ending == Ending{.code = 0});
    }
}

TEST_CASE("P13: a link watch for which no descriptor was left says that it may be had later") {
    auto child = ChildProcess::run([](ParentLink&) {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
        const os::LinkWatch without;
        ::setrlimit(RLIMIT_NOFILE, &limit);
        const os::LinkWatch later;
        return without.descriptor() < 0 && without.worth_another_try() && later.descriptor() >= 0 &&
                       !later.worth_another_try()
                   ? 0
                   : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
}
