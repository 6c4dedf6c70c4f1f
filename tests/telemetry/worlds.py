"""Small worlds for the tests beside this file."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lossless.api.resource import LosslessRolloutSpec, Mode, TargetRef
from lossless.core.decide import decide
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Decision
from lossless.core.world import Group, Pod, Workload, World

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pod(uid: str, stage: Stage = Stage.ADMITTED, **fields: Any) -> Pod:
    """A pod that stands at a stage for a minute; it was created two minutes ago."""
    admitted = None if stage.is_in else ago(60)
    withdrawn = ago(60) if stage.is_out else None
    drained = ago(60) if stage is Stage.DRAINED else None
    passage = Passage(stage=stage, since=ago(60), admitted_at=admitted, withdrawn_at=withdrawn, drained_at=drained)
    ready = stage is Stage.ADMITTED
    base = Pod(
        uid=uid,
        name=f"web-{uid}",
        group="rs",
        revision="new",
        created_at=ago(120),
        phase="Running",
        gate_open=ready,
        ready=ready,
        ready_since=ago(60),
        containers_ready=True,
        containers_ready_since=ago(110),
        passage=passage,
    )
    return replace(base, **fields)


def world(*pods: Pod, wanted: int | None = None, **spec: Any) -> World:
    return World(
        spec=LosslessRolloutSpec(target_ref=TargetRef(name="web"), **({"mode": Mode.ENFORCE} | spec)),
        workload=Workload(
            kind="Deployment",
            name="web",
            uid="deployment",
            wanted=len(pods) if wanted is None else wanted,
            current_revision="new",
            groups=(Group("rs", "web-new", "new", keep=len(pods)),),
        ),
        pods=pods,
    )


def decided(this: World) -> Decision:
    return decide(this, NOW)
