"""What the operator says of itself: Prometheus metrics, Kubernetes Events, logs, health. It is handed what it needs."""
