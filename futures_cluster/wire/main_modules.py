"""Which ``__main__`` the threads of a process see that runs tasks.

Does not cover: what is in it (``programs``), and who says which program a task belongs to (``services.execute``).
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
        self._local = _Local()

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
        """A program has a module more."""
        name = module.__name__
        if name != MAIN:
            sys.modules.setdefault(name, module)
            return
        self._mains.append(module)
        if len(self._mains) == 1 and not self._is_guest:
            sys.modules[MAIN] = sys.modules[MP_MAIN] = module
        elif not self.dispatching:
            dispatcher = _MainOfThread(MAIN)
            object.__setattr__(dispatcher, "_usual", sys.modules[MAIN])
            sys.modules[MAIN] = sys.modules[MP_MAIN] = dispatcher
            self.dispatching = True

    def enter(self, program: HasMain | None) -> None:
        """Say which program's task this thread runs."""
        self._local.running = program

    def running(self) -> HasMain | None:
        """Return the program whose task this thread runs, or whose payload it has read last."""
        return self._local.running

    def main(self) -> ModuleType | None:
        """Return ``__main__`` of the program whose task this thread runs; None outside of tasks."""
        program = self._local.running
        return None if program is None else program.module(MAIN)


class _MainOfThread(ModuleType):
    """Stands for ``__main__`` where tasks of several programs run."""

    _usual: ModuleType

    def __getattribute__(self, name: str) -> Any:
        return getattr(_main_of_thread(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_main_of_thread(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_main_of_thread(self), name)

    def __dir__(self) -> list[str]:
        return dir(_main_of_thread(self))


def _main_of_thread(dispatcher: _MainOfThread) -> ModuleType:
    usual: ModuleType = object.__getattribute__(dispatcher, "_usual")
    return mains.main() or usual


#: Of this process.
mains = MainModules()
