"""Real servers that a box can run beside its cluster: service registries, each as its own project ships it."""
