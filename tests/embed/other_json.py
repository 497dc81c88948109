"""Copies nlohmann's headers and gives them another version: other_json.py FROM TO.

Prints nothing; TO/nlohmann then calls itself x.y.99, and so do its types."""

import re
import shutil
import sys
from pathlib import Path

source, target = Path(sys.argv[1]), Path(sys.argv[2])
shutil.rmtree(target, ignore_errors=True)
shutil.copytree(source / "nlohmann", target / "nlohmann")
changed = 0
for header in target.rglob("*.hpp"):
    text = header.read_text()
    other = re.sub(r"(#define NLOHMANN_JSON_VERSION_PATCH) \d+", r"\1 99", text)
    changed += other != text
    header.write_text(other)
sys.exit(0 if changed else "no header defines NLOHMANN_JSON_VERSION_PATCH")
