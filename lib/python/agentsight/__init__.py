"""AgentSight feedback, offline first.

    from agentsight import conversation_manager
    conversation_manager.submit_feedback("conv-123", "positive", "Very helpful!")

The call returns once the feedback is on stable storage; a worker delivers it, once, whenever
there is a way through. Configured by the environment when first used: AGENTSIGHT_API_KEY,
AGENTSIGHT_API_ENDPOINT, AGENTSIGHT_OUTBOX.
"""

from agentsight.api import AgentSightAPI, agentsight_api
from agentsight.enums import Sentiment
from agentsight.manager import ConversationManager, Receipt, conversation_manager

__all__ = [
    "AgentSightAPI",
    "ConversationManager",
    "Receipt",
    "Sentiment",
    "agentsight_api",
    "conversation_manager",
]
