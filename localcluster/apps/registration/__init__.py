"""How an app registers itself with a service registry: one file a registry, the standard library alone.

Blocking code in a thread of its own, as with the clients that applications use: an app that is busy goes on to beat.
"""
