"""Registries, each against the real thing where it runs here, else against a fake that says what it copies."""
