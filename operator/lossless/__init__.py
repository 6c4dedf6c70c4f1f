"""Lossless Rollout: a Kubernetes operator that lets no release, rollback, scale-in or node drain lose a request."""
