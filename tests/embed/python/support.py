"""A sandbox, and Python programs that use the package against it."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

SANDBOX = os.environ["AGENTSIGHT_SANDBOX_PROGRAM"]
EXAMPLES = Path(os.environ["AGENTSIGHT_EXAMPLES"])
KEY = "ags_0123456789abcdef0123456789abcdef_012345"
PATIENCE = 60  # seconds for what happens at once when all is well


class Sandbox:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [SANDBOX, "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().split()[-1]
        self.control = self.process.stdout.readline().split()[-1]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data)
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def link(self, up: bool) -> None:
        self.ask("/link", {"up": up})

    def rows(self):
        rows = self.ask("/rows")
        return rows["rows"] if isinstance(rows, dict) else rows


class Case(unittest.TestCase):
    """A folder, a sandbox, and an environment as a deployment sets it."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.sandbox = Sandbox()
        self.addCleanup(self.sandbox.stop)
        self.environment = dict(
            os.environ,
            HOME=self.folder.name,
            AGENTSIGHT_OUTBOX=str(Path(self.folder.name) / "feedback.db"),
            AGENTSIGHT_API_ENDPOINT=self.sandbox.url,
            AGENTSIGHT_API_KEY=KEY,
            NO_PROXY="*",
        )

    def python(self, code: str, expected: int = 0) -> str:
        """A program of its own; its standard output."""
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(run.returncode, expected, run.stderr)
        return run.stdout


def example(name: str) -> str:
    return (EXAMPLES / name).read_text()
