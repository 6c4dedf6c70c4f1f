"""Process 1 of a box: lays the network, says so, and lives until its standard input ends.

The write end of that pipe is held by the box's owner alone. However the owner ends, SIGKILL included, the pipe closes,
this process ends, and the kernel kills everything else in the PID namespace: nothing is left behind.

Run as `python -I -S init.py`; answers one line, `ready` or what went wrong.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

HOST_IP = "10.0.0.1"
"""The address of the box's one host: all nodes, the control plane and the gateway share it."""
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVER_CIDR = "10.0.1.0/24"
"""For servers beside the cluster, see localcluster.servers: each has an address, and so the ports it is known by."""

NETWORK = (
    "ip link set lo up",
    # EndpointSlices refuse loopback addresses, so the box needs an address of its own on a link of its own.
    "ip link add node0 type bridge",
    f"ip addr add {HOST_IP}/8 dev node0",
    "ip link set node0 up",
    # Every address of the pod range is local: any process can bind its pod's address, with no interface per pod.
    f"ip route add local {POD_CIDR} dev lo src {HOST_IP}",
    f"ip route add local {SERVER_CIDR} dev lo src {HOST_IP}",
    # The API server refuses to start where there is no default route.
    f"ip route add default via {HOST_IP} dev node0",
)


def main() -> None:
    for command in NETWORK:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"`{command}`: {done.stderr.strip()}", flush=True)
            sys.exit(1)
    # Every child that loses its parent becomes ours; with SIGCHLD ignored the kernel reaps them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while os.read(0, 1024):
        pass


if __name__ == "__main__":
    main()
