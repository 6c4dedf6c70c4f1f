"""Load at a fixed rate that hides nothing, and what became of each request.

Why not vegeta: it is built on Go's net/http, which silently sends an idempotent request again when a kept-alive
connection dies before the first byte of the answer; exactly the losses looked for here (see connection.py).
"""

from localcluster.load.outcome import Outcome
from localcluster.load.plan import CachedAddresses, Caller, FollowedAddresses, Fresh, KeptAlive, Keyed, Plan, PlanError
from localcluster.load.rates import rates, shares
from localcluster.load.reconcile import Reconciliation
from localcluster.load.result import Cause, HarnessBroken, Result
from localcluster.load.running import LoadRun, running

__all__ = [
    "CachedAddresses",
    "Caller",
    "Cause",
    "FollowedAddresses",
    "Fresh",
    "HarnessBroken",
    "KeptAlive",
    "Keyed",
    "LoadRun",
    "Outcome",
    "Plan",
    "PlanError",
    "Reconciliation",
    "Result",
    "rates",
    "running",
    "shares",
]
