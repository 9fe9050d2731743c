"""Slots of tasks that wait: others execute in their place.

Covers: which tasks wait without saying so. Does not cover: slots and their threads (``service``), when the next look
comes (its timer).

``Future.result`` and ``as_completed`` say that they wait. For ``concurrent.futures.wait`` it is seen that a task with
unfinished children has used no processor time.
"""

from __future__ import annotations

from collections.abc import Callable

from futures_cluster import clocks, context

Identity = tuple[str, int]  # the key of a task, and the number of its attempt


class SlotLending:
    """The tasks of one worker that have unfinished children.

    Parameters
    ----------
    running : dict
        The tasks that run, by their identities.
    set_waits : callable
        ``set_waits(task, waits)``: tells the machine that a task waits from now on, or does not.
    period_s : float
        Seconds between two looks.

    Attributes
    ----------
    parents : dict
        Tasks seen to have unfinished children; they add to it in their own threads.
    """

    def __init__(
        self,
        running: dict[Identity, context.TaskContext],
        set_waits: Callable[[context.TaskContext, bool], None],
        period_s: float,
    ) -> None:
        self.parents: dict[Identity, context.TaskContext] = {}
        self._running = running
        self._set_waits = set_waits
        self._period_s = period_s
        self._idle_looks: dict[Identity, context.IdleLooks] = {}

    def look(self) -> None:
        """Lend the slots of tasks that have submitted others and use no processor time.

        Such a task waits for these by a call that is not ours (``concurrent.futures.wait``).
        """
        for identity, task in self.parents.copy().items():  # tasks add to it in their own threads
            if identity not in self._running or not task.children:
                del self.parents[identity]
                self._idle_looks.pop(identity, None)
                if identity in self._running and task.children:  # it has submitted one just now
                    self.parents[identity] = task
                    continue
                if identity in self._running and not task.waiting:
                    self._set_waits(task, False)
                continue
            used = clocks.thread_time(task.thread)
            if used is None or task.waiting:
                continue
            looks = self._idle_looks.setdefault(identity, context.IdleLooks())
            self._set_waits(task, looks.waits(used, self._period_s))
