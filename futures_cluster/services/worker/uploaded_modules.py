"""Clients' modules on workers: whose they are, which versions, and their end with the client.

Covers: folders of a client's ``sys.path`` that are there as well, files that a client uploads, noticing that this
process has other versions of modules than a client. Does not cover: functions, which travel with the tasks
(``function_table``), versions themselves (``modules``), and starting fresh processes (``worker_pool``).

A process can have one module of a name, and no module can be unloaded for certain: others have its objects. So a
module that was edited is not loaded again here. The worker retires, and a fresh process takes its place.

Archives are rare, and ``zipfile`` takes longer to import than all else here, so functions import it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from futures_cluster import messages as m
from futures_cluster.services.client.module_upload import ARCHIVES
from futures_cluster.services.common.modules import LoadedModules, Version, digest_of, version_of
from futures_cluster.wire.private_files import make_temporary_folder

log = logging.getLogger("futures_cluster.worker")


class _Client:
    """What one client has brought."""

    def __init__(self) -> None:
        self.folder: str | None = None  # of what it has uploaded
        self.paths: dict[str, None] = {}  # where its modules are looked for
        self.versions: dict[str, Version] = {}  # what it has loaded itself, or uploaded


class ClientModules:
    """What this process can import for clients besides what is installed.

    Parameters
    ----------
    parent : str or None
        Folder for what is uploaded.
    loaded : LoadedModules
        Of this process.
    running : callable
        The name of the client whose function this thread loads or runs; "" if that is not known.

    Attributes
    ----------
    conflicts : dict
        By client: its modules that this process cannot have, because it has another client's of that name.
    """

    def __init__(self, parent: str | None, loaded: LoadedModules, running: Callable[[], str]) -> None:
        self._parent = parent
        self._loaded = loaded
        self._running = running
        self._clients: dict[str, _Client] = {}
        self._added: set[str] = set()  # the entries of ``sys.path`` that are here for clients only
        self._warned: set[tuple[str, str, str]] = set()
        self.conflicts: dict[str, dict[str, Version]] = {}

    # ---------------------------------------------------------------- a client comes, tells, goes

    def take(self, message: m.ShareCode) -> str:
        """Take what a client says of its modules.

        Returns
        -------
        reason : str
            Why only a fresh process can run the client's tasks; "" if this one can.
        """
        # The processes of one program (its client has no name) have nothing from before it came; forked ones have what
        # the program has loaded, edited since or not.
        is_new = message.client not in self._clients and bool(message.client)
        client = self._clients.setdefault(message.client, _Client())
        for path in message.paths:
            if path in self._added:
                client.paths[path] = None
            elif path not in sys.path and os.path.exists(path):
                sys.path.append(path)
                self._added.add(path)
                client.paths[path] = None
        for name, content in message.files:
            self._write(client, os.path.basename(name), content)
        told = {row[0]: Version(*row) for row in message.versions}
        client.versions.update(told)
        importlib.invalidate_caches()
        if is_new or message.files or told:
            for have, now in self._loaded.edited():
                is_uploaded = bool(message.files) and have.file.startswith(f"{client.folder}{os.sep}")
                # A client that was here before may have the old version as well, unless it says that it has not.
                if is_new or is_uploaded or told.get(have.name, have).digest != have.digest:
                    return f"the module {have.name!r} was loaded from {have}, which has changed; now it is {now}"
        for name in list(self._loaded.versions):
            if name in sys.modules:
                self._find_conflicts(name, _root(name), [message.client])
        for version in told.values():
            self._compare(message.client, version)
        return ""

    def _write(self, client: _Client, name: str, content: bytes) -> None:
        if client.folder is None:
            client.folder = make_temporary_folder("futures_cluster-code-", self._parent)
            self._add_first(client, client.folder)
        path = os.path.join(client.folder, name)
        # Not written in place: another thread may be about to import it.
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.replace(path + ".new", path)
        ending = os.path.splitext(name)[1]
        if ending in ARCHIVES:
            self._add_first(client, path)
            import zipfile

            with zipfile.ZipFile(path) as archive:
                sources = {member: archive.read(member) for member in archive.namelist() if _is_top(member)}
        else:
            sources = {name: content}
            # Bytecode is told from older by the time in seconds and the size: not enough for a second upload.
            with contextlib.suppress(OSError, NotImplementedError):
                os.unlink(importlib.util.cache_from_source(path))
        facts = os.stat(path)
        for member, source in sources.items():
            stem = member.partition("/")[0].removesuffix(".py")
            place = path if ending not in ARCHIVES else os.path.join(path, member)
            client.versions[stem] = Version(stem, place, facts.st_mtime_ns, facts.st_size, digest_of(source))

    def _add_first(self, client: _Client, path: str) -> None:
        if path not in sys.path:
            sys.path.insert(0, path)
        self._added.add(path)
        client.paths = {path: None, **client.paths}

    def forget(self, name: str) -> None:
        """Forget a client that is gone, and remove what only it has brought."""
        client = self._clients.pop(name, None)
        if client is None:
            return
        gone = {path for path in client.paths if not any(path in other.paths for other in self._clients.values())}
        self._added -= gone
        for path in gone:
            while path in sys.path:
                sys.path.remove(path)
        for path in list(sys.path_importer_cache):
            if any(path == each or path.startswith(each + os.sep) for each in gone):
                sys.path_importer_cache.pop(path, None)
        tops = {each for each in list(sys.modules) if "." not in each and _root(each) in gone}
        names = [each for each in list(sys.modules) if each.partition(".")[0] in tops]
        for each in names:
            sys.modules.pop(each, None)
        self._loaded.forget(names)
        self._warned = {row for row in self._warned if row[0] != name}
        self.conflicts.pop(name, None)
        for each, modules in list(self.conflicts.items()):
            for module in modules.keys() & set(names):
                del modules[module]
            if not modules:
                del self.conflicts[each]
        if client.folder is not None:
            shutil.rmtree(client.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove what was uploaded."""
        for client in self._clients.values():
            if client.folder is not None:
                shutil.rmtree(client.folder, ignore_errors=True)

    # ---------------------------------------------------------------- imports, and functions that are loaded

    def found(self, spec: ModuleSpec) -> ModuleSpec:
        """Return what is to be imported in the place of what the finders have found.

        Of two clients' modules of one name each client gets its own, whichever comes first in ``sys.path``.
        """
        client = self._clients.get(self._running())
        is_top = "." not in spec.name
        if client is not None and is_top:
            root = _root_of_spec(spec)
            if root in self._added and root not in client.paths:
                spec = PathFinder.find_spec(spec.name, list(client.paths)) or spec
        if self._loaded.note(spec) is not None and len(self._clients) > 1:
            root = _root_of_spec(spec) if is_top else _root(spec.name)
            self._find_conflicts(spec.name, root, self._clients)
        return spec

    def _find_conflicts(self, module: str, root: str, clients: Iterable[str]) -> None:
        """Note which clients have another module of that name than ``root``'s."""
        have = self._loaded.versions.get(module)
        if have is None or root not in self._added:
            return
        for name in list(clients):  # another thread may take or forget one
            client = self._clients.get(name)
            if client is None or root in client.paths:
                continue
            theirs = client.versions.get(module)
            if theirs is None and "." not in module:
                theirs = version_of(PathFinder.find_spec(module, list(client.paths)))
            if theirs is not None and theirs.digest != have.digest:
                self.conflicts.setdefault(name, {})[module] = theirs

    def check(self) -> None:
        """Compare the modules of this process with those of the running client.

        Raises
        ------
        ImportError
            When one belongs to another client, and the running one has another module of that name.
        """
        name = self._running()
        for module, theirs in list(self.conflicts.get(name, {}).items()):
            have, root = self._loaded.versions.get(module, theirs), _root(module)
            owners = [each for each, client in list(self._clients.items()) if root in client.paths]
            raise ImportError(
                f"the module {module!r} of this worker is that of the client {' and '.join(owners)}, {have}; the "
                f"client {name} has another one, {theirs}, and a process can have only one module of a name. Rename "
                "one of them, wait until the other client has left, or use another cluster",
                name=module,
            )
        client = self._clients.get(name)
        if client is not None:
            for version in list(client.versions.values()):
                self._compare(name, version)

    def _compare(self, name: str, version: Version) -> None:
        have = self._loaded.versions.get(version.name)
        if have is None or have.digest == version.digest or version.name not in sys.modules:
            return
        mark = (name, version.name, have.digest)
        if mark in self._warned or version.name in self.conflicts.get(name, {}):
            return
        self._warned.add(mark)
        log.warning(
            "the module %r is not the same here and in the program that submits the tasks: the worker has loaded %s, "
            "the program %s. If the file was edited after the program had imported it, restart the program or "
            "reload the module there; else bring the files up to date, and call restart_workers() of the executor, "
            "which puts fresh processes in the place of all workers",
            version.name,
            have,
            version,
        )


def _is_top(member: str) -> bool:
    """Return whether a member of an archive is a module or package at the top level."""
    parts = member.split("/")
    return member.endswith(".py") and (len(parts) == 1 or (len(parts) == 2 and parts[1] == "__init__.py"))


def _root(module: str) -> str:
    """Return the entry of ``sys.path`` of a loaded module; "" without a file."""
    return _root_of_spec(getattr(sys.modules.get(module.partition(".")[0]), "__spec__", None))


def _root_of_spec(spec: Any) -> str:
    places = list(getattr(spec, "submodule_search_locations", None) or ())
    place = places[0] if places else getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None
    return os.path.dirname(place) if type(place) is str else ""
