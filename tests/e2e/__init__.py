"""The main job, end to end: real control plane, real kube-proxy, real gateway, real load."""
