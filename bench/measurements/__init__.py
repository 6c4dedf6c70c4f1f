"""Every measurement by name. Each is a function that is given a test bed and yields figures; its docstring says what
is done, the figures say what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bench.figure import Figure
from bench.measurements.autoscaler import autoscaler
from bench.measurements.back_off import back_off
from bench.measurements.cold import cold
from bench.measurements.idle import idle
from bench.measurements.one_by_one import one_by_one
from bench.measurements.pod_creation import pod_creation
from bench.measurements.ramp import ramp
from bench.measurements.scale import one_large, scale
from bench.measurements.scale_in import scale_in
from bench.measurements.waves import waves
from bench.testbed import Testbed

Measurement = Callable[[Testbed], Iterator[Figure]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "one-by-one": one_by_one,
    "waves": waves,
    "back-off": back_off,
    "scale-in": scale_in,
    "pod-creation": pod_creation,
    "ramp": ramp,
    "cold": cold,
    "autoscaler": autoscaler,
    "idle": idle,
}

LARGE: Mapping[str, Measurement] = {
    "scale": scale,
    "one-large": one_large,
}
"""Those that need `bench.testbed.large_testbed`; each is asked for by name, as it takes long."""
