"""The documents against the code: links, Python blocks, the table of options, the verbs."""

import ast
import os
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(os.environ["AGENTSIGHT_SOURCE"])
PAGES = sorted((ROOT / "docs").glob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
]


def options_of_the_header():
    """Names of the members of struct Options."""
    text = (ROOT / "include/agentsight/options.hpp").read_text()
    body = re.search(r"struct Options \{(.*?)\n\};", text, re.DOTALL).group(1)
    code = re.sub(r"///[^\n]*", "", body)
    for statement in code.split(";"):
        statement = re.sub(r"\{.*\}", "", statement, flags=re.DOTALL).split("=")[0].strip()
        if statement:
            yield statement.split()[-1]


class Documents(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        for page in PAGES:
            prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
            for link in re.findall(r"\]\(([^)#]+)\)", prose):
                if "://" not in link:
                    self.assertTrue((page.parent / link).exists(), f"{page.name}: {link}")

    def test_every_option_has_its_row(self):
        rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/options.md").read_text(), re.MULTILINE)
        self.assertEqual(rows, list(options_of_the_header()))

    def test_every_option_can_be_set_from_c(self):
        source = (ROOT / "lib/c_options.cpp").read_text()
        for name in options_of_the_header():
            if name not in ("credential", "dispatch", "observer", "log"):
                self.assertRegex(source, f'"{name}(_ms)?"')

    def test_the_versions_agree(self):
        version = re.search(r"\n  version: '([0-9.]+)'", (ROOT / "meson.build").read_text()).group(1)
        package = (ROOT / "lib/python/pyproject.toml").read_text()
        self.assertIn(f'\nversion = "{version}"\n', package)

    def test_python_blocks_are_python(self):
        count = 0
        for page in PAGES:
            for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
                ast.parse(block)
                count += 1
        self.assertGreater(count, 0)

    def test_every_hold_reason_has_its_row(self):
        source = (ROOT / "lib/core/error.cpp").read_text()
        names = re.findall(r'HoldReason::\w+:\s*return "(\w+)"', source)
        page = (ROOT / "docs/operating.md").read_text()
        self.assertGreater(len(names), 5)
        for name in names:
            self.assertTrue(f"hold `{name}`" in page or name == "person", name)

    @unittest.skipUnless("AGENTSIGHT_OUTBOX_PROGRAM" in os.environ, "needs the tool")
    def test_every_verb_in_the_documents_exists(self):
        verbs = set()
        for page in PAGES:
            verbs |= set(re.findall(r"`agentsight-outbox ([a-z]+)[ `]", page.read_text()))
        self.assertGreater(len(verbs), 5)
        for verb in verbs:
            done = subprocess.run(
                [os.environ["AGENTSIGHT_OUTBOX_PROGRAM"], verb, "--help"], capture_output=True
            )
            self.assertEqual(done.returncode, 0, verb)


if __name__ == "__main__":
    unittest.main()
