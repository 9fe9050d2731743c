"""The scheduler as a pure state machine: it decides what runs where, and does no IO.

``state`` holds the data, and ``machine`` is the one entry that changes it, by way of its parts: ``transitions`` (the
changes that leave everything consistent), ``dispatch`` (committing tasks to workers) and ``outbox`` (what is sent).
``placement`` and ``stealing`` propose, ``recovery`` finds what must be computed again, ``fair`` and ``constrained``
order, ``invariants`` checks.
"""
