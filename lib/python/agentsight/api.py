"""Online calls: each waits for the server's answer; nothing is kept."""

import json
from typing import Any, Dict, Optional, Union

from agentsight import _checks, _library
from agentsight.exceptions import (
    ConversationApiException,
    ConversationNetworkException,
    ForbiddenException,
    InvalidConversationDataException,
    NoApiKeyException,
    NotFoundException,
    OutboxException,
    UnauthorizedException,
)
from agentsight.manager import conversation_manager

#: How long a conversation that the server does not know is waited for while feedback of this
#: interpreter is on its way, in seconds.
FETCH_PATIENCE = 5.0

_REFUSALS = {
    _library.UNAUTHORIZED: UnauthorizedException,
    _library.FORBIDDEN: ForbiddenException,
    _library.NOT_FOUND: NotFoundException,
    _library.API_ERROR: ConversationApiException,
}


class AgentSightAPI:
    """``options`` are those of agentsight/agentsight.h about the connection; without any, the
    environment decides."""

    def __init__(self, **options: Any) -> None:
        self._options = _library.options_text(options)

    def fetch_conversation(self, conversation_id: Union[int, str]) -> Dict[str, Any]:
        """The conversation as the server describes it; ``["id"]`` is its database id.

        Text is the business id, an integer the database id. Raises ValueError for a missing
        id, NoApiKeyException, ConversationNetworkException without an answer, and
        NotFoundException, UnauthorizedException, ForbiddenException or another
        ConversationApiException for a refusal. Feedback that ``conversation_manager`` has on its
        way may be what makes the conversation: that is waited for, 5 s at most.
        """
        name = _checks.conversation(conversation_id)
        answer = _library.library().fetch_conversation(self._options, name)
        if answer.code == _library.NOT_FOUND and conversation_manager._delivers(FETCH_PATIENCE):
            # Feedback creates its conversation, and may have been on its way.
            answer = _library.library().fetch_conversation(self._options, name)
        if answer.code != _library.OK:
            raise _exception(answer)
        result: Dict[str, Any] = json.loads(answer.body or b"{}")
        return result

    # The documented signature names no result.
    del fetch_conversation.__annotations__["return"]


def _response_data(body: Optional[bytes]) -> Any:
    """The refusal's JSON; what is not JSON as text."""
    if body is None:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _exception(answer: _library.Answer) -> Exception:
    if answer.code in _REFUSALS:
        status = answer.status or (404 if answer.code == _library.NOT_FOUND else None)
        return _REFUSALS[answer.code](answer.message, status, _response_data(answer.body))
    if answer.code == _library.NO_CREDENTIAL:
        return NoApiKeyException(answer.message)
    if answer.code == _library.NETWORK:
        return ConversationNetworkException(answer.message)
    if 100 <= answer.code < 200:
        return InvalidConversationDataException(answer.message)
    return OutboxException(answer.message, answer.code)


#: Configured by the environment.
agentsight_api = AgentSightAPI()
