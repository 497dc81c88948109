#!/bin/sh
# The lint's own test: a small clean tree passes, and each seeded violation is caught, with
# the file's name. Works on copies in a temporary folder only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree
checks=0
failed=0

complain() {
    echo "FAILED: $1"
    failed=$((failed + 1))
}

# put FILE LINE...: a file of the tree.
put() {
    mkdir -p "$(dirname "$tree/$1")"
    name=$1
    shift
    printf '%s\n' "$@" >"$tree/$name"
}

clean_tree() {
    rm -rf "$tree"
    put include/agentsight/agentsight.hpp '#include <string>'
    put include/agentsight/client.hpp '#include <nlohmann/json.hpp>'
    put include/agentsight/detail/metadata.hpp '#include <nlohmann/json.hpp>'
    put lib/core/text.hpp '#include "agentsight/agentsight.hpp"'
    put lib/os/file.hpp '#include <unistd.h>' '#include "core/text.hpp"' '#include "local.hpp"'
    put lib/os/local.hpp '#include <sys/stat.h>'
    put lib/sqlite/database.cpp '#include <sqlite3.h>' 'run("BEGIN IMMEDIATE");' \
        'run("BEGIN");  // reads only' 'class Snapshot {' '  Snapshot() { run("BEGIN"); }'
    put lib/net/tls.cpp '#include <openssl/ssl.h>' '#include <boost/beast/http/parser.hpp>'
    put lib/outbox/store.hpp '#include "core/text.hpp"'
    put lib/delivery/engine.hpp '#include <boost/asio/awaitable.hpp>' '#include "outbox/store.hpp"'
    put lib/worker.hpp '#include "delivery/engine.hpp"' '#include "net/tls.hpp"'
    put lib/net/tls.hpp '#include <boost/asio/ssl/context.hpp>'
    put tools/outbox/main.cpp '#include <CLI/CLI.hpp>' '#include "agentsight/agentsight.hpp"' \
        '// see https://api.agentsight.io/'
    put tools/sandbox/main.cpp '#include <boost/beast/http/parser.hpp>' '#include <fcntl.h>'
    put tests/unit/text_test.cpp '#include <doctest/doctest.h>' '#include "core/text.hpp"' \
        '#include <unistd.h>' '// https://anything.anywhere.org'
    put README.md 'A text.'
    cp "$here/../../.clang-format" "$tree/.clang-format"
}

# run CHECK: its exit code in $code, its words in $scratch/out.
run() {
    code=0
    sh "$here/$1" "$tree" >"$scratch/out" 2>&1 || code=$?
}

passes() {
    run "$1"
    checks=$((checks + 1))
    [ "$code" -eq 0 ] || [ "$code" -eq 77 ] || {
        complain "$1 on a clean tree: exit $code"
        cat "$scratch/out"
    }
}

# caught CHECK FILE LINE...: FILE with these lines is complained of.
caught() {
    check=$1
    file=$2
    shift
    clean_tree
    put "$@"
    run "$check"
    checks=$((checks + 1))
    if [ "$code" -eq 77 ]; then
        return
    fi
    if [ "$code" -eq 0 ] || ! grep -qF "$file" "$scratch/out"; then
        complain "$check did not catch in $file: $2"
        cat "$scratch/out"
    fi
}

clean_tree
passes check_layers.sh
passes check_words.sh

caught check_layers.sh lib/core/bad.cpp '#include "os/file.hpp"'
caught check_layers.sh lib/core/bad.cpp '#include <unistd.h>'
caught check_layers.sh lib/core/bad.cpp '#include <boost/asio/awaitable.hpp>'
caught check_layers.sh lib/core/bad.cpp '#include "../os/file.hpp"'
caught check_layers.sh lib/core/bad.cpp '  #  include   <sys/stat.h> // why'
caught check_layers.sh lib/os/bad.cpp '#include "outbox/store.hpp"'
caught check_layers.sh lib/os/bad.cpp '#include <sqlite3.h>'
caught check_layers.sh lib/sqlite/bad.cpp '#include "outbox/store.hpp"'
caught check_layers.sh lib/net/bad.cpp '#include "outbox/store.hpp"'
caught check_layers.sh lib/net/bad.cpp '#include <sys/socket.h>'
caught check_layers.sh lib/net/bad.cpp '#include <boost/asio.hpp>'
caught check_layers.sh lib/outbox/bad.cpp '#include <sqlite3.h>'
caught check_layers.sh lib/outbox/bad.cpp '#include "net/tls.hpp"'
caught check_layers.sh lib/outbox/bad.cpp '#include "worker.hpp"'
caught check_layers.sh lib/delivery/bad.cpp '#include "net/tls.hpp"'
caught check_layers.sh lib/delivery/bad.cpp '#include "sqlite/database.cpp"'
caught check_layers.sh lib/delivery/bad.cpp '#include <boost/beast/core.hpp>'
caught check_layers.sh lib/delivery/bad.cpp '#include <boost/asio/ssl.hpp>'
caught check_layers.sh lib/bad.cpp '#include <openssl/ssl.h>'
caught check_layers.sh lib/bad.cpp '#include <signal.h>'
caught check_layers.sh lib/bad.cpp '#include <doctest/doctest.h>'
caught check_layers.sh lib/newcomer/bad.cpp '#include <string>'
caught check_layers.sh tools/outbox/bad.cpp '#include "core/text.hpp"'
caught check_layers.sh tools/outbox/bad.cpp '#include <sqlite3.h>'
caught check_layers.sh tools/outbox/bad.cpp '#include <unistd.h>'
caught check_layers.sh tools/sandbox/bad.cpp '#include "outbox/store.hpp"'
caught check_layers.sh include/agentsight/bad.hpp '#include <nlohmann/json.hpp>'
caught check_layers.sh include/agentsight/bad.hpp '#include <boost/asio/awaitable.hpp>'
caught check_layers.sh include/agentsight/bad.hpp '#include <sqlite3.h>'
caught check_layers.sh include/agentsight/bad.hpp '#include <openssl/ssl.h>'
caught check_layers.sh include/agentsight/bad.hpp '#include "core/text.hpp"'
caught check_layers.sh include/agentsight/client.hpp '#include <unistd.h>'

w=w
s=s
b=B
caught check_words.sh README.md "see /${w}ork/main"
caught check_words.sh lib/bad.cpp "// /${w}ork/x"
caught check_words.sh lib/bad.cpp '// https://registry.somebody.net/x'
caught check_words.sh README.md 'http://mirror.somebody.org'
caught check_words.sh README.md 'https://github.com.somebody.org/x'
caught check_words.sh lib/bad.cpp 'int x; '
caught check_words.sh lib/bad.cpp "$(printf '\tint x;')"
caught check_words.sh lib/bad.cpp '<<<<<<< ours'
caught check_words.sh lib/outbox/bad.cpp "run(\"${b}EGIN;\");"
caught check_words.sh lib/outbox/bad.cpp "run(\"${b}EGIN\");"
caught check_words.sh lib/outbox/bad.cpp "run(\"${b}EGIN DEFERRED\");"
caught check_words.sh lib/outbox/bad.cpp "run(\"${b}EGIN TRANSACTION\");"
caught check_words.sh tests/unit/bad.cpp "std::this_thread::${s}leep_for(1s);"
caught check_words.sh tests/unit/bad.cpp "u${s}leep(1);"
caught check_words.sh tests/unit/bad.cpp "::${s}leep(1);"
caught check_words.sh lib/bad.cpp "// written by Cl""aude"

caught check_format.sh lib/bad.cpp 'int  x ;'
caught check_format.sh tests/bad.hpp 'int* a, *b ;'

echo "$checks checks of the lint, $failed failed"
[ "$failed" -eq 0 ]
