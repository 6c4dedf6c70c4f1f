"""Who there is in a box: a token for each user, and a kubeconfig for whoever needs one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from localcluster import components, gateway, kubeconfig
from localcluster.api import Api
from localcluster.errors import BoxError

ADMIN: Final = "admin"
CONTROLLER_MANAGER, SCHEDULER, KUBE_PROXY = (
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
)
DAY: Final = 24 * 3600


class Credentials:
    """The users of one box, in its directory. Nodes are `system:node:<name>`, as kubelets are."""

    def __init__(self, directory: Path, nodes: Sequence[str]) -> None:
        self.tokens_file = directory / "tokens.csv"
        """As the API server reads it."""
        self.outside = directory / "kubeconfig"
        """Of `admin`, for processes outside the box."""
        self.inside = directory / "inside" / "kubeconfig"
        """The same user, for processes inside the box."""
        self._directory = directory
        self._groups: Mapping[str, str] = {
            ADMIN: "system:masters",
            CONTROLLER_MANAGER: "",
            SCHEDULER: "",
            KUBE_PROXY: "",
            gateway.USER: "",
            **{f"system:node:{name}": "system:nodes" for name in nodes},
        }
        self._tokens: dict[str, str] = {}
        self._ca = directory / "pki" / "ca.crt"
        self._server_outside = ""

    def write(self, server_outside: str) -> None:
        """Make everybody's token and kubeconfig; the keys of `pki.make` are there.

        Args:
            server_outside: the API server's URL for processes outside the box.
        """
        self._server_outside = server_outside
        self._tokens = {user: secrets.token_urlsafe(24) for user in self._groups}
        self.tokens_file.touch(mode=0o600)
        self.tokens_file.write_text(
            "".join(f'{token},{user},{user},"{self._groups[user]}"\n' for user, token in self._tokens.items())
        )
        self._write(self.outside, ADMIN, self.token(ADMIN), inside=False)
        self._write(self.inside, ADMIN, self.token(ADMIN), inside=True)
        for user, token in self._tokens.items():
            self._write(self.of(user), user, token, inside=True)

    def token(self, user: str) -> str:
        """Of one of the box's own users."""
        return self._tokens[user]

    def of(self, user: str) -> Path:
        """The kubeconfig of one of the box's own users, for processes inside."""
        return self._directory / "inside" / f"{user.replace(':', '-')}.kubeconfig"

    def of_service_account(self, api: Api, user: str, *, inside: bool) -> Path:
        """A kubeconfig for `system:serviceaccount:<namespace>:<name>`, its token good for a day.

        Raises:
            BoxError: it is not of that form.
            ApiError: there is no such service account.
        """
        parts = user.split(":")
        if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"]:
            raise BoxError(f"{user!r} is not of the form system:serviceaccount:<namespace>:<name>")
        _, _, ns, name = parts
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": DAY},
        }
        answer = api.request("POST", f"/api/v1/namespaces/{ns}/serviceaccounts/{name}/token", asked)
        where = "inside" if inside else "outside"
        path = self._directory / "service-accounts" / where / f"{ns}_{name}.kubeconfig"
        return self._write(path, user, str(answer["status"]["token"]), inside=inside, namespace=ns)

    def _write(self, path: Path, user: str, token: str, *, inside: bool, namespace: str = "default") -> Path:
        server = components.API_URL if inside else self._server_outside
        return kubeconfig.write(path, server=server, ca=self._ca, user=user, token=token, namespace=namespace)
