"""Hazards in a user's set-up: what is known of it (``facts``), and what that can cost (``findings``)."""
