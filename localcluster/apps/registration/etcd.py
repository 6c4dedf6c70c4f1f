"""etcd: a key under a lease that the app keeps alive.

The form is that of etcd's own naming package: key `<prefix><service>/<ip:port>`, value `{"Op":0,"Addr":…,"Metadata":…}`
(https://pkg.go.dev/go.etcd.io/etcd/client/v3/naming/endpoints), by the HTTP JSON gateway
(https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from .asking import demand
from .registration import Instance, Options, RegistryError, UnknownOption


class Etcd:
    """`etcd=http://MEMBER:2379?ttl=10&prefix=services/&user=&password=`; the lease's `ttl` in seconds. Nothing can be
    disabled."""

    def __init__(self, url: str, instance: Instance, options: Options) -> None:
        chosen = options.only(ttl="10", prefix="services/", user="", password="")
        if instance.disabled:
            raise UnknownOption("a key in etcd is there or not: it can't be registered as disabled")
        self._url = f"{url}/v3"
        address = f"{instance.ip}:{instance.port}"
        self._key = f"{chosen['prefix']}{instance.service}/{address}"
        metadata = {**instance.metadata, "weight": instance.weight}
        self._value = json.dumps({"Op": 0, "Addr": address, "Metadata": metadata})
        self._ttl = int(chosen["ttl"])
        self._lease = "0"
        self._login = {"name": chosen["user"], "password": chosen["password"]} if chosen["user"] else None
        self._token: dict[str, str] = {}
        self.every = self._ttl / 3

    def register(self) -> None:
        self._lease = self._demand("lease/grant", {"TTL": self._ttl})["ID"]
        self._demand("kv/put", {"key": _encoded(self._key), "value": _encoded(self._value), "lease": self._lease})

    def beat(self) -> bool:
        """The lease's end is what says that the key is gone. A key deleted by others is not put back, as with etcd's
        own naming package."""
        answer = self._demand("lease/keepalive", {"ID": self._lease})
        if "result" not in answer:
            raise RegistryError(f"keepalive: {answer}")
        return int(answer["result"].get("TTL", 0)) > 0

    def deregister(self) -> None:
        self._demand("lease/revoke", {"ID": self._lease})

    def _demand(self, what: str, data: object) -> Any:
        if self._login and not self._token:
            self._token = {"Authorization": demand("POST", f"{self._url}/auth/authenticate", self._login)["token"]}
        try:
            return demand("POST", f"{self._url}/{what}", data, self._token)
        except RegistryError:
            self._token = {}  # It may have ended; the next attempt gets another one.
            raise


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
