"""What may be done to the workload's autoscaler, as users say it. What is done is in `lossless.core.autoscaler`."""

from datetime import timedelta
from enum import StrEnum

from lossless.api.model import Model
from lossless.api.quantities import Duration


class AutoscalerMode(StrEnum):
    HOLD = "Hold"
    IGNORE = "Ignore"


class AutoscalerSpec(Model):
    """How a HorizontalPodAutoscaler of the workload is kept from being misled by pods that are under way."""

    mode: AutoscalerMode = AutoscalerMode.HOLD
    """Hold: while pods are under way, scale-in is held, and scale-out is damped where pods that serve nobody would call
    for it; never while the pods that serve are themselves above the target. Ignore: no autoscaler is written to."""
    max_hold: Duration = timedelta(minutes=30)
    """An autoscaler has its own behavior back after this long at the latest, and this is said."""
