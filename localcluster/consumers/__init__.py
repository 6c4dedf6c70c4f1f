"""Clients that follow a service registry as their own kind does, and print the list they hold when it changes."""
