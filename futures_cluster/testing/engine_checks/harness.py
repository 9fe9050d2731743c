"""What checks are made of: their register, running them, and files by which tasks and checks talk.

Covers: nothing about any engine. Does not cover: the checks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from futures_cluster import clocks
from futures_cluster.errors import NotSupported
from futures_cluster.executor import Executor
from futures_cluster.future import Future

MakeExecutor = Callable[..., Executor]

#: The longest that a check waits for anything.
TIMEOUT_S = 30.0

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
TRAITS = {
    "concurrent": "tasks run while the caller goes on",
    "isolated": "tasks do not share objects with the caller",
    "closed": "no worker comes later that could offer what none does now",
    "prompt": "what a task submits is there before the task's slot goes to others",
}


@dataclass(frozen=True)
class Check:
    """One promise, and what an engine must have for it."""

    function: Callable[[MakeExecutor], None]
    features: frozenset[str]
    traits: frozenset[str]
    libraries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    def is_meant_for(self, traits: Collection[str]) -> bool:
        """Return whether the check applies to these traits and libraries."""
        return self.traits <= set(traits) and all(find_spec(library) for library in self.libraries)


CHECKS: dict[str, Check] = {}


def run_check(check: Check, make_executor: MakeExecutor, lacks: Collection[str] = ()) -> None:
    """Run one check; with a feature that the engine lacks, see that it says so.

    Raises
    ------
    AssertionError
        When the promise is broken.
    """
    missing = check.features & set(lacks)
    try:
        check.function(make_executor)
    except NotSupported:
        if not missing:
            raise
    else:
        assert not missing, f"{check.name} needs {', '.join(missing)}, and nothing raised NotSupported"


def check(
    *features: str, traits: tuple[str, ...] = (), libraries: tuple[str, ...] = ()
) -> Callable[[Callable[[MakeExecutor], None]], Callable[[MakeExecutor], None]]:
    """Register a check that needs these features, traits and libraries."""
    assert set(features) <= set(FEATURES) and set(traits) <= set(TRAITS)

    def register(function: Callable[[MakeExecutor], None]) -> Callable[[MakeExecutor], None]:
        CHECKS[function.__name__] = Check(function, frozenset(features), frozenset(traits), libraries)
        return function

    return register


@contextlib.contextmanager
def raises(*kinds: type[BaseException]) -> Iterator[list[BaseException]]:
    """Expect one of these; the list gets it."""
    caught: list[BaseException] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    else:
        raise AssertionError(f"{' or '.join(kind.__name__ for kind in kinds)} was not raised")


def wait_running(future: Future[object]) -> None:
    """Wait until the executor says that a task runs."""
    end = clocks.monotonic() + TIMEOUT_S
    while not future.running():
        assert clocks.monotonic() < end, future
        clocks.sleep(0.002)


class Folder:
    """Files by which tasks and their caller tell each other things, wherever they run. Pickles."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="engine_checks-")

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def set(self, name: object) -> None:
        """Make a file."""
        with open(os.path.join(self.path, str(name)), "w"):
            pass

    def names(self) -> list[str]:
        """Return the names of all files."""
        return os.listdir(self.path)

    def wait(self, name: object) -> None:
        """Wait for a file."""
        end = clocks.monotonic() + TIMEOUT_S
        while not os.path.exists(os.path.join(self.path, str(name))):
            assert clocks.monotonic() < end, f"no task made the file {name}"
            clocks.sleep(0.002)

    def number(self, name: str) -> int:
        """Count the calls with this name, whichever process makes them; the first is 1."""
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.path.join(self.path, f"{name}.{number}"), os.O_CREAT | os.O_EXCL))
                return number
        raise AssertionError

    def append(self, line: object) -> None:
        """Add a line to the log."""
        fd = os.open(os.path.join(self.path, "log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)

    def log(self) -> list[str]:
        """The lines of the log."""
        try:
            with open(os.path.join(self.path, "log")) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []
