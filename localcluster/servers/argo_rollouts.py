"""The controller of Argo Rollouts, with its CRDs, beside the cluster's own controllers.

It runs under the service account that its own manifests give it (`argo-rollouts` in `argo-rollouts`), with every right:
what it may do is nobody's question here, who it is may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from localcluster import crds
from localcluster.api import Api, ApiError
from localcluster.cache import Say
from localcluster.process import Process
from localcluster.servers import go_tool
from localcluster.servers.server import Running, ServerBox

VERSION = "1.9.1"
COMMAND = "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"
VERSION_VARIABLE = "github.com/argoproj/argo-rollouts/utils/version.version"
NAMESPACE = NAME = "argo-rollouts"
USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"
PORTS = 18090, 18091
"""Its metrics and its health, at every address of the box: no port that an application may have."""


class ArgoBox(ServerBox, Protocol):
    """What is needed of a box."""

    @property
    def api(self) -> Api: ...
    def wait_until(self, predicate: Callable[[], Any], timeout: float, describe: str) -> Any: ...
    def apply(self, manifest: Sequence[Mapping[str, Any]]) -> None: ...
    def kubectl(self, *arguments: str) -> str: ...
    def kubeconfig_for(self, user: str, *, inside: bool = False) -> Path: ...


def binary(say: Say) -> Path:
    """From the cache, else built with Go: about 13 minutes on two cores.

    Raises:
        BinariesError: it could not be built.
    """
    directory = go_tool.prepared(
        "argo-rollouts", f"v{VERSION}", COMMAND, say, minutes=13, variables={VERSION_VARIABLE: f"v{VERSION}"}
    )
    return directory / "rollouts-controller"


class ArgoRollouts(Running):
    """`with ArgoRollouts(box): …`. Its CRDs stay when it ends, and so do the Rollouts."""

    def __init__(self, box: ArgoBox, say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Raises:
            BinariesError: the controller, or its CRDs, are not to be had.
        """
        self._box = box
        self._binary = binary(say)
        self._crds = crds.fetch(crds.ARGO_ROLLOUTS, say)
        self._log = box.logs / "argo-rollouts.log"
        self.process = Process("argo-rollouts", self._log, self._popen, self._works, ready_within=60)

    def install(self) -> None:
        """Its CRDs and its service account, without the controller."""
        self._box.kubectl("apply", "--server-side", "-f", str(self._crds))
        self._box.wait_until(self._is_served, 30, "Rollouts are served")
        self._box.apply(manifests())

    def start(self) -> None:
        """Returns when it works. Raises BoxError."""
        self.install()
        self.process.start()

    def kill(self) -> None:
        self.process.kill()

    def _popen(self) -> Any:
        metrics, health = PORTS
        argv = [
            str(self._binary),
            f"--kubeconfig={self._box.kubeconfig_for(USER, inside=True)}",
            "--namespace=",
            "--leader-elect=false",
            f"--metricsPort={metrics}",
            f"--healthzPort={health}",
        ]
        return self._box.popen(argv, log="argo-rollouts")

    def _is_served(self) -> bool:
        try:
            self._box.api.request("GET", "/apis/argoproj.io/v1alpha1/rollouts")
        except ApiError:
            return False
        return True

    def _works(self) -> bool:
        return "Started rollout workers" in self._log.read_text(errors="replace")


def manifests() -> list[dict[str, Any]]:
    """Who it is."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]
