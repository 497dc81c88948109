"""The package's own promises: signatures, exceptions, environment, forks."""

import inspect
import json
import os
import threading
import unittest
from typing import Any, Dict, List, Optional, Union
from unittest import mock

from support import Case

import agentsight
from install_folder import install_folder
from agentsight import agentsight_api, conversation_manager
from agentsight.enums import Sentiment
from agentsight.exceptions import InvalidConversationDataException


def documented_submit(
    conversation_id: Union[int, str],
    sentiment: Union[Sentiment, str],
    comment: Optional[str] = None,
    metadata: Optional[Dict[str, Any]] = None,
): ...


def documented_fetch(conversation_id: Union[int, str]): ...


class Interface(unittest.TestCase):
    def test_the_signatures_are_the_documented_ones(self):
        self.assertEqual(
            inspect.signature(conversation_manager.submit_feedback),
            inspect.signature(documented_submit),
        )
        self.assertEqual(
            inspect.signature(agentsight_api.fetch_conversation),
            inspect.signature(documented_fetch),
        )

    def test_the_package_says_that_it_is_typed(self):
        folder = os.path.dirname(agentsight.__file__)
        self.assertTrue(os.path.exists(os.path.join(folder, "py.typed")))

    def test_sentiments_are_their_texts(self):
        self.assertEqual([s.value for s in Sentiment], ["positive", "neutral", "negative"])
        self.assertEqual(Sentiment.POSITIVE, "positive")

    def refused(self, exception, message, *arguments, **named):
        for manager in (conversation_manager, agentsight.ConversationManager()):
            with self.assertRaises(exception) as caught:
                manager.submit_feedback(*arguments, **named)
            self.assertIs(type(caught.exception), exception)
            self.assertEqual(str(caught.exception), message)

    def test_a_missing_id_is_a_value_error(self):
        for missing in ("", 0, None):
            self.refused(ValueError, "conversation_id is required", missing, "positive")
            with self.assertRaisesRegex(ValueError, "^conversation_id is required$"):
                agentsight_api.fetch_conversation(missing)

    def test_each_broken_rule_has_the_documented_message(self):
        invalid = InvalidConversationDataException
        sentiments = "Must be one of: positive, neutral, negative"
        for wrong in ("meh", "Positive", "", None, 3):
            self.refused(invalid, f"Invalid sentiment: '{wrong}'. {sentiments}", "c", wrong)
        self.refused(invalid, "Field 'comment' must be a string", "c", "positive", 5)
        self.refused(
            invalid,
            "Field 'comment' cannot exceed 5000 characters (got 5001)",
            "c",
            "positive",
            "\U0001f600" * 5001,
        )
        for wrong in (True, 1.5, b"c", ["c"]):
            with self.assertRaises(invalid):
                conversation_manager.submit_feedback(wrong, "positive")
        with self.assertRaises(invalid):
            conversation_manager.submit_feedback(-1, "positive")
        with self.assertRaises(invalid):
            conversation_manager.submit_feedback(2**63, "positive")


class InstallFolder(unittest.TestCase):
    """Where `meson install` puts the package, for Pythons as they are."""

    DEBIAN = ["", "/usr/lib/python3.11", "/usr/local/lib/python3.11/dist-packages"] + [
        "/usr/lib/python3/dist-packages"
    ]

    def folder(self, prefix: str, choice: str) -> str:
        return install_folder(prefix, choice, self.DEBIAN, self.DEBIAN[2])

    def test_under_usr_local_debian_s_python_looks_in_a_folder_of_its_own(self):
        self.assertEqual(self.folder("/usr/local", "lib/python3/dist-packages"), self.DEBIAN[2])

    def test_meson_s_choice_stands_where_it_is_looked_at_or_nothing_is_under_the_prefix(self):
        for prefix in ("/usr", "/opt/agentsight", "/usr/loc"):
            self.assertEqual(
                self.folder(prefix, "lib/python3/dist-packages"),
                prefix + "/lib/python3/dist-packages",
            )


class OneThatFrees:
    """The library as far as close() needs it; notices what is freed under a call."""

    def __init__(self) -> None:
        self.entered, self.ended = threading.Event(), threading.Event()
        self.freed: List[int] = []
        self.freed_in_use = False

    def open(self, options: str) -> int:
        return 7

    def flush(self, handle: int, deadline_ms: int) -> bool:
        self.entered.set()
        self.ended.wait()
        self.freed_in_use = handle in self.freed
        return False

    def stop(self, handle: int, deadline_ms: int) -> None:
        self.ended.set()

    def close(self, handle: int, deadline_ms: int = 0) -> None:
        self.freed.append(handle)
        self.ended.set()


class Closing(unittest.TestCase):
    def test_a_manager_is_freed_once_and_not_under_the_calls_of_other_threads(self):
        fake = OneThatFrees()
        with mock.patch("agentsight.manager.library", lambda: fake):
            manager = agentsight.ConversationManager()
            thread = threading.Thread(target=manager.flush, args=(50,))
            thread.start()
            fake.entered.wait()
            manager.close()
            manager.close()
            thread.join()
        self.assertFalse(fake.freed_in_use)
        self.assertEqual(fake.freed, [7])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_forked_child_finds_the_locks_of_all_managers_free(self):
        manager = agentsight.ConversationManager()
        with manager._lock:  # as by another thread in the middle of a call
            child = os.fork()
            if child == 0:
                os._exit(0 if manager._lock.acquire(timeout=10) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


class Behaviour(Case):
    def run_checks(self, body: str) -> None:
        self.python(
            "import json, math, os\n"
            "from agentsight import agentsight_api, conversation_manager as m\n"
            "from agentsight.exceptions import *\n"
            "def refused(kind, call, *a, **k):\n"
            "    try: call(*a, **k)\n"
            "    except kind as e: assert type(e) is kind, e; return e\n"
            "    raise SystemExit('not refused: %r %r' % (a, k))\n" + body
        )

    def test_what_the_library_refuses_is_invalid_data_and_never_repeated(self):
        self.run_checks(
            "I = InvalidConversationDataException\n"
            "for c in (' ', 'a\\0b', 'x' * 256, '\\ud800'):\n"
            "    refused(I, m.submit_feedback, c, 'positive')\n"
            "for c in ('a\\0secret', '\\ud800secret'):\n"
            "    e = refused(I, m.submit_feedback, 'c', 'positive', c)\n"
            "    assert 'secret' not in str(e), e\n"
            "loop = {}; loop['a'] = loop\n"
            "for d in ({'a': math.nan}, {'a': -math.inf}, {'a': {1}}, loop, {'a': 2**64},\n"
            "          {'a': '\\ud800'}, {1: 'a', '1': 'b'}, [1], 'x', {'a': 'x' * 300000}):\n"
            "    refused(I, m.submit_feedback, 'c', 'positive', None, d)\n"
            "deep = {}\n"
            "for _ in range(200): deep = {'a': deep}\n"
            "refused(I, m.submit_feedback, 'c', 'positive', None, deep)\n"
            "assert m.stats()['accepted'] == 0\n"
        )

    def test_text_and_numbers_arrive_as_given(self):
        self.run_checks(
            "m.submit_feedback(' conv \\u00e9 ', 'neutral', '  \\U0001f600 \\n', "
            "{'big': 2**64 - 1, 'small': -2**63, 'float': 0.1, 'text': '\\u2028\\0', 'none': None})\n"
            "m.submit_feedback('42', 'neutral')\n"
            "m.submit_feedback(42, 'neutral', '', {})\n"
            "assert m.flush(50)\n"
        )
        bodies = [json.loads(r["body"]) for r in self.requests() if r["method"] == "POST"]
        bodies.sort(key=lambda body: str(body.get("conversation_id", "~")))
        self.assertEqual(
            bodies,
            [
                {
                    "sentiment": "neutral",
                    "conversation_id": " conv \u00e9 ",
                    "comment": "  \U0001f600 \n",
                    "metadata": {
                        "big": 2**64 - 1,
                        "small": -(2**63),
                        "float": 0.1,
                        "text": "\u2028\0",
                        "none": None,
                    },
                },
                {"sentiment": "neutral", "conversation_id": "42"},
                {"sentiment": "neutral", "conversation": 42},
            ],
        )

    def requests(self):
        requests = self.sandbox.ask("/requests")
        return requests["requests"] if isinstance(requests, dict) else requests

    def test_fetching_has_an_exception_for_each_refusal(self):
        self.run_checks(
            "e = refused(NotFoundException, agentsight_api.fetch_conversation, 999)\n"
            "assert e.status_code == 404 and 'detail' in e.response_data, e.response_data\n"
            "e = refused(NotFoundException, agentsight_api.fetch_conversation, 'nobody')\n"
            "assert e.status_code == 404, e.status_code\n"
            "assert isinstance(e, ConversationApiException)\n"
        )
        self.sandbox.ask("/settings", {"api_keys": ["another"]})
        self.run_checks(
            "e = refused(UnauthorizedException, agentsight_api.fetch_conversation, 1)\n"
            "assert e.status_code == 401, e.status_code\n"
        )
        self.sandbox.ask("/faults", {"kind": "status", "status": 403})
        self.run_checks(
            "e = refused(ForbiddenException, agentsight_api.fetch_conversation, 1)\n"
            "assert e.status_code == 403, e.status_code\n"
        )
        del self.environment["AGENTSIGHT_API_KEY"]
        self.run_checks("refused(NoApiKeyException, agentsight_api.fetch_conversation, 1)\n")

    def test_without_a_key_feedback_waits_for_one(self):
        del self.environment["AGENTSIGHT_API_KEY"]
        self.run_checks(
            "r = m.submit_feedback('c', 'positive')\n"
            "assert not m.flush(50)\n"
            "assert m.stats()['hold']['reason'] == 'no_credential'\n"
            "m.set_api_key('ags_test')\n"
            "assert m.wait(r.id, 50) == 'delivered'\n"
        )
        self.assertEqual(len(self.sandbox.rows()), 1)

    def test_an_id_of_the_callers_stores_once(self):
        self.run_checks(
            "name = '5eedf00d-0000-4000-8000-000000000001'\n"
            "assert m.submit_feedback_as(name, 'c', 'positive') == (name, True)\n"
            "assert m.submit_feedback_as(name, 'c', 'positive') == (name, False)\n"
            "e = refused(OutboxException, m.submit_feedback_as, name, 'd', 'positive')\n"
            "assert e.code == 201 and e.record_id == name\n"
            "refused(InvalidConversationDataException, m.submit_feedback_as, 'x', 'c', 'positive')\n"
        )

    def test_a_forked_child_has_an_outbox_of_its_own(self):
        self.run_checks(
            "m.pause()\n"
            "m.submit_feedback('c', 'positive', 'parent')\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    m.submit_feedback('c', 'positive', 'child')\n"
            "    os._exit(0 if m.flush(50) else 1)\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "m.resume()\n"
            "assert m.flush(50)\n"
        )
        self.assertEqual(
            sorted(row["comment"] for row in self.sandbox.rows()), ["child", "parent"]
        )

    def test_the_library_outlives_its_dlclose(self):
        self.run_checks(
            "import _ctypes\n"
            "from agentsight import _library\n"
            "for i in range(20):\n"
            "    m.submit_feedback('c', 'positive', str(i))\n"
            "    if i % 2: m.close()\n"  # else with the worker's thread running
            "    _ctypes.dlclose(_library.library()._functions._handle)\n"
            "    _library._library = None\n"
            "assert m.flush(50)\n"
        )
        self.assertEqual(len(self.sandbox.rows()), 20)

    def test_options_may_be_paths_and_deadlines_endless(self):
        self.run_checks(
            "import pathlib\n"
            "from agentsight import ConversationManager\n"
            "path = pathlib.Path(os.environ['AGENTSIGHT_OUTBOX'] + '2')\n"
            "other = ConversationManager(outbox_path=path)\n"
            "r = other.submit_feedback('c', 'positive')\n"
            "assert other.wait(r.id, math.inf) == 'delivered' and other.flush(math.inf)\n"
            "assert other.wait(r.id, -math.inf) == 'delivered' and path.exists()\n"
            "refused(TypeError, ConversationManager, outbox_path=object())\n"
        )

    def test_the_end_of_the_interpreter_keeps_one_deadline_although_the_server_hangs(self):
        self.sandbox.ask("/faults", {"kind": "hang"})
        self.run_checks(
            "import atexit, time\n"
            "start = time.monotonic()\n"
            "m.submit_feedback('c', 'positive')\n"
            "atexit.unregister(m._end)\n"
            "m._end()\n"
            "assert time.monotonic() - start < 3.5, time.monotonic() - start\n"
        )

    def test_close_opens_again_at_the_next_call_and_options_are_the_library_s(self):
        self.run_checks(
            "from agentsight import ConversationManager\n"
            "m.submit_feedback('c', 'positive'); m.close(); m.submit_feedback('c', 'positive')\n"
            "other = ConversationManager(outbox_path=os.environ['AGENTSIGHT_OUTBOX'] + '2')\n"
            "other.pause(); other.submit_feedback('c', 'positive')\n"
            "assert other.stats()['waiting'] == 1\n"
            "other.resume(); other.network_changed(); assert other.flush(50); other.close()\n"
            "e = refused(OutboxException, ConversationManager(connections=99).stats)\n"
            "assert e.code == 200 and 'connections' in str(e)\n"
        )


if __name__ == "__main__":
    unittest.main()
