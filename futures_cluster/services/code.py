"""Users' modules on workers of other machines.

Covers: folders of a client's ``sys.path`` that are there as well, files that a client uploads.
Does not cover: functions, which travel with the tasks (``functions``).

Archives are rare, and ``zipfile`` takes longer to import than all else here: who needs it imports it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
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
            import zipfile

            with zipfile.ZipFile(path) as archive:
                stems = {member.partition("/")[0].removesuffix(".py") for member in archive.namelist()}
        else:
            stems = {stem}
            # Bytecode is told from older by the time in seconds and the size: not enough for a second upload.
            with contextlib.suppress(OSError, NotImplementedError):
                os.unlink(importlib.util.cache_from_source(path))
        for module in list(sys.modules):
            if module.partition(".")[0] in stems:
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


def read_module(path: str) -> tuple[str, bytes]:
    """A file as it is uploaded; a folder becomes an archive of the package in it.

    Raises
    ------
    ValueError
        For anything that could not be imported.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        import zipfile

        buffer = io.BytesIO()
        parent = os.path.dirname(path)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(name for name in folders if name != "__pycache__")
                for name in sorted(files):
                    full = os.path.join(folder, name)
                    archive.write(full, os.path.relpath(full, parent))
        return os.path.basename(path) + ".zip", buffer.getvalue()
    if not path.endswith((".py", ".zip", ".whl", ".egg")):
        raise ValueError(f"{path} is neither a folder nor a .py, .zip, .whl or .egg file")
    with open(path, "rb") as file:
        return os.path.basename(path), file.read()
