"""The resource: what users write, what they read back, and the names this project puts on other objects."""
