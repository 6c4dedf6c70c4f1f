"""What `localcluster build --servers` gets ready ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from localcluster import javabuild
from localcluster.cache import Say
from localcluster.servers import argo_rollouts, consul, istio, kwok, metrics_server, nacos

BINARIES: Mapping[str, Callable[[Say], Path]] = {
    "argo-rollouts": argo_rollouts.binary,
    "consul": consul.binary,
    "istiod": istio.binary,
    "kwok": kwok.binary,
    "metrics-server": metrics_server.binary,
    "rnacos": nacos.binary,
    **{f"java-{module}": partial(javabuild.obtain, module) for module in javabuild.MODULES},
}
"""How each is got, by its name. etcd belongs to every box, and Envoy comes with this package."""
