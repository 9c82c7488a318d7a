"""The ways out of the outbox: a signed webhook, Slack, mail; and the sender that walks them."""
