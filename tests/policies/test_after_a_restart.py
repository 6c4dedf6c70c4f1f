"""An API server that has just started keeps the doors from its first request on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster.box import Box
from tests.policies.bench import CONTROLLER_MANAGER_FLAGS, Bench, gates, make_node, replica
from tests.policies.conftest import ROOT


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """With the Gateway API's CRDs: the more there are, the later an API server that starts knows ours."""
    with Box(nodes=0, gateway=True, controller_manager_flags=CONTROLLER_MANAGER_FLAGS) as box:
        make_node(box)
        box.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "admin"))
        box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
        yield box


def test_the_first_pod_after_a_restart_has_its_gate_and_the_first_deletion_is_refused(bench: Bench) -> None:
    """With the LosslessRollout itself as the policies' parameter, this failed in 6 of 10 restarts, for 24 to 28 s: an
    API server renews its knowledge of kinds every 30 s, and may first have asked before it knew ours."""
    bench.rollout()
    (pod,) = bench.deployment()
    bench.run(pod)
    bench.admit(pod)
    bench.until(lambda: bench.refusal(pod), "the door is shut")
    for _ in range(4):
        bench.box.process("kube-apiserver").restart()
        assert gates(bench.created(replica())) == ["lossless.dev/admitted"]
        assert "waiting until the pod is drained" in (bench.refusal(pod) or "")
