"""A process node: what a kubelet does for pods, with plain processes instead of containers.

The order of things, the fields and the waits are those of the kubelet of Kubernetes 1.36; the upstream file a rule
comes from is named where the rule is. Where a process cannot be what a container is, the node errs on the side that is
harder on the pod.

Read `agent.py` first (the watch and the pods), then `pod_worker.py` (one pod's life); `status.py` and `actions.py` are
the pure half: what is told about a pod, and what is done next.

What is as on a kubelet and often forgotten:
- a container that ends is noticed at the next relist, up to a second later, and keeps its place in Services until then;
- Ready stays True while a pod is being stopped; only the readiness probe can change that, a gate cannot;
- a condition of the kubelet's that somebody else writes is put right at a ten-second tick, not sooner;
- preStop comes out of the grace period, and two seconds for SIGTERM always remain;
- the first process does not hear a SIGTERM it has no handler for: it is number 1 of its pid namespace.

What it does not do: images, limits of CPU and memory, security contexts, users, gRPC probes, ephemeral containers,
in-place updates, evictions, activeDeadlineSeconds, service variables of other Services, cluster DNS, terminationMessage
files, updates of mounted ConfigMaps and tokens, `kubectl attach` and `port-forward`. A process that leaves its
container's session lives until the node ends.
"""
