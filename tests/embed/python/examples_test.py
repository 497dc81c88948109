"""The documentation's examples, unchanged (examples/python), against the sandbox; and those of
our own documents."""

import re
import signal
import unittest

from support import EXAMPLES, Case, example

KILLED = "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
DELIVERED = "\nassert conversation_manager.flush(50)\n"


class Examples(Case):
    def test_both_submits_survive_a_missing_server_and_a_kill_and_arrive_once(self):
        self.sandbox.link(False)
        self.python(example("basic.py") + KILLED, -signal.SIGKILL)
        self.python(example("complete.py") + KILLED, -signal.SIGKILL)
        self.assertEqual(self.sandbox.rows(), [])
        self.sandbox.link(True)
        self.python("from agentsight import conversation_manager" + DELIVERED)

        rows = {row["conversation_id"]: row for row in self.sandbox.rows()}
        self.assertEqual(len(self.sandbox.rows()), 2)
        basic = rows["conv-123"]
        self.assertEqual(basic["sentiment"], "positive")
        self.assertEqual(basic["comment"], "Very helpful!")
        complete = rows["support-session-456"]
        self.assertEqual(complete["sentiment"], "positive")
        self.assertTrue(complete["comment"].startswith("Excellent service! The agent was"))
        self.assertEqual(
            complete["metadata"],
            {
                "rating": 5,
                "would_recommend": True,
                "issue_resolved": True,
                "response_time_rating": "excellent",
                "feedback_channel": "post_chat_survey",
                "collected_at": "2024-01-15T10:35:00Z",
            },
        )
        self.python("from agentsight import conversation_manager" + DELIVERED)
        self.assertEqual(len(self.sandbox.rows()), 2)

    def test_a_program_that_only_submits_has_delivered_when_it_ends(self):
        patient = "import agentsight.manager\nagentsight.manager.EXIT_DEADLINE = 50\n"
        self.python(patient + example("basic.py"))
        self.assertEqual([row["comment"] for row in self.sandbox.rows()], ["Very helpful!"])

    def test_the_database_id_example_runs_after_the_first_in_one_interpreter(self):
        patient = "import agentsight.api\nagentsight.api.FETCH_PATIENCE = 50\n"
        self.python(patient + example("basic.py") + example("database_id.py") + DELIVERED)
        first, second = sorted(self.sandbox.rows(), key=lambda row: row["id"])
        self.assertEqual(second["comment"], "Great support!")
        self.assertEqual(second["conversation"], first["conversation"])

    def test_offline_fetching_raises_the_documented_exception(self):
        self.sandbox.link(False)
        self.python(
            example("basic.py")
            + "from agentsight.exceptions import ConversationNetworkException\n"
            + "try:\n    exec(open(%r).read())\n" % str(self.path_of("database_id.py"))
            + "except ConversationNetworkException: print('documented')\n"
            + "else: raise SystemExit('no exception')\n"
        )

    def test_the_python_blocks_of_our_documents_run(self):
        root = EXAMPLES.parents[1]
        blocks = []
        for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
            blocks += re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
        self.assertGreater(len(blocks), 2)
        for block in blocks:
            self.python(block.replace("/var/lib/kiosk", self.folder.name))
        self.python("from agentsight import conversation_manager" + DELIVERED)
        self.assertEqual(len(self.sandbox.rows()), len(blocks))

    @staticmethod
    def path_of(name):
        return EXAMPLES / name


if __name__ == "__main__":
    unittest.main()
