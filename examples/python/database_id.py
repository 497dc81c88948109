# Fetch conversation first
from agentsight import agentsight_api

conversation = agentsight_api.fetch_conversation("conv-123")

# Submit feedback using database ID
conversation_manager.submit_feedback(
    conversation_id=conversation['id'],  # Integer database ID
    sentiment="positive",
    comment="Great support!"
)
