"""What goes wrong, by the names that the API's documentation has."""

from typing import Any, Optional


class NoApiKeyException(Exception):
    """An online call without a key. (Feedback is kept without one, until there is one.)"""


class ConversationTrackingException(Exception):
    """The root of what follows."""


class InvalidConversationDataException(ConversationTrackingException):
    """The feedback breaks a rule: nothing was written; the message names field and rule."""


class OutboxException(ConversationTrackingException):
    """The outbox cannot take it now, or the call is wrong: nothing accepted is lost.

    ``code`` is that of agentsight/agentsight.h. ``record_id``, where one was made, is the
    record's: submitting again with it can never store the feedback twice.
    """

    def __init__(self, message: str, code: int = 0, record_id: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code
        self.record_id = record_id


class ConversationNetworkException(ConversationTrackingException):
    """An online call got no answer: link, name, TLS, time."""


class ConversationApiException(ConversationTrackingException):
    """The server refused an online call."""

    def __init__(
        self, message: str, status_code: Optional[int] = None, response_data: Any = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.response_data = response_data


class UnauthorizedException(ConversationApiException):
    """401: the server does not know the credential."""


class ForbiddenException(ConversationApiException):
    """403: the credential may not do this."""


class NotFoundException(ConversationApiException):
    """404: no such conversation."""
