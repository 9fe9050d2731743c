"""Which content of users' modules a process has loaded, as far as it can know."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from futures_cluster import messages as m
from futures_cluster.services.client.module_news import ModuleNews
from futures_cluster.services.common.modules import OLDER, LoadedModules, Version, digest_of, version_of
from futures_cluster.services.scheduler.module_relay import CodeRelay
from futures_cluster.services.worker.uploaded_modules import ClientModules

NAME = "module_with_versions"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module, in ``sys.path``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    write(tmp_path, "1")
    yield tmp_path
    sys.modules.pop(NAME, None)


def write(folder: Path, value: str) -> bytes:
    source = f"value = {value}\n".encode()
    (folder / f"{NAME}.py").write_bytes(source)
    return source


def load() -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(NAME)


class TestVersions:
    def test_a_users_module(self, folder: Path) -> None:
        version = version_of(load().__spec__)
        assert version is not None
        assert version[:2] == (NAME, str(folder / f"{NAME}.py")) and version.digest == digest_of(b"value = 1\n")
        assert str(folder) in str(version) and version.digest[:8] in str(version)

    def test_what_is_not_the_users(self) -> None:
        for module in (json, sys, pytest, importlib.import_module("futures_cluster.errors")):
            assert version_of(module.__spec__) is None
        assert version_of(None) is None

    def test_an_archive_has_the_digest_of_the_module_in_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
            archive.writestr(f"{NAME}.py", "value = 1\n")
        monkeypatch.syspath_prepend(str(tmp_path / "code.zip"))
        version = version_of(importlib.util.find_spec(NAME))
        assert version is not None and version.digest == digest_of(b"value = 1\n")
        assert version.size == (tmp_path / "code.zip").stat().st_size

    def test_a_file_that_is_gone(self, folder: Path) -> None:
        spec = load().__spec__
        (folder / f"{NAME}.py").unlink()
        assert version_of(spec) is None


class TestLoaded:
    def test_edited_files(self, folder: Path) -> None:
        loaded = LoadedModules()
        spec = load().__spec__
        assert spec is not None
        loaded.note(spec)
        assert loaded.edited() == []
        os.utime(folder / f"{NAME}.py")
        assert loaded.edited() == []
        write(folder, "22")
        ((before, now),) = loaded.edited()
        assert (before.digest, now.digest) == (digest_of(b"value = 1\n"), digest_of(b"value = 22\n"))
        del sys.modules[NAME]
        assert loaded.edited() == [], "it is not loaded any longer"

    def test_a_module_that_is_imported_again(self, folder: Path) -> None:
        loaded = LoadedModules()
        load()
        loaded.look()
        before = loaded.versions[NAME].digest
        write(folder, "22")
        loaded.look(NAME)
        assert loaded.versions[NAME].digest == before
        del sys.modules[NAME]
        load()
        loaded.look(NAME)
        assert loaded.versions[NAME].digest == digest_of(b"value = 22\n")

    def test_a_copy_of_the_process_made_while_a_module_is_loaded_again(self, folder: Path) -> None:
        """A reload notes what it is about to execute."""
        path = folder / f"{NAME}.py"
        path.write_text("def answer():\n    return 1\n")
        module = load()
        loaded = LoadedModules()
        loaded.look()
        path.write_text("def answer():\n    return 22\n")
        former = loaded.versions[NAME]
        loaded.look_after_fork()
        assert loaded.versions[NAME] == former  # which this process has, whatever the file has by now
        assert module.__spec__ is not None
        loaded.note(module.__spec__)
        current = loaded.versions[NAME]
        loaded.look_after_fork()
        assert loaded.versions[NAME].digest == OLDER
        importlib.reload(module)
        loaded.note(module.__spec__)
        loaded.look_after_fork()
        assert loaded.versions[NAME].digest == current.digest

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_copy_made_during_a_reload_is_out_of_date(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
    ) -> None:
        """One that was made after a reload that has failed is as good as any later one."""
        path = folder / f"{NAME}.py"
        path.write_text("def answer():\n    return 1\n")
        module = load()
        loaded = LoadedModules()
        loaded.look()
        out_of_date: list[str] = []

        def fork() -> None:
            assert module.__spec__ is not None
            loaded.note(module.__spec__)
            loaded.look_after_fork()
            out_of_date.extend(before.digest for before, _ in loaded.edited())
            assert not fails, "the reload"

        monkeypatch.setattr(importlib, "fork", fork, raising=False)
        path.write_text("import importlib\nimportlib.fork()\n\n\ndef answer():\n    return 22\n")
        with pytest.raises(AssertionError, match="the reload") if fails else contextlib.nullcontext():
            importlib.reload(module)
        assert out_of_date == [OLDER]
        loaded.look_after_fork()
        assert loaded.edited() == []

    def test_a_file_that_was_edited_before_the_first_look(self, folder: Path) -> None:
        path = folder / f"{NAME}.py"
        path.write_text("class C:\n    def answer(self):\n        return 1\n")
        load()
        loaded = LoadedModules()
        loaded.look()
        assert loaded.versions[NAME].digest == digest_of(path.read_bytes())
        path.write_text("class C:\n    def answer(self):\n        return 22\n")
        loaded = LoadedModules()
        loaded.look()
        assert loaded.versions[NAME].digest == OLDER
        assert "as it was before" in str(loaded.versions[NAME])


class TestNews:
    def test_each_version_is_told_once(self, folder: Path) -> None:
        told: list[list[Version]] = []
        news = ModuleNews(told.append)
        news.look(len)
        assert not news.is_behind
        module = load()
        assert news.is_behind
        told.clear()
        news.look(len)
        news.look(len)
        assert [[version.name for version in versions] for versions in told] == [[NAME]]
        importlib.reload(module)
        assert len(told) == 1
        write(folder, "22")
        importlib.reload(module)
        assert [version.digest for version in told[1]] == [digest_of(b"value = 22\n")]
        assert module.value == 22


class TestClients:
    """What several clients bring to one worker."""

    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            write(tmp_path / name, f"'{name}'")
        yield str(tmp_path / "a"), str(tmp_path / "b")
        sys.modules.pop(NAME, None)

    def test_folders_stay_as_long_as_one_client_has_them(self, folders: tuple[str, str]) -> None:
        a, b = folders
        clients = ClientModules(None, LoadedModules(), lambda: "one")
        clients.take(m.ShareCode("one", [a]))
        clients.take(m.ShareCode("two", [a, b]))
        module = load()
        clients.forget("one")
        assert a in sys.path and b in sys.path and sys.modules[NAME] is module
        clients.forget("two")
        assert a not in sys.path and b not in sys.path and NAME not in sys.modules
        assert a not in sys.path_importer_cache

    def test_a_folder_of_the_worker_itself_stays(self, folders: tuple[str, str]) -> None:
        a, _ = folders
        sys.path.append(a)
        clients = ClientModules(None, LoadedModules(), lambda: "one")
        clients.take(m.ShareCode("one", [a]))
        module = load()
        clients.forget("one")
        assert a in sys.path and sys.modules[NAME] is module

    def test_each_client_finds_its_own(self, folders: tuple[str, str]) -> None:
        running = "two"
        clients = ClientModules(None, LoadedModules(), lambda: running)
        for name, folder in zip(("one", "two"), folders, strict=True):
            source = (Path(folder) / f"{NAME}.py").read_bytes()
            version = Version(NAME, f"{folder}/{NAME}.py", 1, len(source), digest_of(source))
            clients.take(m.ShareCode(name, [folder], versions=[tuple(version)]))
        spec = importlib.util.find_spec(NAME)
        assert spec is not None and spec.origin == f"{folders[0]}/{NAME}.py"
        clients.check()
        running = "one"
        clients.check()
        running = "two"
        spec = clients.found(spec)
        assert spec.origin == f"{folders[1]}/{NAME}.py"
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        clients.check()
        running = "one"
        with pytest.raises(ImportError, match=r"client two, .*/b/.*client one has another one, .*/a/"):
            clients.check()
        clients.forget("two")
        clients.check()

    def test_a_client_that_has_not_imported_its_own_module(self, folders: tuple[str, str]) -> None:
        running = "one"
        clients = ClientModules(None, LoadedModules(), lambda: running)
        for name, folder in zip(("one", "two"), folders, strict=True):
            clients.take(m.ShareCode(name, [folder]))
        spec = importlib.util.find_spec(NAME)
        assert spec is not None
        sys.modules[NAME] = importlib.util.module_from_spec(clients.found(spec))
        clients.check()
        running = "two"
        with pytest.raises(ImportError, match="only one module of a name"):
            clients.check()
        clients.take(m.ShareCode("three", [folders[1]]))
        running = "three"
        with pytest.raises(ImportError, match="only one module of a name"):
            clients.check()
        clients.forget("one")
        clients.check()

    def test_uploads_are_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", list(sys.path))
        clients = ClientModules(str(tmp_path), LoadedModules(), lambda: "one")
        for name in ("one", "two", "three"):
            clients.take(m.ShareCode(name, files=[(f"{NAME}.py", b"value = 1\n")]))
        assert len(os.listdir(tmp_path)) == 3
        clients.forget("two")
        assert len(os.listdir(tmp_path)) == 2
        clients.close()
        assert os.listdir(tmp_path) == []


def test_workers_that_come_later_hear_the_newest() -> None:
    sent: list[m.Message] = []
    workers = {"w": sent.extend}
    relay = CodeRelay(workers)
    relay.joined("early")  # its connection is lost already
    first, second = ((NAME, "file", number, number, f"digest {number}") for number in (1, 2))
    relay.share(m.ShareCode("one", ["folder"], [("a.py", b"1")], [first]))
    relay.share(m.ShareCode("one", ["folder"], [("a.py", b"2"), ("b.py", b"3")], [second]))
    relay.share(m.ShareCode("two", ["other"]))
    assert sent == []  # it has not joined yet
    relay.forget("two")
    relay.joined("w")
    assert sent == [m.ShareCode("one", ["folder"], [("a.py", b"2"), ("b.py", b"3")], [second])]
