"""What a client tells of the modules that it has loaded.

Covers: looking for modules when a function is registered, noticing that one was reloaded. Does not cover: versions
(``modules``), and what workers do about them (``uploaded_modules``).

``importlib.reload`` asks the finders of ``sys.meta_path`` for the module that it is about to execute again, and names
that module (``target``). So a finder that finds nothing notices each reload, and submitting a task costs nothing more.
IPython's autoreload may also give the functions of a module new code without any reload, but only before a cell.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from futures_cluster.services.common.modules import Version, loaded


class ModuleNews:
    """Tells workers which versions of modules this process has loaded.

    Parameters
    ----------
    tell : callable
        Takes a list of versions; they have to arrive before the tasks that are submitted after.
    """

    def __init__(self, tell: Callable[[list[Version]], None]) -> None:
        self._tell = tell
        self._pid = os.getpid()
        self._told: dict[str, str] = {}  # digests, by module
        self._seen = self._count = -1

    @property
    def is_behind(self) -> bool:
        """Whether modules were imported since the last look."""
        return len(sys.modules) != self._count

    def look(self, function: Any) -> None:
        """Report what was imported since the last look; called before a function is sent."""
        reloads.watch(self)
        loaded.look(getattr(function, "__module__", None))
        self._count = len(sys.modules)
        if loaded.changes != self._seen:
            self._seen = loaded.changes
            self.tell_changed()

    def tell_changed(self) -> None:
        """Tell the versions of modules that workers do not know."""
        if os.getpid() != self._pid:  # a forked copy has no workers
            return
        news = [version for version in list(loaded.versions.values()) if self._told.get(version.name) != version.digest]
        if news:
            self._told.update((version.name, version.digest) for version in news)
            self._tell(news)


class _Reloads:
    """A finder of modules that finds none; see above."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[ModuleNews] = weakref.WeakSet()

    def watch(self, listener: ModuleNews) -> None:
        """Tell a listener of reloads, as long as it lives."""
        self._listeners.add(listener)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
            ipython: Any = sys.modules.get("IPython")
            shell = ipython.get_ipython() if hasattr(ipython, "get_ipython") else None
            if shell is not None:
                shell.events.register("pre_run_cell", self._look_before_cell)

    def _look_before_cell(self, *args: Any) -> None:
        if "IPython.extensions.autoreload" in sys.modules and loaded.accept_edited():
            self._reloaded()

    def _reloaded(self) -> None:
        for listener in list(self._listeners):
            listener.tell_changed()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        spec = getattr(target, "__spec__", None)
        if isinstance(spec, ModuleSpec) and name in loaded.versions:
            loaded.note(spec)
            self._reloaded()
        return None


#: Of this process.
reloads = _Reloads()
