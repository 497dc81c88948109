"""The values that the API knows."""

from enum import Enum


class Sentiment(str, Enum):
    """How the user felt; each is its own text."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"

    def __str__(self) -> str:
        return self.value
