"""Talking to a pod itself: warm-up requests, the requests it has in flight, commands run in it."""
