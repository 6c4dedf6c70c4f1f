"""What the figures say, in sentences. Nothing is said that the run did not show."""

from __future__ import annotations

from collections.abc import Mapping

from demo.figures import Figures, milliseconds, words
from demo.ways import COLD_MS, LIST_AGE_SECONDS, SETTLE_SECONDS

CACHED = "cached-addresses"


def failures(figures: Mapping[str, Figures]) -> list[str]:
    """What makes the demo fail: then it shows a defect, or proves nothing."""
    found: list[str] = []
    if figures["native"].lost == 0:
        found.append("the plain Deployment lost no request, so this harness proves nothing")
    if figures["lossless"].lost > 0:
        found.append(f"behind the operator {figures['lossless'].lost} requests were lost, and none may be")
    return found


def sentences(figures: Mapping[str, Figures]) -> list[str]:
    """The comparison, one sentence a subject."""
    native, pre_stop, lossless = (figures[key] for key in ("native", "prestop", "lossless"))
    return [
        f"The plain Deployment lost {native.lost} of {native.sent} requests ({words(native.lost_by_cause)}).",
        _through_cluster_ip(pre_stop),
        _old_lists(pre_stop, lossless),
        _cold_pods(native, pre_stop, lossless),
        f"Behind the operator {'no request' if lossless.lost == 0 else f'{lossless.lost} requests'} of {lossless.sent} "
        f"{'was' if lossless.lost == 0 else 'were'} lost. That costs time: it was rolled out after "
        f"{lossless.rolled_out_seconds:.0f} s, with a preStop sleep after {pre_stop.rolled_out_seconds:.0f} s, and "
        f"without after {native.rolled_out_seconds:.0f} s. {SETTLE_SECONDS} s of each of its two waves are for the "
        f"callers with old lists; without such callers it needs few. And so long an old pod sleeps before it ends, "
        f"though it was drained: it was born with that sleep, for the day when somebody deletes it by hand.",
    ]


def _through_cluster_ip(pre_stop: Figures) -> str:
    lost = pre_stop.lost - pre_stop.lost_by_caller.get(CACHED, 0)
    if lost == 0:
        return "Through a ClusterIP a preStop sleep is just as good: it lost none there either."
    return f"Through a ClusterIP a preStop sleep still lost {lost}."


def _old_lists(pre_stop: Figures, lossless: Figures) -> str:
    lost, ours = pre_stop.lost_by_caller.get(CACHED, 0), lossless.lost_by_caller.get(CACHED, 0)
    if lost == 0:
        return (
            f"This time the caller whose list of addresses is up to {LIST_AGE_SECONDS} s old lost none with it either."
        )
    return (
        f"It does not help a caller whose list of addresses is up to {LIST_AGE_SECONDS} s old (gRPC, the JVM and "
        f"others keep one): {lost} lost, where the operator, told of that age, lost {ours or 'none'}."
    )


def _cold_pods(native: Figures, pre_stop: Figures, lossless: Figures) -> str:
    return (
        f"Nor does it help with cold pods: {pre_stop.slow} requests were slow and p99 was "
        f"{milliseconds(pre_stop.p99_ms)} (plain: {native.slow} and {milliseconds(native.p99_ms)}), for the first "
        f"answers of each new pod take {COLD_MS} ms and users get them. Warmed before the door they did not: "
        f"{lossless.slow} slow, p99 {milliseconds(lossless.p99_ms)}."
    )
