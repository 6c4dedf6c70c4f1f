"""How long the properties are looked for.

By default always the same examples, so that a failure is never a matter of luck. To look further:
``pytest tests/core --hypothesis-profile=deep``, as often as you like.
"""

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow]

settings.register_profile("quick", max_examples=100, derandomize=True, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("deep", max_examples=5000, print_blob=True, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("quick")
