"""Traffic sources that a Service does not tell of, as users name them: service registries.

What a field means is here; what is done with it, in `lossless.traffic.registries`, one file for each kind.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from lossless.api.model import Model, rules
from lossless.api.quantities import Duration, Port

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
URL_PATTERN: Final = r"^https?://[A-Za-z0-9.:\[\]_-]+(/[!-~]*)?$"

Url = Annotated[str, Field(max_length=1024, pattern=URL_PATTERN)]
"""http or https, a host, perhaps a port and a path; no user and no password in it: those belong into a Secret."""
Word = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]
"""One word of visible ASCII."""


class SecretKey(Model):
    """One key of a Secret in the namespace of the LosslessRollout."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
    """The Secret's name."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    """The key in it."""


class Login(Model):
    """A Secret of type kubernetes.io/basic-auth, in the namespace of the LosslessRollout: its keys are username and
    password."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
    """The Secret's name."""


class Tls(Model):
    """How the registry's certificate is checked. It always is, where the address is https."""

    ca: SecretKey | None = None
    """The certificates to trust, in PEM; those of the operator's own system when not given."""
    server_name: Annotated[str, Field(max_length=253, pattern=r"^([A-Za-z0-9.-]+)?$")] = ""
    """The name that must be in the certificate; the host of the address when empty."""


class NacosApi(StrEnum):
    AUTO = "Auto"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"


class NacosInstances(StrEnum):
    EPHEMERAL = "Ephemeral"
    PERSISTENT = "Persistent"


class Nacos(Model):
    """A service registered in Nacos. Old pods are taken out by the override `enabled=false`, new ones ramped by
    weight."""

    servers: Annotated[list[Url], Field(min_length=1, max_length=9)]
    """Every node of the cluster, with its context path: http://nacos-0:8848/nacos. Each is asked whether it has let
    go."""
    api: NacosApi = NacosApi.AUTO
    """Which HTTP API to use. Auto: the newest that it answers."""
    namespace_id: Annotated[str, Field(max_length=128, pattern=r"^[!-~]*$")] = "public"
    """Nacos' own namespace."""
    group: Word = "DEFAULT_GROUP"
    """The service's group."""
    service: Word
    """The service's name."""
    cluster: Word = "DEFAULT"
    """The cluster that the instances register in."""
    instances: NacosInstances = NacosInstances.EPHEMERAL
    """Ephemeral, as those of an application that registers itself are, or Persistent."""
    login: Login | None = None
    """Who we are there."""


class Consul(Model):
    """A service registered in Consul. Old pods are put into maintenance at the agent that owns their registration."""

    server: Url
    """Any agent that answers for the whole catalog: http://consul-server:8500."""
    agent: Annotated[str, Field(max_length=1024, pattern=r"^https?://[A-Za-z0-9.:{}\[\]_-]+$")] = "http://{host}:8500"
    """Where the agent of a node is asked; {host} is the address that the catalog has of that node."""
    service: Word
    """The service's name."""
    token: SecretKey | None = None
    """The ACL token; it needs service:write on this service, and node:read."""


class Eureka(Model):
    """An application registered in Eureka. Old pods get the status OUT_OF_SERVICE as an override."""

    servers: Annotated[list[Url], Field(min_length=1, max_length=9)]
    """Every peer, with its context path: http://eureka-0:8761/eureka. Each is asked whether its consumers can still
    see it."""
    application: Word
    """The application's name."""
    login: Login | None = None
    """Who we are there, in HTTP basic authentication."""


class DubboVia(StrEnum):
    RULE = "Rule"
    QOS = "QoS"


class Dubbo(Model):
    """A Dubbo application registered in ZooKeeper. Consumers are led away from old pods by a condition router, and new
    ones ramped by a configurator rule."""

    zookeeper: Annotated[
        list[Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9.:\[\]_-]+$")]],
        Field(min_length=1, max_length=9),
    ]
    """The servers, as host:port."""
    application: Word
    """The application's name (dubbo.application.name)."""
    root: Annotated[str, Field(max_length=253, pattern=r"^/[!-~]*$")] = "/dubbo"
    """The node under which interfaces are registered, and rules kept."""
    services_root: Annotated[str, Field(max_length=253, pattern=r"^/[!-~]*$")] = "/services"
    """The node under which applications are registered."""
    via: DubboVia = DubboVia.RULE
    """Rule: a router and a rule of each service, which consumers of Dubbo 2.7.3 and later obey. QoS: the command
    offline, sent to the pod's own QoS port."""
    qos_port: Port = 22222
    """The pod's QoS port."""


class Etcd(Model):
    """Keys that an application keeps in etcd under a lease. An old pod's key is deleted, its value kept."""

    endpoints: Annotated[list[Url], Field(min_length=1, max_length=9)]
    """Where etcd answers: http://etcd-0:2379."""
    prefix: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
    """The keys of the service begin with this. A pod's is the one whose key or value has its address and port."""
    login: Login | None = None
    """Who we are there."""


class Place(StrEnum):
    NETWORK = "Network"
    POD = "Pod"


class Expect(Model):
    """What an answer must be."""

    status: Annotated[list[Annotated[int, Field(ge=100, le=599)]], Field(max_length=16)] = []
    """One of these; any from 200 to 299 when empty."""
    contains: Annotated[str, Field(max_length=512)] = ""
    """Text that must be in the body (its first 64 KiB; 3 KiB where the request is made inside the pod). Plain text, not
    an expression; the same words as in the url stand for the pod's own."""
    lacks: Annotated[str, Field(max_length=512)] = ""
    """Text that must not be in the body: {ip}:8080, where the answer is a list of everybody. A longer body than the
    above never fits."""


class Hook(Model):
    """One HTTP request about one pod."""

    method: Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")] = "GET"
    """The HTTP method."""
    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[!-~]+$")]
    """The address. {ip}, {name}, {namespace}, {uid} and {node} stand for the pod's own. The host may be {ip} or {node},
    or a name that ends in something fixed: {name}.web.shop.svc; the port is always fixed. In place Pod, the host is
    {ip}, localhost or a loopback address."""
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=1024, pattern=r"^[\t -~]*$")]], Field(max_length=16)
    ] = {}
    """Headers to send along. Never put a secret here: see secretHeaders."""
    body: Annotated[str, Field(max_length=4096)] = ""
    """The body; the same words stand for the pod's own."""
    expect: Expect = Expect()
    """What the answer must be, or the request has failed and is made again."""


class Http(Model):
    """Anything that can be told over HTTP."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.secretHeaders) || self.secretHeaders.size() == 0 || !has(self.place) || self.place != 'Pod'",
                "secretHeaders need place Network: a command in a pod can be read by others",
            ),
            (
                "!has(self.container) || self.container == '' || (has(self.place) && self.place == 'Pod')",
                "container needs place Pod: over the network, the address alone says who is asked",
            ),
            ("has(self.withdraw) || has(self.gone)", "give withdraw, or gone where there is nothing to be told"),
            (
                "has(self.withdraw) || !(has(self.restore) || has(self.registered))",
                "restore and registered belong to withdraw",
            ),
            (
                "!has(self.gone) || !has(self.registered)",
                "registered is asked only where there is no gone: give one of them",
            ),
        )
    )

    withdraw: Hook | None = None
    """Take the pod out. It is sent again until it succeeds, so it must not matter how often it is. Leave it away for a
    gateway that follows the Service by itself, and has only to be asked whether it has: see gone."""
    restore: Hook | None = None
    """Put the pod back, as it was."""
    gone: Hook | None = None
    """Succeeds once the pod is out for its consumers; asked at every address that the host's name has. Without it,
    nothing can be seen, and settle alone is waited for."""
    registered: Hook | None = None
    """Succeeds once the pod is in for its consumers; any other answer than that (but 404) means not yet. Asked only
    where there is no `gone`, and only of pods that have not been told to leave."""
    place: Place = Place.NETWORK
    """Network: the operator asks. Pod: the request is made inside the pod (by exec, with its curl or wget), for what
    listens on loopback only."""
    container: Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    """The container to make it in; the pod's first one when empty."""
    secret_headers: Annotated[dict[str, SecretKey], Field(max_length=8)] = {}
    """Headers whose values are in Secrets."""


class Preset(StrEnum):
    EDAS_AGENT = "EdasAgent"
    SPRING_BOOT_NACOS = "SpringBootNacos"
    SPRING_BOOT_EUREKA = "SpringBootEureka"
    SPRING_BOOT_CONSUL = "SpringBootConsul"
    DUBBO_QOS = "DubboQoS"


class PresetHook(Model):
    """A well-known hook, with its requests filled in."""

    name: Preset
    """EdasAgent: the EDAS or MSE agent in the pod, 54199/offline; it has no way back. SpringBoot…: the actuator
    serviceregistry of an application registered in Nacos, Eureka or Consul, which must be exposed. DubboQoS: /offline
    and /online of the pod's own QoS port, from inside the pod."""
    port: Port | None = None
    """The port, where it is not the usual one."""
    path: Annotated[str, Field(max_length=512, pattern=r"^(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?$")] = ""
    """What stands before the usual path, such as a context path."""


KINDS: Final = ("nacos", "consul", "eureka", "dubbo", "etcd", "http", "preset")
_IS_HTTPS: Final = " || ".join(
    (
        *(
            f"(has(self.{kind}) && self.{kind}.{servers}.exists(one, one.startsWith('https:')))"
            for kind, servers in (("nacos", "servers"), ("eureka", "servers"), ("etcd", "endpoints"))
        ),
        *(f"(has(self.consul) && self.consul.{where}.startsWith('https:'))" for where in ("server", "agent")),
        *(
            f"(has(self.http) && has(self.http.{hook}) && self.http.{hook}.url.startsWith('https:'))"
            for hook in ("withdraw", "restore", "gone", "registered")
        ),
    )
)


class Registry(Model):
    """One service registry whose consumers call the pods."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                " + ".join(f"(has(self.{kind}) ? 1 : 0)" for kind in KINDS) + " == 1",
                f"give exactly one of {', '.join(KINDS)}",
            ),
            ("!has(self.settle) || duration(self.settle) < duration('1h')", "settle must be shorter than an hour"),
            (
                "!has(self.port) || !(has(self.http) || has(self.preset))",
                "a hook has its port in its address: write it there (http), or as preset.port",
            ),
            (
                "!has(self.tls) || !has(self.dubbo)",
                "ZooKeeper is spoken to without TLS: leave tls away, and keep it where nobody else can listen",
            ),
            (
                "!has(self.tls) || !has(self.preset)",
                "a preset's addresses are http: leave tls away, or write the hook out as http, with https addresses",
            ),
            (
                "!has(self.tls) || !has(self.http) || !has(self.http.place) || self.http.place != 'Pod'",
                "in a pod, its own curl or wget checks the certificate: leave tls away, or ask from place Network",
            ),
            (
                f"!has(self.tls) || has(self.dubbo) || has(self.preset) || {_IS_HTTPS}",
                "tls is for https: write an address with https, or leave tls away",
            ),
            (
                "duration(self.timeout) >= duration('100ms') && duration(self.timeout) <= duration('30s')",
                "timeout must be from 100ms to 30s",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """What this registry is called here; unique in the list."""
    port: Port | None = None
    """The port that the pods are registered with, where a pod registers more than one. Not for http and preset."""
    settle: Duration | None = None
    """How long consumers may go on with an older list after this registry has let a pod go. When not given, what the
    usual clients of its kind take: see docs/registries.md."""
    timeout: Duration = timedelta(seconds=5)
    """How long one request to it may take."""
    tls: Tls | None = None
    """How its certificate is checked, where an address is https. Not for dubbo, a preset, or http in place Pod."""
    nacos: Nacos | None = None
    """A service registered in Nacos."""
    consul: Consul | None = None
    """A service registered in Consul."""
    eureka: Eureka | None = None
    """An application registered in Eureka."""
    dubbo: Dubbo | None = None
    """A Dubbo application registered in ZooKeeper."""
    etcd: Etcd | None = None
    """Keys that an application keeps in etcd."""
    http: Http | None = None
    """Anything else that can be told over HTTP."""
    preset: PresetHook | None = None
    """A well-known agent or framework."""

    @property
    def weighs(self) -> bool:
        """It can give one pod a part of its full share. Known by its kind, whether or not it has ever answered."""
        return self.nacos is not None or (self.dubbo is not None and self.dubbo.via is DubboVia.RULE)
