"""What an engine must offer.

Covers: the protocol between the executor and an engine, and what engines are unless they say otherwise. Does not cover:
any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from futures_cluster.context import submitting_task
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.errors import ForkedExecutor, LimitError, NotSupported
from futures_cluster.messages import Key, TaskOptions, limits_complaint, place_of
from futures_cluster.services.common.process_lifetime import interpreter_exits
from futures_cluster.wire.codec.exception_state import copied

if TYPE_CHECKING:
    from futures_cluster.config import Config
    from futures_cluster.services.client.graphs import Graph
    from futures_cluster.services.client.shared_objects import SharedObjectClient
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin


def check_limits(options: TaskOptions, declared: dict[str, float]) -> None:
    """Refuse limits that a task can never have, as it would wait for ever.

    Raises
    ------
    LimitError
        With the limits that there are.
    """
    if options.limits and (complaint := limits_complaint(options.limits, declared)):
        raise LimitError(complaint)


def check_arguments(config: Config, not_here: dict[str, str], where: str) -> None:
    """Refuse arguments of ``Executor`` that mean nothing to an engine.

    Parameters
    ----------
    not_here : dict
        From their names to what to do instead.
    where : str
        The end of "cannot be given".

    Raises
    ------
    NotSupported
        With what to do instead.
    """
    for name, instead in not_here.items():
        if getattr(config, name):
            raise NotSupported(f"{name} cannot be given {where}; {instead}")


def check_demand(options: TaskOptions, offered: dict[str, float], workers: list[str]) -> None:
    """Refuse what no worker will ever offer, as it would wait for ever.

    Raises
    ------
    ValueError
        With what there is.
    """
    for name, amount in options.resources:
        if amount > offered.get(name, 0):
            raise ValueError(
                f"a task asks for {amount:g} of {name!r}, and each worker offers {offered.get(name, 0):g}; "
                f"make the executor with resources={{{name!r}: ...}}"
            )
    if options.workers and not set(map(place_of, options.workers)) & set(map(place_of, workers)):
        raise ValueError(f"there is no worker named {' or '.join(options.workers)}; there are {', '.join(workers)}")


def worker_facts(pid: int, slots: int, tasks: int, results: int, resources: Mapping[str, float]) -> dict[str, Any]:
    """Return what ``Engine.workers`` tells of a worker; the pid of threads is 0."""
    return {"pid": pid, "slots": slots, "tasks": tasks, "results": results, "resources": dict(resources)}


def how_it_ended(future: Any) -> str:
    """Say what became of the task of a future that is done."""
    if future.cancelled():
        return f"{future.key!r} was cancelled"
    error = future.exception()
    if error is None:
        return f"{future.key!r} has finished"
    return f"{future.key!r} has failed: {type(error).__name__}: {error}"


def check_process(forked: bool) -> None:
    """Refuse to use an executor in a forked copy of its process.

    Raises
    ------
    ForkedExecutor
        If ``forked``.
    """
    if forked:
        raise ForkedExecutor(
            "this executor belongs to the parent of this process; a forked process makes its own Executor()"
        )


def check_usable(forked: bool, broken: BaseException | None, is_closed: bool) -> None:
    """Refuse to submit to an executor that no longer runs tasks.

    Raises
    ------
    ForkedExecutor
        In a forked copy of its process.
    BaseException
        A copy of what broke it.
    RuntimeError
        After its shutdown, or that of the interpreter.
    """
    check_process(forked)
    if broken is not None:
        raise copied(broken)
    if interpreter_exits():
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")
    if is_closed:
        raise RuntimeError("cannot schedule new futures after shutdown")


class EngineBase:
    """Base of engines: the answers of one that can do nothing special, and counts by its client.

    Attributes
    ----------
    supports_graphs : bool
        Whether ``submit_graph`` takes tasks that need each other.
    shares_memory : bool
        Whether tasks get the caller's own objects.
    fetches_together : bool
        Whether results that are all done come with one request.
    """

    client: Any
    supports_graphs: bool = False
    shares_memory: bool = False
    fetches_together: bool = False

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        return self.client.submitted, self.client.count_pending()

    def unfinished_futures(self) -> list[Any]:
        """See ``Engine``."""
        parent, futures = submitting_task(), self.client.pending()
        return futures if parent is None else [future for future in futures if future._parent is parent]

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """See ``Engine``."""
        raise NotImplementedError(f"{type(self).__name__} takes the tasks of a graph one by one")

    def lend_executor(self, find: Callable[[], Any]) -> None:
        """See ``Engine``; the tasks of other processes have a client of their own."""


class Engine(Protocol):
    """Runs tasks. All methods may be called from any thread; ``EngineBase`` describes the attributes."""

    supports_graphs: bool
    shares_memory: bool
    fetches_together: bool

    @property
    def client(self) -> Any:
        """What stands between the engine and its scheduler; None where each call runs at submit."""

    @property
    def max_workers(self) -> int:
        """How many workers there are, or tasks that run at a time if these are no processes of ours."""

    @property
    def slots(self) -> int:
        """How many tasks run at a time; 0 where that is not known, as inside of a task."""

    @property
    def broken(self) -> BaseException | None:
        """Why nothing can run."""

    @property
    def is_closed(self) -> bool:
        """Whether it was shut down."""

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """Run a call; returns its future. Raises RuntimeError after ``shutdown``."""

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """Submit tasks that need each other; needs ``supports_graphs``.

        Returns the futures of those tasks that are wanted.
        """

    def lend_executor(self, find: Callable[[], Any]) -> None:
        """Take the function that makes the executor of a task in this process."""

    def check_options(self, options: TaskOptions) -> None:
        """Refuse what no worker will offer (ValueError), or the engine cannot do."""

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """Hand data to the engine, which keeps ``replicas`` of it if it can be lost."""

    def future_of_key(self, key: Key) -> Any:
        """Return a future of a key that was met inside an argument."""

    def shared(self) -> SharedObjectClient:
        """Return what asks shared objects. Raises NotSupported if there are none."""

    def watch(self, plugin: SchedulerPlugin) -> None:
        """Send events to a ``SchedulerPlugin``; NotSupported if no scheduler is here."""

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return facts about each worker by its name."""

    def count_tasks(self) -> tuple[int, int]:
        """Return how many tasks this client has submitted, and how many are not done."""

    def unfinished_futures(self) -> list[Any]:
        """Return the futures of this client that are not done.

        In a task, those of what that task has submitted.
        """

    def wait_for_workers(self) -> list[str]:
        """Return the names of all workers once they have started, or raise why not."""

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """Take nothing more; end when all is done."""

    def stop_workers(self, force: bool) -> None:
        """End the workers now, by SIGKILL with ``force``, else by SIGTERM."""

    def scale(self, minimum: int, maximum: int) -> None:
        """Have between ``minimum`` and ``maximum`` workers, as the work wants."""

    def restart_workers(self) -> None:
        """Replace the process of each worker; NotSupported where there are none."""

    def upload(self, path: str) -> None:
        """Let workers import a module, a package or an archive of the caller."""

    def explain(self, key: Key) -> list[str]:
        """Explain why a task does not run, or describe its state, line by line."""


@runtime_checkable
class Observed(Protocol):
    """What an engine offers besides whose scheduler can be looked at."""

    def status_url(self) -> str:
        """Return the address of the status page. Raises NotSupported where there is none."""

    @property
    def known_url(self) -> str:
        """That address, once a caller has asked for it; else ""."""

    def observe(self) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
        """Record until the block ends; yields a function that makes the report."""

    def listen(self) -> AbstractContextManager[Callable[[bool], list[Any]]]:
        """Take what tasks print until the block ends; yields a function to fetch it."""
