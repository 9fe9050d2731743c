"""The ``__main__`` that tasks see in a process that runs them: that of the program that submitted them.

Does not cover: its content (``programs``), and how a worker learns which program a task belongs to
(``services.worker.execution``).
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any, Protocol

MAIN = "__main__"
#: The script's other name in processes that multiprocessing has started.
MP_MAIN = "__mp_main__"


def canonical(module: str) -> str:
    """Return the one name of a module, by which programs keep its definitions."""
    return MAIN if module == MP_MAIN else module


class RunningProgram(Protocol):
    """The program of a task that runs here; ``programs.Program`` is one."""

    def module(self, name: str) -> ModuleType:
        """Return a module of the program."""

    def token_for(self, scope: str) -> str:
        """Return the name of the program in payloads."""


class _Local(threading.local):
    running: RunningProgram | None = None


class MainModules:
    """The modules of programs in ``sys.modules`` of a process that runs tasks.

    In a worker of ours, the ``__main__`` of the first program is that of the process. Once a second program has tasks
    there, and in a process of another engine from the start, ``__main__`` is a stand-in: it looks for each attribute in
    the ``__main__`` of the program whose task the calling thread runs.

    Attributes
    ----------
    is_host : bool
        Whether this process runs tasks of programs.
    is_per_thread : bool
        Whether ``__main__`` is the stand-in, so that each thread must call ``enter`` for each task.
    """

    def __init__(self) -> None:
        self.is_host = False
        self.is_per_thread = False
        self._is_guest = False
        self._mains: list[ModuleType] = []
        self._default_main: ModuleType | None = None  # what the stand-in shows to threads without a program
        self._local = _Local()
        self._active: dict[int, RunningProgram] = {}  # by thread, while ``is_per_thread``

    def become_host(self, guest: bool = False) -> None:
        """Let the modules of programs that this process receives be in ``sys.modules``.

        Parameters
        ----------
        guest : bool
            Whether ``__main__`` belongs to the program of this process, which still uses it.
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
        elif not self.is_per_thread:
            self._default_main = sys.modules[MAIN]
            sys.modules[MAIN] = sys.modules[MP_MAIN] = _MainOfThread(MAIN)
            self.is_per_thread = True

    def drop(self, module: ModuleType) -> None:
        """Remove a module of a program whose client has left."""
        if module in self._mains:
            self._mains.remove(module)
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
            if module.__name__ == MAIN:
                sys.modules[MAIN] = sys.modules[MP_MAIN] = ModuleType(MAIN)
        if self._default_main is module:
            self._default_main = ModuleType(MAIN)

    def enter(self, program: RunningProgram | None) -> None:
        """Say which program's task this thread runs from now on; None after it."""
        self._local.running = program
        if self.is_per_thread:
            if program is None:
                self._active.pop(threading.get_ident(), None)
            else:
                self._active[threading.get_ident()] = program

    def running(self) -> RunningProgram | None:
        """Return the program whose task this thread runs, or whose payload it read last."""
        return self._local.running

    def is_active(self, program: RunningProgram) -> bool:
        """Return whether a thread runs a task of a program."""
        return any(each is program for each in list(self._active.values()))

    def main(self) -> ModuleType:
        """Return ``__main__`` of the program whose task this thread runs.

        A thread that a task has started has not called ``enter``. If tasks of only one program run, it is that one's.
        """
        program = self._local.running
        if program is None:
            active = {id(each): each for each in list(self._active.values())}
            if len(active) == 1:
                (program,) = active.values()
        if program is not None:
            return program.module(MAIN)
        assert self._default_main is not None
        return self._default_main


class _MainOfThread(ModuleType):
    """The stand-in for ``__main__`` in a process with tasks of several programs."""

    def __getattribute__(self, name: str) -> Any:
        return getattr(mains.main(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(mains.main(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(mains.main(), name)

    def __dir__(self) -> list[str]:
        return dir(mains.main())


#: Those of this process.
mains = MainModules()
