"""What the operator decides, as pure functions on frozen data: no I/O, no clock, no randomness.

Read it in this order: ``passage`` (the stages of a pod), ``world`` (what is known), ``capacity`` (who serves, how many
must), ``surplus`` (who must go), ``way_in`` and ``way_out`` (what a pod waits for), ``decide`` (what to do next),
``report`` (what to say about it), ``autoscaler`` (what an autoscaler is kept from meanwhile).
"""
