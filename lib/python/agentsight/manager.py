"""Feedback into the outbox, and what becomes of it."""

import atexit
import json
import os
from threading import Lock
from time import monotonic
from typing import Any, Dict, NamedTuple, Optional, Union
from weakref import WeakSet

from agentsight import _checks
from agentsight._library import Failure, library, options_text
from agentsight.enums import Sentiment
from agentsight.exceptions import InvalidConversationDataException, OutboxException

#: How long the end of the interpreter may wait for what is on its way, in seconds. What is
#: not delivered by then stays in the outbox for the next start.
EXIT_DEADLINE = 2.0


class Receipt(NamedTuple):
    """The record is on stable storage under this name."""

    id: str
    #: False: a record of this id and content was there already.
    stored: bool


def _milliseconds(seconds: float) -> int:
    return int(max(0.0, min(seconds * 1000, 2.0**53)))


class _Opened:
    """A handle, and how many calls are using it: the last one out of a closed one frees it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.process = os.getpid()
        self.users = 0
        self.closed = False

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which leaves the parent's alone."""
        return self.process == os.getpid()

    @property
    def is_to_be_freed(self) -> bool:
        return self.closed and self.users == 0


class ConversationManager:
    """One outbox and the worker that delivers from it; any thread may call.

    ``options`` are those of agentsight/agentsight.h; without any, the environment decides.
    The outbox is opened by the first call, and again after a fork. Failures that are not the
    feedback's own raise OutboxException.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options_text(options)
        self._lock = Lock()
        self._opened: Optional[_Opened] = None
        _managers.add(self)

    def submit_feedback(
        self,
        conversation_id: Union[int, str],
        sentiment: Union[Sentiment, str],
        comment: Optional[str] = None,
        metadata: Optional[Dict[str, Any]] = None,
    ) -> Receipt:
        """Commits one feedback; returns once it is on stable storage.

        Never waits for the network. Raises ValueError for a missing id,
        InvalidConversationDataException for what breaks another rule.
        """
        return self.submit_feedback_as(None, conversation_id, sentiment, comment, metadata)

    # The documented signature names no result.
    del submit_feedback.__annotations__["return"]

    def submit_feedback_as(
        self,
        record_id: Optional[str],
        conversation_id: Union[int, str],
        sentiment: Union[Sentiment, str],
        comment: Optional[str] = None,
        metadata: Optional[Dict[str, Any]] = None,
    ) -> Receipt:
        """The same under a name of the caller's, a UUID: safe to repeat until it succeeds."""
        conversation = _checks.conversation(conversation_id)
        name = _checks.sentiment_name(sentiment)
        text = _checks.comment_text(comment)
        extra = _checks.metadata_text(metadata)
        return Receipt(*self._run("submit", conversation, name, text, extra, record_id))

    def flush(self, deadline: float = 5.0) -> bool:
        """Sends what is due and waits until it is settled, at most ``deadline`` seconds."""
        return bool(self._run("flush", _milliseconds(deadline)))

    def wait(self, record_id: str, deadline: float = 5.0) -> str:
        """The record's state ("delivered", "dead", "waiting" ...) once settled, or then."""
        return str(self._run("wait", record_id, _milliseconds(deadline)))

    def stats(self) -> Dict[str, Any]:
        """The outbox now: counts, what holds it, who drains it."""
        result: Dict[str, Any] = json.loads(self._run("stats"))
        return result

    def pause(self) -> None:
        """Stops this manager's sending; submits go on."""
        self._run("pause", True)

    def resume(self) -> None:
        self._run("pause", False)

    def set_api_key(self, key: str) -> None:
        """Replaces the credential; what was held for its sake is sent at once."""
        self._run("set_credential", 1, key)

    def set_jwt(self, token: str) -> None:
        """The same with a JSON web token: the server counts its feedback as the platform's."""
        self._run("set_credential", 2, token)

    def network_changed(self) -> None:
        """The network may have come back: tries at once."""
        self._run("network_changed")

    def close(self, deadline: float = EXIT_DEADLINE) -> None:
        """Ends the worker, within the deadline; a later call opens the outbox again.

        Calls in progress on other threads end, those that could not be done by OutboxException.
        """
        with self._lock:
            opened, self._opened = self._opened, None
        if opened and opened.is_ours:
            library().stop(opened.handle, _milliseconds(deadline))
            with self._lock:
                opened.closed = True
                last = opened.is_to_be_freed
            if last:
                library().close(opened.handle)

    def _enter(self) -> _Opened:
        with self._lock:
            if not self._opened or not self._opened.is_ours:
                self._opened = _Opened(library().open(self._options))
            self._opened.users += 1
            return self._opened

    def _leave(self, opened: _Opened) -> None:
        with self._lock:
            opened.users -= 1
            last = opened.is_to_be_freed
        if last:
            library().close(opened.handle)

    def _run(self, function: str, *arguments: Any) -> Any:
        try:
            opened = self._enter()
            try:
                return getattr(library(), function)(opened.handle, *arguments)
            finally:
                self._leave(opened)
        except Failure as failure:
            raise _exception(failure) from None

    def _delivers(self, deadline: float) -> bool:
        """Whether this interpreter has feedback to deliver, after trying to."""
        if not self._opened or not self._opened.is_ours:
            return False
        try:
            self.flush(deadline)
        except OutboxException:
            return False
        return True

    def _end(self) -> None:
        """At the end of the interpreter: what is on its way may arrive, within one deadline."""
        end = monotonic() + EXIT_DEADLINE
        self._delivers(EXIT_DEADLINE)
        self.close(end - monotonic())


def _exception(failure: Failure) -> Exception:
    if failure.is_of_the_feedback:
        return InvalidConversationDataException(failure.message)
    return OutboxException(failure.message, failure.code, failure.record_id)


#: All there are, for forks.
_managers: "WeakSet[ConversationManager]" = WeakSet()


def _renew_locks() -> None:
    """In a forked child: a thread that held a lock is not there to give it up."""
    for manager in list(_managers):
        manager._lock = Lock()


#: The process's own, configured by the environment.
conversation_manager = ConversationManager()
atexit.register(conversation_manager._end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
