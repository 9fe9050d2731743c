"""Which clients want which tasks, and what becomes of it when one wants no more.

Covers: a client that has one future less or has left, and whether others wait for what is made of a task.
Does not cover: freeing what no client wants now (``transitions.release_candidates_now``), wanting a task again, which
may have to run for it (``transitions.want_again``).
"""

from __future__ import annotations

from futures_cluster.scheduler.functions import Functions
from futures_cluster.scheduler.outbox import Outbox
from futures_cluster.scheduler.records import UNFINISHED, Task
from futures_cluster.scheduler.state import State


class ClientReferences:
    """The part of ``Transitions`` about the tasks that each client wants.

    Attributes
    ----------
    release_candidates : list of Task
        Tasks to look at again: a client or a task that needed them may be gone.
    functions : Functions
        What tasks call.
    """

    def __init__(self, state: State, outbox: Outbox) -> None:
        self.state = state
        self.outbox = outbox
        self.release_candidates: list[Task] = []
        self.functions = Functions(state, outbox)

    def client_left(self, name: str, cancel: bool) -> None:
        """Drop a client's references; with ``cancel`` its tasks stop, too.

        A worker is a client as well, once one of its tasks has submitted something.
        """
        if self.state.clients.pop(name, None) is None:
            return
        for task in list(self.state.tasks.values()):
            if name in task.wanted_by:
                if cancel:
                    task.fire_and_forget = False
                task.wanted_by = tuple(other for other in task.wanted_by if other != name)
                self.release_candidates.append(task)
        for function in list(self.state.functions.values()):
            self.functions.release(function, name)
        self.state.shares.forget(name)

    def others_need(self, task: Task, client: str) -> bool:
        """Return whether another client waits for something that is made of the task."""
        if not task.dependents or (len(self.state.clients) == 1 and not self.state.held):
            return False
        stack, seen = [task], {task: None}
        while stack:
            for dependent in stack.pop().dependents or ():
                if dependent in seen or dependent.state not in UNFINISHED:
                    continue
                if any(name != client for name in dependent.wanted_by):
                    return True
                seen[dependent] = None
                stack.append(dependent)
        return False

    def drop_reference(self, task: Task, client: str) -> None:
        """Count one future less of the client for a task."""
        wanted_by = task.wanted_by
        if client in wanted_by:
            place = wanted_by.index(client)
            task.wanted_by = wanted_by[:place] + wanted_by[place + 1 :]
        self.release_candidates.append(task)
