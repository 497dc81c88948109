"""The examples as programs, and a host with libraries of its own, against the sandbox."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "python"))
from support import PATIENCE, Case  # noqa: E402

EXAMPLES = Path(os.environ["AGENTSIGHT_EXAMPLE_PROGRAMS"])
HOST = os.environ["AGENTSIGHT_HOST_PROGRAM"]


class Programs(Case):
    def run_program(self, program, *arguments, text="", expected=0):
        done = subprocess.run(
            [str(program), *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout

    def comments(self):
        return sorted(row["comment"] for row in self.sandbox.rows())

    def test_the_console_application_delivers(self):
        self.run_program(EXAMPLES / "console")
        self.assertEqual(self.comments(), ["Excellent service!"])

    def test_the_console_application_keeps_what_it_cannot_deliver(self):
        self.sandbox.link(False)
        self.run_program(EXAMPLES / "console", expected=3)
        self.sandbox.link(True)
        tool = os.environ["AGENTSIGHT_OUTBOX_PROGRAM"]
        self.run_program(tool, "drain", "--endpoint", self.sandbox.url)
        self.assertEqual(self.comments(), ["Excellent service!"])

    def test_the_kiosk_thanks_every_visitor_and_ends_with_all_delivered(self):
        out = self.run_program(EXAMPLES / "kiosk", "30")
        self.assertEqual(out, "thanked 30, delivered 30\n")
        self.assertEqual(len(self.sandbox.rows()), 30)

    def test_the_kiosk_ends_although_the_server_refuses_a_feedback(self):
        self.sandbox.ask("/faults", {"kind": "status", "status": 422, "times": 1})
        out = self.run_program(EXAMPLES / "kiosk", "3")
        self.assertEqual(out, "thanked 3, delivered 2\n")

    def test_the_daemon_hears_of_everything_on_its_own_loop(self):
        lines = "".join(f"device-{i} neutral\n" for i in range(20))
        out = self.run_program(EXAMPLES / "edge_daemon", text=lines).splitlines()
        self.assertEqual(out[-1], "delivered 20")
        self.assertEqual(sum(line.startswith("kept ") for line in out), 20)
        self.assertEqual(len(self.sandbox.rows()), 20)

    def test_the_c_program_delivers_and_observes(self):
        out = self.run_program(EXAMPLES / "feedback", "conv", "positive", "in C")
        self.assertIn('{"event":"submitted"', out)
        self.assertIn('{"event":"delivered"', out)
        self.assertEqual(self.comments(), ["in C"])
        self.run_program(EXAMPLES / "feedback", "conv", "meh", expected=1)

    def test_a_host_with_its_own_sqlite_openssl_and_json_gets_along(self):
        out = self.run_program(HOST, str(Path(self.folder.name) / "host.db"))
        self.assertRegex(out, "host rows 400, delivered 50\n")
        self.assertEqual(len(self.sandbox.rows()), 50)


if __name__ == "__main__":
    unittest.main()
