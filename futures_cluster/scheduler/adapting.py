"""How many workers there should be for the work there is.

Covers: a proposal, as a pure function of the state. Does not cover: starting and retiring workers
(``services.local.cluster``).
"""

from __future__ import annotations

from math import ceil

from futures_cluster.scheduler.state import State

#: Seconds of work for each slot that are worth a worker.
TARGET_S = 1.0


def desired_workers(state: State, slots: int, minimum: int, maximum: int) -> int:
    """Return the number of workers that would finish the work in ``TARGET_S``.

    A function that was never measured counts as long. Workers do not count only for holding results, because they can
    hand them over.

    Examples
    --------
    >>> desired_workers(State(), 1, 1, 8)
    1
    """
    assigned = sum(len(worker.assigned) for worker in state.workers.values())
    count = state.queued + assigned
    seconds = sum(worker.occupancy_s for worker in state.workers.values())
    if state.queued:
        groups = [function.group.expected_s for function in state.functions.values() if function.tasks]
        seconds += state.queued * (sum(groups) / len(groups) if groups else TARGET_S)
    wanted = min(ceil(count / slots), max(ceil(seconds / TARGET_S / slots), min(1, count)))
    return max(minimum, min(maximum, wanted))
