"""How registries are spoken to over HTTP: bounded in time and size, and only where anybody in the cluster could go.

An address comes from whoever may write a LosslessRollout. What the operator's own place in the network would add to
that person's reach is refused: its loopback, its node's link-local services (cloud metadata). The answer's text is for
the registry file alone and is never passed on.
"""

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from yarl import URL

from lossless.pods import body
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable

MAX_BODY: Final = 8 * 1024 * 1024
MAX_ADDRESSES: Final = 64
"""Of one name, that are all asked."""
ATTEMPTS: Final = 2
"""Within one call. Whoever calls comes again by itself; this only spares a condition for one broken connection."""


METADATA: Final = frozenset(
    ipaddress.ip_address(address) for address in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
"""Where clouds answer for a node outside the link-local range: Alibaba Cloud, Azure, Oracle Cloud, AWS over IPv6."""


class Forbidden(OSError):
    """An address that the operator does not go to for anybody."""


def is_allowed(address: str) -> bool:
    """Whether the operator goes there: not to itself, not to its node's own services, not to many at once.

    Raises ValueError when it is no address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in METADATA)


Allowed = Callable[[str], bool]
"""Whether an address (as text, never a name) may be gone to."""


class GuardedResolver(AbstractResolver):
    """Names are looked up once, and the address that was checked is the one that is asked."""

    def __init__(self, allowed: Allowed = is_allowed) -> None:
        self._allowed = allowed
        self._resolver: AbstractResolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if self._allowed(one["host"])]
        if found and not allowed:
            raise Forbidden(_forbidden(host))
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def session(tls: ssl.SSLContext | None = None, allowed: Allowed = is_allowed) -> aiohttp.ClientSession:
    """A session for registries. No cookies, no redirects followed, no proxy from the environment."""
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(allowed), ssl=tls if tls else True, limit_per_host=8)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever its status."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Raises Nonsense when it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Nonsense(f"an answer ({self.status}) that is not JSON") from error


@dataclass(frozen=True, slots=True)
class Client:
    """Requests to one registry."""

    http: aiohttp.ClientSession
    timeout: float
    """Seconds for one request."""
    server_name: str = ""
    """The name that its certificate must have, where it is not the host's."""
    allowed: Allowed = is_allowed
    """Which addresses are gone to; the session's resolver must have been given the same."""
    resolver: Callable[[Allowed], AbstractResolver] = GuardedResolver

    async def everywhere(self, url: str) -> list[str]:
        """Every address that this URL's host name has now; none where the host is an address itself.

        Raises:
            Unreachable: the name is not found.
            Refused: we go to none of its addresses, or they are too many.
        """
        try:
            name = URL(url).host or ""
        except ValueError as error:
            raise Refused(f"{host_of(url)} makes no address") from error
        if _is_address(name):
            return []
        resolver = self.resolver(self.allowed)
        try:
            async with asyncio.timeout(self.timeout):
                found = await resolver.resolve(name, 0, socket.AF_UNSPEC)
        except TimeoutError as error:
            raise Unreachable(f"{name} was not looked up within {self.timeout:g} s") from error
        except Forbidden as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Unreachable(f"{name} is not found") from error
        finally:
            await resolver.close()
        addresses = sorted({one["host"] for one in found})
        if len(addresses) > MAX_ADDRESSES:
            raise Refused(f"{name} has {len(addresses)} addresses: at most {MAX_ADDRESSES} are all asked")
        return addresses

    async def close(self) -> None:
        """Let go of its connections."""
        await self.http.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        faults: Container[int] = (),
        at: str = "",
    ) -> Answer:
        """One request, made again once if the connection broke.

        Args:
            faults: statuses of 500 and above that are an answer here, and no fault of the server's.
            at: the one address to go to, of those that the host's name has (`everywhere`).

        Raises:
            Unreachable: no answer in time, or a fault of the server's own (5xx).
            Refused: we do not go there, or its certificate is not to be trusted.
            Nonsense: an answer that is too long.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.05, max=0.2, jitter=0.05),
            retry=retry_if_exception_type(_Broken),
            reraise=True,
        )
        total = aiohttp.ClientTimeout(total=self.timeout if timeout is None else timeout)
        host = host_of(url)
        server_name = self.server_name
        if at:
            named = URL(url)
            server_name = server_name or named.host or ""
            headers = {"Host": named.raw_authority, **(headers or {})}
            url, host = str(named.with_host(at)), f"{host} ({at})"
        async for attempt in retrying:
            with attempt:
                try:
                    _check(url, self.allowed)
                    async with self.http.request(
                        method,
                        url,
                        params=params,
                        data=data,
                        json=json,
                        headers=headers,
                        timeout=total,
                        allow_redirects=False,
                        server_hostname=server_name or None,
                    ) as response:
                        content = await body.read(response, MAX_BODY)
                        if content is None:
                            raise Nonsense(f"{host} answered more than {MAX_BODY // 2**20} MiB")
                        answer = Answer(response.status, content, response.headers)
                except RegistryError:
                    raise
                except TimeoutError as error:
                    raise Unreachable(f"{host} gave no answer within {total.total:g} s") from error
                except Forbidden as error:
                    raise Refused(str(error)) from error
                except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
                    raise Refused(f"{host} shows no certificate that is trusted here ({_why(error)})") from error
                except aiohttp.ClientConnectorError as error:
                    if isinstance(error.os_error, Forbidden):
                        raise Refused(str(error.os_error)) from error
                    raise _Broken(f"no connection to {host}: {error.os_error.strerror or 'refused'}") from error
                except ValueError as error:  # aiohttp's InvalidURL too
                    raise Refused(f"{host} makes no address") from error
                except (aiohttp.ClientError, OSError) as error:
                    raise _Broken(f"the connection to {host} broke ({type(error).__name__})") from error
        if answer.status >= 500 and answer.status not in faults:
            raise Unreachable(f"{host} answered {answer.status}")
        return answer


class _Broken(Unreachable):
    """It may be worth one more attempt at once."""


def host_of(url: str) -> str:
    """Host and port, for people: the rest of an address may hold what is not theirs to read."""
    try:
        return URL(url).authority.rpartition("@")[2] or "the address"
    except ValueError:
        return "the address"


def _check(url: str, allowed: Allowed) -> None:
    """An address that is no name is not looked up, so it is checked here, as aiohttp reads it.

    What consists of digits and dots, but is no address in its usual form (2130706433, 0177.0.0.1, 127.1), would be
    made one by the system's own rules after this check: it is refused.
    """
    host = URL(url).host or ""
    if _is_address(host) and not allowed(host):
        raise Forbidden(_forbidden(host))


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _forbidden(host: str) -> str:
    return f"{host} is an address of the operator's own host or of its cloud: it does not go there"


def _why(error: aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError) -> str:
    cause = error.__cause__ or error.__context__
    return getattr(cause, "verify_message", "") or "no TLS"
