"""What the parts of the engine ask of it; ``engine.InProcessEngine`` has it.

Calls are ``work.WorkItem``: they name their host, and so are not named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from futures_cluster.context import TaskHost
from futures_cluster.messages import Key


class Host(TaskHost, Protocol):
    """The engine, as its calls, its threads, graphs and the status page see it.

    Attributes
    ----------
    name : str
        Of the engine among those of this process.
    max_workers : int
        How many threads there are at most, besides those in the place of tasks that wait.
    resources, limits : dict
        Amounts that all threads have together.
    queued : dict
        Calls that wait for a thread, by their numbers.
    instrumentation : Instrumentation
    """

    name: str
    max_workers: int
    resources: dict[str, float]
    limits: dict[str, float]
    queued: dict[int, Any]
    instrumentation: Any

    @property
    def threads(self) -> Sequence[Any]: ...
    def running(self) -> Sequence[Any]: ...
    def known_results(self) -> list[Any]: ...
    def initialize(self) -> bool: ...
    def next_number(self) -> int: ...
    def make_future(self, key: Key, work: Any) -> Any: ...
    def admit_graph(self, works: list[Any]) -> None: ...
    def wait_for(self, work: Any, missing: list[Any]) -> None: ...
    def enqueue(self, work: Any) -> None: ...
    def prepare(self, work: Any) -> None: ...
    def returned(self, work: Any, value: Any) -> None: ...
    def raised(self, work: Any, error: BaseException) -> None: ...
    def fail(self, work: Any, error: BaseException) -> None: ...
    def cancel(self, work: Any) -> None: ...
    def take_out(self, work: Any) -> bool: ...
    def ended(self) -> None: ...
