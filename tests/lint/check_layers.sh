#!/bin/sh
# Every include respects the layers: what stands above may include what stands below, and
# each foreign library is the business of one layer. Usage: check_layers.sh [SOURCE_ROOT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-.}"

list=$(mktemp)
trap 'rm -f "$list"' EXIT
find include lib tools tests -type f \( -name '*.hpp' -o -name '*.cpp' -o -name '*.h' \) |
    LC_ALL=C sort >"$list"
[ -s "$list" ] || { echo "no source files in $(pwd)"; exit 1; }

# shellcheck disable=SC2046  # our file names hold no blanks
awk -f "$here/layers.awk" "$list" $(cat "$list")
