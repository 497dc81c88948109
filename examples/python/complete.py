from agentsight import conversation_manager
from agentsight.enums import Sentiment

conversation_manager.submit_feedback(
    conversation_id="support-session-456", # or use database ID
    sentiment=Sentiment.POSITIVE,
    comment="Excellent service! The agent was knowledgeable and resolved my password reset issue in under 3 minutes.",
    metadata={
        "rating": 5,
        "would_recommend": True,
        "issue_resolved": True,
        "response_time_rating": "excellent",
        "feedback_channel": "post_chat_survey",
        "collected_at": "2024-01-15T10:35:00Z"
    }
)
