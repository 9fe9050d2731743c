"""Which content of the user's modules a process has loaded.

Covers: what counts as a user's module, its version (the file and a hash of its source), noting versions as modules are
imported (``note``) or when a client first looks (``look``), and finding those whose files were edited since.
Does not cover: telling them (``module_news``, in clients) and acting on them (``uploaded_modules``, on workers).

Modules of the standard library and of installed distributions have no version here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from futures_cluster import clocks
from futures_cluster.wire.codec.main_modules import MAIN, MP_MAIN

_STANDARD = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OWN = __name__.partition(".")[0]
#: Of larger files (archives, extension modules) only the size is compared.
MAX_HASHED_BYTES = 16 * 2**20
#: In the place of the digest of a content that is in no file.
OLDER = "older"


class Version(NamedTuple):
    """One content of a module.

    Attributes
    ----------
    name : str
        Of the module.
    file : str
        Where the process has found it.
    changed_ns : int
        When the file was last written, in nanoseconds of the clock of its file system.
    size : int
        Of the file.
    digest : str
        Of the module's source; the same for the same source in another file. ``OLDER`` if it was loaded before the file
        was written as it is now.
    """

    name: str
    file: str
    changed_ns: int
    size: int
    digest: str

    def __str__(self) -> str:
        seconds, rest_ns = divmod(self.changed_ns, 10**9)
        written = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest_ns // 10**6:03}"
        if self.digest == OLDER:
            return f"{self.file} (as it was before it was written {written})"
        return f"{self.file} (written {written}, hash {self.digest[:8]})"


def digest_of(source: bytes) -> str:
    """Return the digest of a module's source."""
    if len(source) > MAX_HASHED_BYTES:
        return f"{len(source)} bytes"
    return hashlib.sha1(source, usedforsecurity=False).hexdigest()[:20]


def version_of(spec: ModuleSpec | None) -> Version | None:
    """Return the version of a user's module by its file now, or None."""
    if spec is None or not spec.has_location or not _is_users(spec.name, spec.origin):
        return None
    loader: Any = spec.loader
    origin = str(spec.origin)
    file = str(getattr(loader, "archive", origin))
    with contextlib.suppress(Exception):  # it was deleted, or is no file
        facts = os.stat(file)  # first: what is written after this is seen as another version
        return Version(spec.name, origin, facts.st_mtime_ns, facts.st_size, digest_of(loader.get_data(origin)))
    return None


def _is_users(name: str, origin: Any) -> bool:
    if type(origin) is not str or name in (MAIN, MP_MAIN) or name.partition(".")[0] == _OWN:
        return False
    return not (origin.startswith(_STANDARD) or any(part in origin for part in _INSTALLED))


@functools.cache
def _started_ns() -> int:
    """Return when this process was started, by the system's clock, or 0."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # the name before may have any characters
        age_s = clocks.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return int((clocks.time() - age_s) * 1e9)
    except (OSError, AttributeError, ValueError):
        return 0


def _has_code_of(module: ModuleType, spec: ModuleSpec) -> bool:
    """Return whether the functions of a module have the code that its file has now."""
    loader: Any = spec.loader
    if not hasattr(loader, "source_to_code"):
        return True  # its source is not in a file of its own
    origin = str(spec.origin)
    try:
        known = set(_all_codes(loader.source_to_code(loader.get_data(origin), origin)))
    except (OSError, SyntaxError):
        return False
    values = list(vars(module).values())
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == spec.name:
            values.extend(vars(value).values())
    codes = [value.__code__ for value in values if type(value) is FunctionType]
    return all(code in known for code in codes if code.co_filename == origin)


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_codes(constant)


class LoadedModules:
    """The versions of the user's modules in this process.

    Attributes
    ----------
    versions : dict
        By the module's name. Modules that were found but never imported may be in it, too.
    changes : int
        How often a version was noted.
    """

    def __init__(self) -> None:
        self.versions: dict[str, Version] = {}
        self.changes = 0
        self._specs: dict[str, ModuleSpec] = {}
        self._seen: set[str] = set()  # names of modules that ``look`` has looked at
        self._foreign: set[str] = set()  # packages that are not the user's
        self._half_reloaded: set[str] = set()  # names of modules that a thread of the forking process was reloading

    def note(self, spec: ModuleSpec) -> Version | None:
        """Note the version of a module that is about to be executed."""
        version = version_of(spec)
        if version is not None:
            self.versions[spec.name] = version
            self._specs[spec.name] = spec
            self.changes += 1
        return version

    def look(self, name: str | None = None) -> None:
        """Note what was imported since the last look, or imported again."""
        if name in self._specs and getattr(sys.modules.get(name), "__spec__", None) is not self._specs[name]:
            self._seen -= self._specs.keys()
        if len(sys.modules) == len(self._seen):
            return
        for each, module in list(sys.modules.items()):  # a package comes before what is in it
            if each in self._seen:
                continue
            self._seen.add(each)
            top, _, inner = each.partition(".")
            if top in self._foreign:
                continue
            spec = getattr(module, "__spec__", None)
            if isinstance(spec, ModuleSpec) and spec.name == each and spec is not self._specs.get(each):
                if spec.origin is not None and not _is_users(each, spec.origin):
                    if not inner:
                        self._foreign.add(top)
                elif (version := self.note(spec)) is not None:
                    self._compare_code(module, spec, version)  # executed some time ago, perhaps from an older file
        self._seen &= sys.modules.keys()

    def look_after_fork(self) -> None:
        """Note the modules of the forking process, which may have been loading some.

        A reload notes a module before it executes it: a copy of the process made in between has the former content, and
        stays behind when the reload has ended. After a reload that has failed, all copies have that content.
        """
        self.look()
        self._half_reloaded = set(getattr(importlib, "_RELOADING", ()))
        for name, version in list(self.versions.items()):
            if name in sys.modules and version.digest != OLDER and self._is_untouched(name, version):
                self._compare_code(sys.modules[name], self._specs[name], version)

    def _compare_code(self, module: ModuleType, spec: ModuleSpec, version: Version) -> None:
        if version.changed_ns > _started_ns() and not _has_code_of(module, spec):
            self.versions[spec.name] = version._replace(digest=OLDER)

    def accept_edited(self) -> bool:
        """Take edited modules as loaded from the new files; return whether there are any."""
        edited = self.edited()
        self.versions.update((now.name, now) for _, now in edited)
        return bool(edited)

    def edited(self) -> list[tuple[Version, Version]]:
        """Return the modules whose files have changed, each with both versions."""
        found = []
        for name, version in list(self.versions.items()):
            if name not in sys.modules or (name not in self._half_reloaded and self._is_untouched(name, version)):
                continue
            now = version_of(self._specs.get(name))
            if now is not None and now.digest == version.digest:
                self.versions[name] = now  # written again, with the same content
            elif now is not None:
                found.append((version, now))
        return found

    def _is_untouched(self, name: str, version: Version) -> bool:
        file = getattr(self._specs[name].loader, "archive", version.file)
        try:
            facts = os.stat(file)
        except OSError:
            return True  # nothing else could be loaded
        return facts.st_mtime_ns == version.changed_ns and facts.st_size == version.size

    def forget(self, names: Iterable[str]) -> None:
        """Forget modules that are no longer loaded."""
        for name in names:
            self.versions.pop(name, None)
            self._specs.pop(name, None)


#: Of this process.
loaded = LoadedModules()
