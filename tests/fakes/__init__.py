"""Fakes of what cannot run here, each with the source of what it does."""
