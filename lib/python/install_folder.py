"""Prints where `meson install` puts the package: install_folder.py PREFIX MESONS_CHOICE.

Meson's choice where this Python looks there; else the first folder for packages under the prefix
where it does (Debian's, under /usr/local); else Meson's choice all the same."""

import os
import site
import sys
import sysconfig
from typing import List


def install_folder(prefix: str, choice: str, searched: List[str], usual: str) -> str:
    choice = os.path.join(prefix, choice)
    if os.path.normpath(choice) not in [os.path.normpath(folder) for folder in searched]:
        if usual.startswith(os.path.join(prefix, "")) and usual in searched:
            return usual
    return choice


if __name__ == "__main__":
    # Python leaves out of sys.path what does not exist yet.
    looks_in = sys.path + site.getsitepackages()
    print(install_folder(sys.argv[1], sys.argv[2], looks_in, sysconfig.get_path("purelib")))
