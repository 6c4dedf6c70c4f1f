"""The imperative shell around the core: watches, the store, the work queue, the leader, and the loop of one key.

Read it in this order: ``resources`` and ``gateway`` (how the API server is asked), ``observed`` and ``store`` (what is
kept of what was seen), ``watches`` and ``relist`` (how it is seen), ``interest`` (whom it concerns), ``workqueue``,
``workload``, ``deployment``, ``stateful_set`` and ``daemon_set`` (the target), ``reconcile`` (one turn: ``adoption``,
``gather``, ``live``, ``act``, ``report``), ``leader`` and ``leading`` (who may do all this).
"""
