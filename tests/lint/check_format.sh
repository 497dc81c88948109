#!/bin/sh
# Every source file is as clang-format 14 writes it; exit 77 (skipped) without that version.
# Usage: check_format.sh [SOURCE_ROOT]
set -eu
cd "${1:-.}"

formatter=
for candidate in clang-format-14 clang-format; do
    if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then
        formatter=$candidate
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "skipped: no clang-format 14 here"
    exit 77
fi
find include lib tools tests -type f \( -name '*.hpp' -o -name '*.cpp' \) |
    LC_ALL=C sort | xargs "$formatter" --dry-run -Werror
