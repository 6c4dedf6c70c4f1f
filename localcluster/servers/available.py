"""What `localcluster build --servers` gets ready ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from localcluster import javabuild
from localcluster.cache import Say
from localcluster.servers import consul, nacos

BINARIES: Mapping[str, Callable[[Say], Path]] = {
    "consul": consul.binary,
    "rnacos": nacos.binary,
    "java": javabuild.obtain,
}
"""How each is got, by its name. etcd comes with this package."""
