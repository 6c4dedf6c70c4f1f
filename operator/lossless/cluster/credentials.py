"""Who we are to the API server: a kubeconfig, or the service account of the pod that we run in."""

from pathlib import Path

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration


async def load(kubeconfig: Path | None) -> Configuration:
    """Read the credentials: the given file; else the pod's service account; else ``KUBECONFIG`` or ``~/.kube/config``.

    Raises kubernetes.aio.config.ConfigException when there are none.
    """
    configuration = Configuration()
    if kubeconfig is not None:
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        return configuration
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    return configuration


def client(configuration: Configuration) -> ApiClient:
    """An API client. Proxies are taken from the kubeconfig only: our traffic follows no environment variable."""
    configuration.client_session_kwargs = {"trust_env": False}
    made = ApiClient(configuration)
    made.user_agent = "lossless-operator"
    return made


async def for_kopf(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same credentials as Kopf wants them."""
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    scheme, _, token = (header or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
