# shellcheck shell=bash
# Shared by tools/test and tools/demo: what must be installed, how a build folder is made.
# Sourced, by bash; sets $root and stands in it afterwards.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

say() { printf '%s\n' "$*"; }

headline() {
    if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
        printf '\n\033[1m== %s\033[0m\n' "$*"
    else
        printf '\n== %s\n' "$*"
    fi
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# --- Packages -------------------------------------------------------------------------------

# Whether the compiler finds a header, and whether an expression about it holds.
has_header() {
    local header=$1 condition=${2:-1}
    printf '#include <%s>\n#if !(%s)\n#error too old\n#endif\n' "$header" "$condition" |
        g++ -std=c++20 -E -x c++ - >/dev/null 2>&1
}

# Not grep -q: it would end before apt-cache has written all, which pipefail takes for a failure.
is_available() { apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null; }

# The first of these packages that this release has; else the last, so that apt names it.
first_available() {
    local package
    for package in "$@"; do
        if is_available "$package"; then
            break
        fi
    done
    say "$package"
}

# One line for each thing that is missing: the packages that bring it, best first.
missing_packages() {
    have g++ || say g++
    have meson || say meson
    have ninja || say ninja-build
    have pkg-config || say pkg-config
    have cmake || say cmake # by which Meson finds doctest
    if ! have g++ || ! has_header boost/version.hpp 'BOOST_VERSION >= 108100' ||
        ! has_header boost/beast/version.hpp; then
        say libboost1.81-dev libboost1.83-dev libboost1.88-dev libboost-dev
    fi
    if ! have g++ || ! has_header sqlite3.h; then say libsqlite3-dev; fi
    # A static link of SQLite needs it, and libsqlite3-dev does not bring it.
    if ! have g++ || ! has_header zlib.h; then say zlib1g-dev; fi
    if ! have g++ || ! has_header openssl/ssl.h; then say libssl-dev; fi
    if ! have g++ || ! has_header nlohmann/json.hpp; then say nlohmann-json3-dev; fi
    if ! have g++ || ! has_header CLI/CLI.hpp; then say libcli11-dev; fi
    if ! have g++ || ! has_header doctest/doctest.h; then say doctest-dev; fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        # Where there is nobody to type a password, do not wait for one.
        if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
    else
        return 1
    fi
}

# install ALTERNATIVES...: each argument is one need, its packages best first.
install_packages() {
    have apt-get || return 1
    headline "installing: $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q || return 1
    local need packages=()
    for need in "$@"; do
        # shellcheck disable=SC2086 # the alternatives are words
        packages+=("$(first_available $need)")
    done
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# For a person: "g++, meson, libboost1.81-dev (or libboost1.83-dev ...)".
in_words() {
    local need list=''
    for need in "$@"; do
        case $need in
        *' '*) need="${need%% *} (or ${need#* })" ;;
        esac
        list+="${list:+, }$need"
    done
    say "$list"
}

# Installs what the build needs. Where nothing is missing, apt is not even asked, so that
# it works without a network.
ensure_packages() {
    local needs
    mapfile -t needs < <(missing_packages)
    if [ ${#needs[@]} -gt 0 ]; then
        install_packages "${needs[@]}" ||
            fail "cannot install what is missing; install these packages yourself: $(in_words "${needs[@]}")"
        mapfile -t needs < <(missing_packages)
        [ ${#needs[@]} -eq 0 ] || fail "still missing after the installation: $(in_words "${needs[@]}")"
    fi
    local version
    version=$(meson --version)
    [ "$(printf '%s\n1.0.1\n' "$version" | sort -V | head -n 1)" = 1.0.1 ] ||
        fail "Meson $version is too old; 1.0.1 is needed (Debian 12, Ubuntu 24.04, or pipx)"
}

# --- Building -------------------------------------------------------------------------------

# As many compilers at a time as there are processors and memory for: one takes up to 1.5 GB
# on the files that include Asio and Beast.
jobs_at_a_time() {
    local processors memory
    processors=$(nproc 2>/dev/null || echo 2)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo 2>/dev/null || echo 2)
    [ "${memory:-0}" -ge 1 ] || memory=1
    say $((processors < memory ? processors : memory))
}

# configure FOLDER ARGUMENTS...: sets the folder up, again only where the arguments, the
# compiler or the place of the tree have changed.
configure() {
    local folder=$1
    shift
    local arguments=("$@")
    if [ "${CI:-}" = true ]; then
        arguments+=(--wrap-mode=nofallback)
    fi
    local stamp="$folder/configured-as"
    local wanted="$root ${CXX:-} ${arguments[*]-}"
    if [ -f "$folder/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    local again=()
    if [ -f "$folder/meson-private/coredata.dat" ]; then
        again=(--wipe)
    fi
    # ${...+...}: an empty array is an unset one to older versions of bash.
    meson setup ${again[@]+"${again[@]}"} "$folder" ${arguments[@]+"${arguments[@]}"} || return 1
    printf '%s' "$wanted" >"$stamp"
}

build() {
    local folder=$1
    shift
    ninja -C "$folder" -j "$(jobs_at_a_time)" "$@"
}
