"""Warm-up weights in routes: how a split is laid over somebody else's route, and taken off it again without a trace.

Pure throughout: documents in, documents and patches out. `route.py` is the protocol, one file a kind; `edit.py` and
`canary.py` are what the shell calls.
"""
