"""Users' modules on workers of other machines.

Covers: folders of a client's ``sys.path`` that are there as well, files that a client uploads.
Does not cover: functions, which travel with the tasks (``functions``).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from typing import Any


class CodeFolder:
    """What this process can import besides what is installed."""

    def __init__(self, folder: str | None) -> None:
        self._parent = folder
        self._folder: str | None = None

    def add(self, paths: Iterable[str], files: Iterable[Any]) -> None:
        """Take folders and files; modules that were imported from an older version of a file are forgotten."""
        for path in paths:
            if path not in sys.path and os.path.exists(path):
                sys.path.append(path)
        for name, content in files:
            self._write(name, content)
        importlib.invalidate_caches()

    def _write(self, name: str, content: bytes) -> None:
        name = os.path.basename(name)
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="futures_cluster-code-", dir=self._parent)
            sys.path.insert(0, self._folder)
        path = os.path.join(self._folder, name)
        # Not written in place: another thread may be about to import it.
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.replace(path + ".new", path)
        stem, ending = os.path.splitext(name)
        if ending in (".zip", ".whl", ".egg"):
            if path not in sys.path:
                sys.path.insert(0, path)
        else:
            for module in [known for known in sys.modules if known == stem or known.startswith(stem + ".")]:
                del sys.modules[module]

    def close(self) -> None:
        """Remove what was uploaded."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._folder)


def shareable_paths() -> list[str]:
    """The folders of this process's ``sys.path`` where users' modules may lie."""
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    found = []
    for entry in sys.path:
        path = os.path.realpath(entry or os.getcwd())
        if not os.path.exists(path) or any(path.startswith(prefix + os.sep) for prefix in prefixes):
            continue
        found.append(path)
    return found
