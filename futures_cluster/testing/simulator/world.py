"""What the parts of a simulation ask of the whole; ``simulation.Simulation`` has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from futures_cluster.messages import Key, Message
from futures_cluster.testing.simulator.checks import Checks
from futures_cluster.testing.simulator.faults import Dice
from futures_cluster.testing.simulator.network import Network
from futures_cluster.testing.simulator.report import Report
from futures_cluster.testing.simulator.work import Work


class World(Protocol):
    """A simulated cluster, as its workers, clients and mishaps see it.

    Attributes
    ----------
    now : float
        Simulated seconds since the start.
    workers, clients : dict
        Those that live, by name.
    fetches : dict
        Transfers under way: number -> asker, holder, keys.
    """

    now: float
    scheduler: Any
    workers: dict[str, Any]
    clients: dict[str, Any]
    executions: dict[Key, int]
    fetches: dict[int, tuple[str, str, list[Key]]]
    report: Report
    dice: Dice
    check: int
    checks: Checks | None
    network: Network
    work: Callable[[Key, int], Work]

    @property
    def mishaps(self) -> Any: ...
    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None: ...
    def count_work(self, key: Key, dependencies: Iterable[Key], rerun: bool) -> None: ...
    def send(self, sender: str, receiver: str, message: Message, size_bytes: int = 0) -> None: ...
    def to_scheduler(self, sender: str, message: Message) -> None: ...
    def to_machine(self, event: Message) -> None: ...
    def refuse(self, asker: str, holder: str, message: Message) -> None: ...
    def fetch(self, asker: str, holder: str, keys: list[Key]) -> int: ...
    def put(self, asker: str, holder: str, rows: list[Any]) -> int: ...
    def fail_fetch(self, number: int) -> None: ...
    def next_incarnation(self) -> str: ...
    def hold(self, size_bytes: int) -> None: ...
    def remove(self, worker: Any) -> None: ...
    def reborn(self, former: Any) -> Any: ...
    def crash(self, name: str, deliberate: bool = False, known: bool = True) -> None: ...
    def replace(self, worker: Any) -> None: ...
