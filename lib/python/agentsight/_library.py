"""The C interface (agentsight/agentsight.h) by ctypes. Nothing here knows what it is for."""

import ctypes
import importlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

_FILE = "libagentsight-outbox.so.0"

OK = 0
NOT_SETTLED = 1
NOT_FOUND = 202
NO_CREDENTIAL = 500
NETWORK = 501
UNAUTHORIZED = 502
FORBIDDEN = 503
API_ERROR = 504

STATES = ("waiting", "claimed", "delivered", "unknown", "dead", "discarded")

_Manager = ctypes.c_void_p
_Size = ctypes.c_size_t
_Text = ctypes.c_char_p


class Failure(Exception):
    """A function's code and its message."""

    def __init__(self, code: int, message: str, record_id: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.record_id = record_id

    @property
    def is_of_the_feedback(self) -> bool:
        return 100 <= self.code < 200


class Answer(NamedTuple):
    """What the server said to an online call; status 0 without an answer."""

    code: int
    message: str
    status: int
    body: Optional[bytes]


class _Feedback(ctypes.Structure):
    _fields_ = [
        ("struct_size", _Size),
        ("conversation_id", _Text),
        ("conversation_id_length", _Size),
        ("conversation", ctypes.c_int64),
        ("sentiment", _Text),
        ("sentiment_length", _Size),
        ("comment", _Text),
        ("comment_length", _Size),
        ("metadata", _Text),
        ("metadata_length", _Size),
        ("id", _Text),
        ("id_length", _Size),
    ]


class _Receipt(ctypes.Structure):
    _fields_ = [
        ("id", ctypes.c_char * 37),
        ("stored", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8 * 26),
    ]


_SIGNATURES: Dict[str, List[Any]] = {
    "open": [_Text, _Size, ctypes.c_void_p, ctypes.POINTER(_Manager)],
    "submit": [_Manager, ctypes.POINTER(_Feedback), ctypes.POINTER(_Receipt)],
    "flush": [_Manager, ctypes.c_int64],
    "wait": [_Manager, _Text, _Size, ctypes.c_int64, ctypes.POINTER(ctypes.c_int)],
    "stats": [_Manager, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(_Size)],
    "pause": [_Manager, ctypes.c_int],
    "set_credential": [_Manager, ctypes.c_int, _Text, _Size],
    "network_changed": [_Manager],
    "fetch_conversation": [
        _Text,
        _Size,
        _Text,
        _Size,
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(_Size),
        ctypes.POINTER(ctypes.c_int),
    ],
}


def encoded(text: str) -> bytes:
    """UTF-8; a lone surrogate comes out as what the library refuses."""
    return text.encode("utf-8", "surrogatepass")


def options_text(options: Dict[str, Any]) -> str:
    """For the C interface; a path may be a pathlib.Path."""
    return json.dumps(options, default=os.fspath) if options else ""


def _places() -> Iterator[str]:
    """Where the shared library may be, best first."""
    chosen = os.environ.get("AGENTSIGHT_LIBRARY")
    if chosen:
        yield chosen
        return
    try:  # written by `meson install`
        yield str(importlib.import_module("agentsight._location").LIBRARY)
    except ImportError:
        pass
    here = Path(__file__).resolve()
    if len(here.parents) > 3:  # the source tree, built by tools/test or tools/demo
        yield str(here.parents[3] / "build" / "lib" / _FILE)
    yield _FILE  # wherever the system's loader looks


class Library:
    """The loaded library; its functions raise Failure."""

    def __init__(self) -> None:
        self._functions = self._load()
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._functions, "agentsight_" + name)
            function.restype = ctypes.c_int
            function.argtypes = arguments + [_Text, _Size]
        for end in (self._functions.agentsight_stop, self._functions.agentsight_close):
            end.restype = None
            end.argtypes = [_Manager, ctypes.c_int64]
        self._functions.agentsight_free.restype = None
        self._functions.agentsight_free.argtypes = [ctypes.c_void_p]
        self._functions.agentsight_version.restype = _Text
        self._functions.agentsight_version.argtypes = []

    @staticmethod
    def _load() -> ctypes.CDLL:
        problems = []
        for place in _places():
            try:
                return ctypes.CDLL(place)
            except OSError as problem:
                problems.append(str(problem))
        raise OSError(
            "loading the AgentSight library: install it, or set AGENTSIGHT_LIBRARY to its file ("
            + "; ".join(problems)
            + ")"
        )

    def version(self) -> str:
        return str(self._functions.agentsight_version().decode())

    def _call(self, name: str, *arguments: object) -> Tuple[int, str]:
        message = ctypes.create_string_buffer(512)
        function = getattr(self._functions, "agentsight_" + name)
        code = function(*arguments, message, len(message))
        return code, message.value.decode("utf-8", "replace")

    def _checked(self, name: str, *arguments: object) -> int:
        code, message = self._call(name, *arguments)
        if code not in (OK, NOT_SETTLED):
            raise Failure(code, message)
        return code

    def _take(self, text: ctypes.c_void_p, length: int) -> Optional[bytes]:
        if not text.value:
            return None
        try:
            return ctypes.string_at(text.value, length)
        finally:
            self._functions.agentsight_free(text)

    def open(self, options: str) -> int:
        handle = _Manager()
        text = encoded(options)
        self._checked("open", text, len(text), None, ctypes.byref(handle))
        return int(handle.value or 0)

    def stop(self, handle: int, deadline_ms: int) -> None:
        self._functions.agentsight_stop(handle, deadline_ms)

    def close(self, handle: int, deadline_ms: int = 0) -> None:
        self._functions.agentsight_close(handle, deadline_ms)

    def submit(
        self,
        handle: int,
        conversation: Union[int, str],
        sentiment: str,
        comment: Optional[str],
        metadata: Optional[str],
        record_id: Optional[str],
    ) -> Tuple[str, bool]:
        feedback = _Feedback(struct_size=ctypes.sizeof(_Feedback))
        if isinstance(conversation, int):
            feedback.conversation = conversation
        else:
            self._set(feedback, "conversation_id", conversation)
        self._set(feedback, "sentiment", sentiment)
        self._set(feedback, "comment", comment)
        self._set(feedback, "metadata", metadata)
        self._set(feedback, "id", record_id)
        receipt = _Receipt()
        code, message = self._call(
            "submit", handle, ctypes.byref(feedback), ctypes.byref(receipt)
        )
        name = receipt.id.decode("ascii")
        if code != OK:
            raise Failure(code, message, name or None)
        return name, bool(receipt.stored)

    @staticmethod
    def _set(feedback: _Feedback, name: str, value: Optional[str]) -> None:
        if value is not None:
            text = encoded(value)
            setattr(feedback, name, text)
            setattr(feedback, name + "_length", len(text))

    def flush(self, handle: int, deadline_ms: int) -> bool:
        return self._checked("flush", handle, deadline_ms) == OK

    def wait(self, handle: int, record_id: str, deadline_ms: int) -> str:
        state = ctypes.c_int()
        name = encoded(record_id)
        self._checked("wait", handle, name, len(name), deadline_ms, ctypes.byref(state))
        return STATES[state.value]

    def stats(self, handle: int) -> bytes:
        text = ctypes.c_void_p()
        length = _Size()
        self._checked("stats", handle, ctypes.byref(text), ctypes.byref(length))
        return self._take(text, length.value) or b"{}"

    def pause(self, handle: int, paused: bool) -> None:
        self._checked("pause", handle, int(paused))

    def set_credential(self, handle: int, kind: int, secret: str) -> None:
        text = encoded(secret)
        self._checked("set_credential", handle, kind, text, len(text))

    def network_changed(self, handle: int) -> None:
        self._checked("network_changed", handle)

    def fetch_conversation(self, options: str, conversation: Union[int, str]) -> Answer:
        settings = encoded(options)
        name = None if isinstance(conversation, int) else encoded(conversation)
        number = conversation if isinstance(conversation, int) else 0
        text = ctypes.c_void_p()
        length = _Size()
        status = ctypes.c_int()
        code, message = self._call(
            "fetch_conversation",
            settings,
            len(settings),
            name,
            len(name or b""),
            number,
            ctypes.byref(text),
            ctypes.byref(length),
            ctypes.byref(status),
        )
        return Answer(code, message, status.value, self._take(text, length.value))


_library: Optional[Library] = None


def library() -> Library:
    """Loaded when first used, so that importing needs nothing."""
    global _library
    if _library is None:
        _library = Library()
    return _library
