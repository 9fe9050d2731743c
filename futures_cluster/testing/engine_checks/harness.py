"""The harness of the checks: registering a check, running it, and what checks expect and wait for.

Does not cover: the checks, the engines (``capabilities``), how tasks and checks communicate (``shared_folder``).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

from futures_cluster import clocks
from futures_cluster.errors import NotSupported
from futures_cluster.executor import Executor
from futures_cluster.future import Future

MakeExecutor = Callable[..., Executor]
Raised = TypeVar("Raised", bound=BaseException)

#: Maximum time that a check waits for an event.
TIMEOUT_S = 30.0

#: Features that an engine may lack: a check that needs one then expects ``NotSupported``.
FEATURES = {
    "kill": "terminate_workers and kill_workers end what is running",
    "stop": "cancel(force=True) stops a running task",
    "timeout": "with_options(timeout=...)",
    "backoff": "with_options(retries=..., backoff=...)",
    "limits": "Executor(limits=...) and with_options(limits=...)",
    "memory_limit": "Executor(memory_limit=...)",
    "max_tasks_per_child": "Executor(max_tasks_per_child=...)",
    "initializer": "Executor(initializer=...)",
    "channel": "Executor.channel(...)",
    "priority": "with_options(priority=...)",
    "workers": "with_options(workers=...) and run(...)",
}
#: How an engine works: a check that needs a trait does not apply to engines without it.
TRAITS = {
    "concurrent": "tasks run while the caller goes on",
    "isolated": "tasks do not share objects with the caller",
    "closed": "no worker comes later that could offer what none does now",
    "prompt": "what a task submits is there before the task's slot goes to others",
}


@dataclass(frozen=True)
class Check:
    """One promise of an engine, as a function that verifies it.

    Attributes
    ----------
    function : callable
        ``function(make_executor)``; raises AssertionError if the promise is broken.
    features, traits : frozenset of str
        What the function needs, of ``FEATURES`` and ``TRAITS``.
    libraries : tuple of str
        Libraries that the function imports.
    """

    function: Callable[[MakeExecutor], None]
    features: frozenset[str]
    traits: frozenset[str]
    libraries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    def is_meant_for(self, traits: Collection[str]) -> bool:
        """Return whether the check applies to an engine with these traits, here.

        Its libraries must be installed.
        """
        return self.traits <= set(traits) and all(find_spec(library) for library in self.libraries)


#: All checks, by the names of their functions.
CHECKS: dict[str, Check] = {}


def check(
    *features: str, traits: tuple[str, ...] = (), libraries: tuple[str, ...] = ()
) -> Callable[[Callable[[MakeExecutor], None]], Callable[[MakeExecutor], None]]:
    """Return a decorator that registers a check, with what it needs."""
    assert set(features) <= set(FEATURES) and set(traits) <= set(TRAITS)

    def register(function: Callable[[MakeExecutor], None]) -> Callable[[MakeExecutor], None]:
        CHECKS[function.__name__] = Check(function, frozenset(features), frozenset(traits), libraries)
        return function

    return register


def run_check(check: Check, make_executor: MakeExecutor, lacks: Collection[str] = ()) -> None:
    """Run one check.

    Parameters
    ----------
    check : Check
        One of ``CHECKS``.
    make_executor : callable
        ``make_executor(**arguments)``: an ``Executor`` over the engine.
    lacks : collection of str
        Features that the engine lacks. If the check needs one of them, it has to end with ``NotSupported``.

    Raises
    ------
    AssertionError
        If the promise is broken.
    """
    missing = check.features & set(lacks)
    try:
        check.function(make_executor)
    except NotSupported:
        if not missing:
            raise
    else:
        assert not missing, f"{check.name} needs {', '.join(missing)}, and nothing raised NotSupported"


def raises(kind: type[Raised], call: Callable[..., object], *args: object, **kwargs: object) -> Raised:
    """Return the exception of this kind that a call has to raise."""
    try:
        call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


@contextlib.contextmanager
def silent_callbacks() -> Iterator[None]:
    """Have executors log no callbacks and initializers that raise."""
    logger = logging.getLogger("concurrent.futures")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def wait_until(is_so: Callable[[], bool], describe: Callable[[], object]) -> None:
    """Wait until something is so; else fail with what ``describe`` returns."""
    end = clocks.monotonic() + TIMEOUT_S
    while not is_so():
        assert clocks.monotonic() < end, describe()
        clocks.sleep(0.002)


def wait_until_running(future: Future[object]) -> None:
    """Wait until a future says that its task runs."""
    wait_until(future.running, lambda: f"the task runs, and its future does not say so: {future}")
