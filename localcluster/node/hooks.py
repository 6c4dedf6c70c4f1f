"""Lifecycle hooks: pkg/kubelet/lifecycle/handlers.go."""

from __future__ import annotations

import asyncio

from localcluster.node.handlers import CommandRunner, HandlerError, http_get
from localcluster.node.objects import Json

AGENT = "kube-lifecycle/1.36"


class HookFailed(Exception):
    """A postStart that fails has its container killed; a preStop that fails is an Event, and the stop goes on."""


async def run_hook(hook: Json, container: Json, pod_ip: str, run_command: CommandRunner) -> None:
    """Runs a hook to its end: whoever calls it bounds it. Raises HookFailed."""
    if action := hook.get("exec"):
        try:
            code, output = await run_command(action.get("command") or [], None)
        except OSError as error:
            raise HookFailed(str(error)) from error
        if code != 0:
            raise HookFailed(f"command {action.get('command')} exited with {code}: {output}")
    elif "sleep" in hook:
        await asyncio.sleep(hook["sleep"]["seconds"])
    elif action := hook.get("httpGet"):
        try:
            # Upstream looks at transport errors only: an answer of 500 is a hook that ran.
            reached, message = await http_get(action, container, pod_ip, None, agent=AGENT)
        except HandlerError as error:
            raise HookFailed(str(error)) from error
        if not reached and not message.startswith("HTTP probe failed with statuscode"):
            raise HookFailed(message)
    else:
        raise HookFailed(f"invalid handler: {sorted(hook)}")
