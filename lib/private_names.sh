#!/bin/sh
# Makes the installed static library a good neighbour of a host's own Boost and nlohmann/json:
# private_names.sh NM OBJCOPY LIBRARY, run by `meson install`; LIBRARY is relative to the prefix.
#
# In one link, functions and tables of the same name become one, whichever version and settings
# they were compiled with; so ours are renamed from boost:: to agentsight_boost::, and so on. First
# the bytecode for link-time optimisation goes, which would bring the old names back.
set -eu
nm=$1
objcopy=$2
library=$MESON_INSTALL_DESTDIR_PREFIX/$3
[ -f "$library" ] || exit 0 # `meson install --tags` without it

names=$(mktemp)
trap 'rm -f "$names" "$library.new"' EXIT
"$objcopy" --remove-section='.gnu.lto_*' --remove-section='.gnu.debuglto_*' \
    --strip-symbol=__gnu_lto_v1 --strip-symbol=__gnu_lto_slim "$library" "$library.new"
# In a mangled name an identifier stands behind its length.
"$nm" --no-sort "$library.new" 2>/dev/null | awk '
    {
        name = new = $NF
        while (match(new, /(^|[^0-9])5boost/)) {
            at = RSTART + RLENGTH - 6
            new = substr(new, 1, at - 1) "16agentsight_boost" substr(new, at + 6)
        }
        while (match(new, /(^|[^0-9])8nlohmann/)) {
            at = RSTART + RLENGTH - 9
            new = substr(new, 1, at - 1) "19agentsight_nlohmann" substr(new, at + 9)
        }
        if (new != name && !seen[name]++) print name, new
    }' >"$names"
"$objcopy" --redefine-syms="$names" "$library.new"
chmod 644 "$library.new"
mv -f "$library.new" "$library"
