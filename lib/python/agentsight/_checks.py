"""The documentation's checks, in its order and with its messages."""

import json
from typing import Any, Dict, Optional, Union

from agentsight.enums import Sentiment
from agentsight.exceptions import InvalidConversationDataException

_MAX_COMMENT = 5000
_MAX_DATABASE_ID = 2**63 - 1


def conversation(conversation_id: Union[int, str]) -> Union[int, str]:
    if conversation_id is None or conversation_id == "" or conversation_id == 0:
        raise ValueError("conversation_id is required")
    if isinstance(conversation_id, bool) or not isinstance(conversation_id, (int, str)):
        raise InvalidConversationDataException(
            "Field 'conversation_id' must be a string or an integer"
        )
    if isinstance(conversation_id, int) and not 0 < conversation_id <= _MAX_DATABASE_ID:
        raise InvalidConversationDataException(
            "Field 'conversation_id' must be a positive database id, or a string"
        )
    return conversation_id


def sentiment_name(sentiment: Union[Sentiment, str]) -> str:
    name = sentiment.value if isinstance(sentiment, Sentiment) else sentiment
    names = [known.value for known in Sentiment]
    if not isinstance(name, str) or name not in names:
        raise InvalidConversationDataException(
            f"Invalid sentiment: '{name}'. Must be one of: {', '.join(names)}"
        )
    return name


def comment_text(comment: Optional[str]) -> Optional[str]:
    if comment is None:
        return None
    if not isinstance(comment, str):
        raise InvalidConversationDataException("Field 'comment' must be a string")
    if len(comment) > _MAX_COMMENT:
        raise InvalidConversationDataException(
            f"Field 'comment' cannot exceed {_MAX_COMMENT} characters (got {len(comment)})"
        )
    return comment


def metadata_text(metadata: Optional[Dict[str, Any]]) -> Optional[str]:
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise InvalidConversationDataException("Field 'metadata' must be a dictionary")
    try:
        return json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    except TypeError:
        problem = "holds a value that is not JSON"
    except (ValueError, RecursionError):
        problem = "holds NaN, infinity or itself, or is too deep"
    raise InvalidConversationDataException(f"Field 'metadata' {problem}")
