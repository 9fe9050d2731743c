"""Which ``__main__`` the threads of a process see that runs tasks.

Does not cover: its content (``programs``), and how a worker learns which program a task belongs to
(``services.worker.execution``).
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any, Protocol

MAIN = "__main__"
#: In a process that multiprocessing has started, the script is known by this name, too.
MP_MAIN = "__mp_main__"


def canonical(module: str) -> str:
    """Return the name under which the definitions of a module are kept."""
    return MAIN if module == MP_MAIN else module


class HasMain(Protocol):
    """A program, as far as it matters here."""

    def module(self, name: str) -> ModuleType:
        """Return one of its modules."""

    def token_for(self, scope: str) -> str:
        """Return what names it in payloads."""


class _Local(threading.local):
    running: HasMain | None = None


class MainModules:
    """Makes programs' modules known by their names in a process that runs tasks.

    A worker of ours is all the program's: its ``__main__`` is the program's. When a second program has tasks there, and
    in a process of another engine from the start, ``__main__`` is a module that asks which program the calling thread
    runs a task of.

    Attributes
    ----------
    is_host : bool
        Whether this process runs tasks of programs.
    dispatching : bool
        Whether each task has to say to which program it belongs (``enter``).
    """

    def __init__(self) -> None:
        self.is_host = False
        self.dispatching = False
        self._is_guest = False
        self._mains: list[ModuleType] = []
        self._usual: ModuleType | None = None  # of threads of which nothing is known, where programs share a process
        self._local = _Local()
        self._active: dict[int, HasMain] = {}  # by thread, while programs share the process

    def begin(self, guest: bool = False) -> None:
        """Have the modules of programs that come from now on stand in ``sys.modules``.

        Parameters
        ----------
        guest : bool
            Whether ``__main__`` belongs to another program, which goes on to use it.
        """
        self.is_host = True
        self._is_guest = guest

    def add(self, module: ModuleType) -> None:
        """Add a module of a program."""
        name = module.__name__
        if name != MAIN:
            sys.modules.setdefault(name, module)
            return
        self._mains.append(module)
        if len(self._mains) == 1 and not self._is_guest:
            sys.modules[MAIN] = sys.modules[MP_MAIN] = module
        elif not self.dispatching:
            self._usual = sys.modules[MAIN]
            sys.modules[MAIN] = sys.modules[MP_MAIN] = _MainOfThread(MAIN)
            self.dispatching = True

    def drop(self, module: ModuleType) -> None:
        """Remove a module of a program that is gone."""
        if module in self._mains:
            self._mains.remove(module)
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
            if module.__name__ == MAIN:
                sys.modules[MAIN] = sys.modules[MP_MAIN] = ModuleType(MAIN)
        if self._usual is module:
            self._usual = ModuleType(MAIN)

    def enter(self, program: HasMain | None) -> None:
        """Say which program's task this thread runs."""
        self._local.running = program
        if self.dispatching:
            if program is None:
                self._active.pop(threading.get_ident(), None)
            else:
                self._active[threading.get_ident()] = program

    def running(self) -> HasMain | None:
        """Return the program whose task this thread runs, or whose payload it read."""
        return self._local.running

    def is_active(self, program: HasMain) -> bool:
        """Return whether a thread runs a task of a program."""
        return any(each is program for each in list(self._active.values()))

    def main(self) -> ModuleType:
        """Return ``__main__`` of the program whose task this thread runs.

        A thread that a task has started says nothing of itself: it belongs to the program whose tasks run, as far as
        that is one only.
        """
        program = self._local.running
        if program is None:
            active = {id(each): each for each in list(self._active.values())}
            if len(active) == 1:
                (program,) = active.values()
        if program is not None:
            return program.module(MAIN)
        assert self._usual is not None
        return self._usual


class _MainOfThread(ModuleType):
    """Stands for ``__main__`` where tasks of several programs run."""

    def __getattribute__(self, name: str) -> Any:
        return getattr(mains.main(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(mains.main(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(mains.main(), name)

    def __dir__(self) -> list[str]:
        return dir(mains.main())


#: Of this process.
mains = MainModules()
