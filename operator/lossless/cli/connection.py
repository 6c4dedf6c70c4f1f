"""Which cluster and which namespace: as kubectl itself would choose them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from lossless.cli.errors import CliError
from lossless.cluster.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Connection:
    """An open way to the API server, and the namespace to look in when none is said."""

    gateway: Gateway
    namespace: str


@asynccontextmanager
async def connect(kubeconfig: Path | None, context: str | None) -> AsyncIterator[Connection]:
    """Read the kubeconfig (the given one, ``KUBECONFIG``, ``~/.kube/config``) or, in a pod, its service account.

    Raises:
        CliError: there is neither, or it can't be read.
    """
    configuration, namespace = await _credentials(str(kubeconfig) if kubeconfig else None, context)
    async with ApiClient(configuration) as client:  # Like kubectl, it heeds HTTPS_PROXY and NO_PROXY.
        client.user_agent = "kubectl-lossless"
        yield Connection(Gateway(client), namespace)


async def _credentials(kubeconfig: str | None, context: str | None) -> tuple[Configuration, str]:
    configuration = Configuration()
    try:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            kubeconfig, context=context, client_configuration=configuration
        )
    except config.ConfigException as error:
        if kubeconfig or context:
            raise CliError(f"no cluster: {error}") from error
        try:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            raise CliError(f"no cluster: {error}; set KUBECONFIG or give --kubeconfig") from error
        return configuration, "default"
    except OSError as error:
        raise CliError(f"no cluster: {error}") from error
    return configuration, _namespace(kubeconfig, context)


def _namespace(kubeconfig: str | None, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    chosen = next((one for one in contexts if one["name"] == context), active) if context else active
    return str(chosen["context"].get("namespace") or "default")
