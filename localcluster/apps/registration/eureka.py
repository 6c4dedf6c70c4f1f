"""Eureka by its REST API: an instance of an application, kept by renewals of its lease.

https://github.com/Netflix/eureka/wiki/Eureka-REST-operations; with Spring Cloud the base is `/eureka`, not
`/eureka/v2`.
"""

from __future__ import annotations

import time
from urllib.parse import quote

from .asking import ask, demand, query, require
from .registration import Instance, Options


class Eureka:
    """`eureka=http://SERVER:8761/eureka?heartbeat=30&lease=90`, both in seconds: the defaults of its own client."""

    def __init__(self, url: str, instance: Instance, options: Options) -> None:
        chosen = options.only(heartbeat="30", lease="90")
        self._instance = instance
        self._id = f"{instance.ip}:{instance.service}:{instance.port}"
        self._app = f"{url}/apps/{quote(instance.service.upper())}"
        self._url = f"{self._app}/{quote(self._id, safe='')}"
        self._lease = int(chosen["lease"])
        self._status = "OUT_OF_SERVICE" if instance.disabled else "UP"
        self._changed = 0
        self.every = float(chosen["heartbeat"])

    def register(self) -> None:
        instance = self._instance
        self._changed = int(time.time() * 1000)
        base = f"http://{instance.ip}:{instance.port}"
        demand(
            "POST",
            self._app,
            {
                "instance": {
                    "instanceId": self._id,
                    "app": instance.service.upper(),
                    "hostName": instance.ip,
                    "ipAddr": instance.ip,
                    "vipAddress": instance.service,
                    "secureVipAddress": instance.service,
                    "status": self._status,
                    "overriddenstatus": "UNKNOWN",
                    "port": {"$": instance.port, "@enabled": "true"},
                    "securePort": {"$": 443, "@enabled": "false"},
                    "countryId": 1,
                    "dataCenterInfo": {
                        "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                        "name": "MyOwn",
                    },
                    "leaseInfo": {"renewalIntervalInSecs": max(1, int(self.every)), "durationInSecs": self._lease},
                    "metadata": instance.metadata,
                    "homePageUrl": f"{base}/",
                    "statusPageUrl": f"{base}/healthz",
                    "healthCheckUrl": f"{base}/healthz",
                    "isCoordinatingDiscoveryServer": "false",
                    "lastUpdatedTimestamp": str(self._changed),
                    "lastDirtyTimestamp": str(self._changed),
                }
            },
        )

    def beat(self) -> bool:
        how = query(status=self._status, lastDirtyTimestamp=self._changed)
        status, content = ask("PUT", f"{self._url}?{how}")
        if status == 404:
            return False
        require(status, content, "heartbeat")
        return True

    def deregister(self) -> None:
        status, content = ask("DELETE", self._url)
        if status != 404:
            require(status, content, "deregister")
