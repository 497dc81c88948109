#!/bin/sh
# What must not stand in any file, or not in some. Usage: check_words.sh [SOURCE_ROOT]
# A pattern is written so that it does not match itself: [B]EGIN.
# shellcheck disable=SC2086  # lists of file names are split: ours hold no blanks
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-.}"
failed=0

# forbid WHY PATTERN FILES...: prints the lines with the (extended, any case) pattern.
forbid() {
    why=$1
    pattern=$2
    shift 2
    [ $# -gt 0 ] || return 0
    if grep -nHiE -- "$pattern" "$@"; then
        echo "^ $why"
        failed=1
    fi
}

all_files() {
    find . \( -name .git -o -name 'build*' -o -path './subprojects/*/*' -o -name '*.swp' \) \
        -prune -o -type f "$@" -print | LC_ALL=C sort
}

all=$(all_files)
code=$(all_files \( -name '*.hpp' -o -name '*.cpp' \))
lib=$(printf '%s\n' "$code" | grep -E '^\./lib/' || true)
tests=$(printf '%s\n' "$code" | grep -E '^\./tests/' || true)

forbid 'a path of one machine' '(^|[^a-z0-9_.])/([w]ork|[r]oot)/|[.]p[y]env|/b[a]sh_jobs' $all
forbid 'how the code came about does not belong in it' \
    'cl[a]ude|anthr[o]pic|chat[g]pt|open[a]i[^a-z]|copil[o]t|language[ ]model' $all
forbid 'a merge that was not finished' '^(<{7}|>{7}) ' $all
forbid 'white space at the end of a line' '[[:blank:]]$' $code
forbid 'indent with spaces' "$(printf '\t')" $code

# S14: a transaction that reads first and writes later can fail at once with BUSY_SNAPSHOT.
# One that only reads stands in a class Snapshot, or says "reads only" on its line.
if ! awk 'FNR == 1 { snapshot = -9 }
          /[S]napshot/ { snapshot = FNR }
          /"[^"]*[B]EGIN/ && !/[B]EGIN IMMEDIATE|reads only/ && FNR - snapshot > 5 {
              print FILENAME ":" FNR ": " $0; found = 1
          }
          END { exit found }' $lib /dev/null; then
    echo '^ write [B]EGIN IMMEDIATE (S14)'
    failed=1
fi

forbid 'tests do not sleep: wait for what must come' \
    's[l]eep_for|s[l]eep_until|u[s]leep *\(|nanos[l]eep *\(|::s[l]eep *\(' $tests

# Hosts in URLs outside tests: known ones, or names that cannot exist. Nobody's mirror.
hosts=$(printf '%s\n' "$all" | grep -vE '^\./(tests/|subprojects/.*[.]wrap$)' |
    xargs grep -noHE 'https?://[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+' |
    grep -vE '://[0-9.]+$|[.](example|invalid|test|localhost)$|[/.]example[.](com|org|net)$' |
    grep -vE "://($(sed 's/[.]/[.]/g' "$here/hosts.txt" | paste -sd '|' -))\$" || true)
if [ -n "$hosts" ]; then
    printf '%s\n^ a host that tests/lint/hosts.txt does not know\n' "$hosts"
    failed=1
fi

exit "$failed"
