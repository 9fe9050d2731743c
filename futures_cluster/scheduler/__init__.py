"""The scheduler as a pure state machine: it decides what runs where, and does no IO.

``state`` holds the data, and ``machine`` is the one entry that changes it, by way of its parts: ``transitions`` (the
changes that leave everything consistent), ``submissions`` (adding tasks), ``dispatch`` (assigning tasks to workers),
``reruns`` (attempts without a result) and ``outbox`` (what is sent). ``placement`` and ``stealing`` propose,
``recovery`` finds what must be computed again, ``fair`` and ``constrained`` order, ``invariants`` checks.
"""
