"""The generic hook: anything that can be told over HTTP to take a pod out, and perhaps asked whether it has.

Without `withdraw` there is nothing to tell: what is behind it follows the Service by itself, and is only looked at.

`gone` is asked at every address that its host's name has, for each replica of a gateway speaks for itself alone. What
is told is told once: to pass it on is the other side's affair.

Without `gone` nobody can see what became of it. Then a pod that was told (`Instance.told`) is UNKNOWN, so that settle
decides, and one that was not is PRESENT: it may be called, until it is told.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lossless.api.traffic import Expect, Hook, Http, Place
from lossless.core.world import Presence
from lossless.pods.exec import ExecInPod
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Refused, RegistryError, Unreachable
from lossless.traffic.registries.in_pod import Ask, Said, ask_in_pod
from lossless.traffic.registries.registry import Instance, Registration
from lossless.traffic.registries.template import UrlTemplate, fill

SETTLE: Final = timedelta(seconds=35)
"""What is behind a hook is not known: the longest of the usual caches, Spring Cloud LoadBalancer's
(spring.cloud.loadbalancer.cache.ttl)."""
MAX_BODY: Final = 64 * 1024
PODS_AT_ONCE: Final = 8
"""Pods asked at the same time; each may be a command in a pod."""
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_BUSY: Final = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class _Request:
    """One hook, checked."""

    hook: Hook
    url: UrlTemplate


class HookRegistry:
    """What is told over HTTP, about each pod by itself."""

    def __init__(
        self,
        spec: Http,
        client: Client,
        run: ExecInPod,
        secret_headers: Mapping[str, str] | None = None,
        settle: timedelta | None = None,
        otherwise: Sequence[Http] = (),
    ) -> None:
        """Nothing is sent yet.

        Args:
            secret_headers: values by the header's name.
            otherwise: the same at other addresses, asked in this order where the one before answers 404.

        Raises:
            Refused: a hook that can never be sent; the message says what is wrong with it.
        """
        self._spec = spec
        self._client = client
        self._run = run
        self._secret = _checked_headers({name: value.strip() for name, value in (secret_headers or {}).items()})
        if self._secret and spec.place is Place.POD:
            raise Refused("secretHeaders need place Network: a command in a pod can be read by others")
        usual = SETTLE if spec.withdraw else timedelta(0)  # What a gateway says of itself is no cache of anybody's.
        self._settle = usual if settle is None else settle
        specs = (spec, *otherwise)
        self._withdraw = self._requests([each.withdraw for each in specs])
        self._restore = self._requests([each.restore for each in specs])
        self._gone = self._requests([each.gone for each in specs])
        self._registered = self._requests([each.registered for each in specs])

    @property
    def settle(self) -> timedelta:
        return self._settle

    @property
    def weighs(self) -> bool:
        return False

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        slots = asyncio.Semaphore(PODS_AT_ONCE)

        async def one(instance: Instance) -> Registration:
            async with slots:
                try:
                    return await self._seen(instance)
                except RegistryError as error:
                    return Registration(Presence.UNANSWERED, str(error), refused=isinstance(error, Refused))

        seen = await asyncio.gather(*(one(instance) for instance in instances))
        return {instance.uid: said for instance, said in zip(instances, seen, strict=True)}

    async def withdraw(self, instance: Instance) -> None:
        """Raises Refused where there is nothing to tell."""
        if not self._withdraw:
            raise Refused("there is no request that takes a pod out")
        await self._tell("withdraw", self._withdraw, instance)

    async def restore(self, instance: Instance) -> None:
        """Raises Refused where no way back is given: only the pod itself, started anew, comes back."""
        if not self._restore:
            raise Refused("there is no request that puts a pod back")
        await self._tell("restore", self._restore, instance)

    async def weigh(self, instance: Instance, fraction: float) -> None:
        raise Refused("a hook has no weights")

    async def close(self) -> None:
        await self._client.close()

    async def _seen(self, instance: Instance) -> Registration:
        if not instance.addresses:
            return Registration(Presence.ABSENT, "the pod has no address yet")
        if self._gone:
            return await self._seen_by_all(instance)
        if instance.told:
            return Registration(Presence.UNKNOWN, "told; nobody can see whether it is out", fraction=0.0)
        if self._registered:
            hook, said = await self._ask("registered", self._registered, instance, any_status=True)
            if said.status != 404 and not _fits(hook.expect, said, instance):
                return Registration(Presence.ABSENT, f"not registered yet: {said.status}")
        return Registration(Presence.PRESENT, "not told to leave")

    async def _seen_by_all(self, instance: Instance) -> Registration:
        """One that still has the pod is enough to know; to know that it is gone takes the word of all."""
        inside = self._spec.place is Place.POD
        where = [] if inside else await self._client.everywhere(self._gone[0].url.fill(instance))
        asked = [self._ask("gone", self._gone, instance, at=at) for at in where or [""]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        said = [answer for answer in answers if not isinstance(answer, BaseException)]
        still = [heard for hook, heard in said if not _fits(hook.expect, heard, instance)]
        of_all = f", of {len(answers)}" if len(answers) > 1 else ""
        if still:
            return Registration(Presence.PRESENT, f"not gone: {still[0].status}{of_all}")
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        fraction = 0.0 if instance.told else None
        return Registration(Presence.ABSENT, f"gone: {said[0][1].status}{of_all}", fraction=fraction)

    async def _tell(self, what: str, requests: Sequence[_Request], instance: Instance) -> None:
        hook, said = await self._ask(what, requests, instance)
        if not _fits(hook.expect, said, instance):
            raise Refused(f"{what} was answered {said.status}, and not as is expected")

    async def _ask(
        self, what: str, requests: Sequence[_Request], instance: Instance, *, any_status: bool = False, at: str = ""
    ) -> tuple[Hook, Said]:
        """Whatever was said, with the hook that it was said to; by the server at this address of its name, if one is
        given.

        Raises:
            Unreachable: no answer; or, without `any_status`, one that is not expected and means a fault of its own.
            Refused: 401 and 403, where they are not expected.
        """
        for request in requests[:-1]:
            hook, said = request.hook, await self._send(request, instance, at)
            if said.status != 404 or 404 in hook.expect.status:
                break
        else:
            hook, said = requests[-1].hook, await self._send(requests[-1], instance, at)
        if said.status not in hook.expect.status:
            if said.status in (401, 403):
                raise Refused(f"{what} was answered {said.status}: we are not let in")
            if not any_status and (said.status >= 500 or said.status in _BUSY):
                raise Unreachable(f"{what} was answered {said.status}")
        return hook, said

    async def _send(self, request: _Request, instance: Instance, at: str) -> Said:
        hook = request.hook
        url, body = request.url.fill(instance), fill(hook.body, instance)
        if self._spec.place is Place.POD:
            container = self._spec.container or next(iter(instance.containers), "")
            ask = Ask(hook.method, url, hook.headers, body)
            return await ask_in_pod(self._run, instance.namespace, instance.name, container, ask, self._client.timeout)
        answer = await self._client.request(
            hook.method,
            url,
            data=body.encode() if body else None,
            headers={**hook.headers, **self._secret},
            faults=range(500, 600),
            at=at,
        )
        text = answer.body[:MAX_BODY].decode(errors="replace")
        return Said(answer.status, text, len(answer.body) <= MAX_BODY)

    def _requests(self, hooks: Sequence[Hook | None]) -> tuple[_Request, ...]:
        inside = self._spec.place is Place.POD
        checked = []
        for hook in hooks:
            if hook is not None:
                _checked_headers(hook.headers)
                checked.append(_Request(hook, UrlTemplate(hook.url, loopback=inside)))
        return tuple(checked)


def _fits(expect: Expect, said: Said, instance: Instance) -> bool:
    status = said.status in expect.status if expect.status else 200 <= said.status < 300
    if not status:
        return False
    if expect.contains and (said.body is None or fill(expect.contains, instance) not in said.body):
        return False
    if expect.lacks:
        return said.body is not None and said.whole and fill(expect.lacks, instance) not in said.body
    return True


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Raises Refused, without the value: it may be a secret."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise Refused(f"the header {name[:64]!r} has a name or a value that cannot be sent")
    return headers
