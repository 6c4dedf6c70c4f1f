"""``kubectl lossless check``: hazards in the set-up, and what to do about them."""

import textwrap

from lossless.api.resource import Finding
from lossless.cli.errors import CliError
from lossless.cli.look import Look
from lossless.cluster.disruptions import Disruptions
from lossless.cluster.errors import ClusterError, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.preflight import Preflight

POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
DOORS_IN = {"Deployment": "lossless-door-in", "Rollout": "lossless-door-in-argo"}
WIDTH = 100


async def check(gateway: Gateway, look: Look, name: str) -> tuple[str, bool]:
    """What was found, as text; and whether it is nothing.

    Raises CliError when there is no such rollout, or its target can't be taken care of.
    """
    [rollout] = look.rollouts(name)
    gathered = look.gathered(rollout)
    if gathered.world.problem:
        raise CliError(f"{rollout.name}: {gathered.world.problem.message}")
    preflight = Preflight(gateway, look.store, lambda: look.at)
    await preflight.look(gathered)
    found = preflight.findings(gathered, await _gate_injection(gateway, rollout.target.kind))
    found += Disruptions(gateway, look.store, lambda change: None, lambda: look.at).findings(rollout)
    if not found:
        return f"{name}: no finding", True
    return f"{name}: {len(found)} findings\n\n" + "\n\n".join(_told(finding) for finding in found), False


async def _gate_injection(gateway: Gateway, kind: str) -> bool | None:
    """Whether the policy that gives pods of this kind of workload their gate is there; None: we can't tell."""
    try:
        await gateway.read(f"{POLICIES}/{DOORS_IN.get(kind, 'lossless-door-in-owned')}")
    except NotFound:
        return False
    except ClusterError:
        return None
    return True


def _told(finding: Finding) -> str:
    message = textwrap.fill(finding.message, WIDTH, initial_indent="  ", subsequent_indent="  ")
    fix = textwrap.fill(finding.fix, WIDTH, initial_indent="  fix: ", subsequent_indent="       ")
    return f"{finding.reason}\n{message}\n{fix}"
