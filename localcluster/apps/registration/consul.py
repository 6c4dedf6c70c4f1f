"""Consul: a service of the node's agent, with a TTL check that the app keeps passing, or an HTTP check of the agent's.

https://developer.hashicorp.com/consul/api-docs/agent/service and …/agent/check. Only the agent that was asked to
register a service can change it.
"""

from __future__ import annotations

from urllib.parse import quote

from .asking import ask, demand, query, require
from .registration import Instance, Options


class Consul:
    """`consul=http://AGENT:8500?check=ttl|http&ttl=15&interval=1&path=/healthz&gone-after=60&replace=no`.

    `ttl`, `interval` and `gone-after` (how long critical until the agent drops it, a minute at least) are seconds.
    `replace=yes` registers with `replace-existing-checks`, which also removes a maintenance mode that others have set.
    """

    def __init__(self, url: str, instance: Instance, options: Options) -> None:
        chosen = options.only(
            check="ttl", ttl="15", interval="1", path="/healthz", **{"gone-after": "60"}, replace="no"
        )
        self._url = url
        self._instance = instance
        self._id = f"{instance.service}-{instance.name}"
        self._by_ttl = chosen["check"] == "ttl"
        self._replace = chosen["replace"] == "yes"
        self._check: dict[str, object] = {
            "CheckID": self._check_id,
            "DeregisterCriticalServiceAfter": f"{chosen['gone-after']}s",
        }
        if self._by_ttl:
            # Passing at once: clients send their first beat together with the registration.
            status = "critical" if instance.disabled else "passing"
            self._check |= {"TTL": f"{chosen['ttl']}s", "Status": status}
            self.every = float(chosen["ttl"]) / 3
        else:
            url_of_check = f"http://{instance.ip}:{instance.port}{chosen['path']}"
            self._check |= {"HTTP": url_of_check, "Interval": f"{chosen['interval']}s", "Timeout": "5s"}
            self.every = 5.0

    @property
    def _check_id(self) -> str:
        return f"service:{self._id}"

    def register(self) -> None:
        instance = self._instance
        how = f"?{query(**{'replace-existing-checks': 'true'})}" if self._replace else ""
        demand(
            "PUT",
            f"{self._url}/v1/agent/service/register{how}",
            {
                "ID": self._id,
                "Name": instance.service,
                "Address": instance.ip,
                "Port": instance.port,
                "Meta": instance.metadata,
                "Weights": {"Passing": max(1, round(instance.weight)), "Warning": 1},
                "Check": self._check,
            },
        )
        if instance.disabled:
            how = query(enable="true", reason="not yet")
            require(*ask("PUT", f"{self._url}/v1/agent/service/maintenance/{quote(self._id)}?{how}"), "maintenance")

    def beat(self) -> bool:
        if self._by_ttl:
            status, content = ask("PUT", f"{self._url}/v1/agent/check/pass/{quote(self._check_id, safe='')}")
        else:
            status, content = ask("GET", f"{self._url}/v1/agent/service/{quote(self._id)}")
        if status == 404:
            return False
        require(status, content, "beat")
        return True

    def deregister(self) -> None:
        require(*ask("PUT", f"{self._url}/v1/agent/service/deregister/{quote(self._id)}"), "deregister")
