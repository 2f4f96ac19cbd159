"""Large outboxes, made in seconds, and what they are asked."""
