"""A real Kubernetes cluster in a box, without containers.

Real etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kube-proxy run in a network, process and user
namespace of their own; pods are local processes with their own addresses. It needs no root and no container engine,
starts in seconds, leaves nothing behind, and several boxes run side by side.

>>> from localcluster import Box
>>> with Box(nodes=2) as box:
...     print(box.kubectl("get", "nodes"))
"""

from localcluster.box import Box
from localcluster.errors import (
    BinariesError,
    BoxError,
    CommandFailed,
    LocalClusterError,
    MissingRequirement,
    NamespaceError,
)
from localcluster.process import Process

__all__ = [
    "BinariesError",
    "Box",
    "BoxError",
    "CommandFailed",
    "LocalClusterError",
    "MissingRequirement",
    "NamespaceError",
    "Process",
]
