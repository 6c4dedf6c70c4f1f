"""Every way a pod goes that nobody asks the doors about: nodes that go, evictions, deletions, preemption."""
