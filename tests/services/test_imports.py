"""Libraries are adapted as soon as a process that runs tasks has imported them."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from futures_cluster import context
from futures_cluster.services.worker import import_hooks

# pytest itself loads what is named like a test, by one loader for all.
LIBRARY = "library_to_adapt"
ADAPTER = "adapter_of_library"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a library, and an adapter that counts its calls in it."""
    (tmp_path / f"{LIBRARY}.py").write_text("calls = []\nready = True\n")
    (tmp_path / f"{ADAPTER}.py").write_text(
        f"import {LIBRARY}\n\n\ndef adapt():\n    {LIBRARY}.calls.append({LIBRARY}.ready)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(context, "ADAPTERS", {(LIBRARY, "ready"): f"{ADAPTER}:adapt"})
    monkeypatch.setattr(context, "_adapted", set())
    import_hooks.adapt_process(dask_in_tasks=False)
    yield tmp_path
    for name in (LIBRARY, ADAPTER):
        sys.modules.pop(name, None)


def test_it_is_adapted_once_it_is_there(folder: Path) -> None:
    library = importlib.import_module(LIBRARY)
    assert library.calls == [True]
    assert "exec_module" not in vars(library.__spec__.loader)
    importlib.reload(library)
    assert library.calls == [], "adapted anew, though it has the adapter"


def test_the_adapter_itself_may_be_what_imports_it(folder: Path) -> None:
    importlib.import_module(ADAPTER)
    library = sys.modules[LIBRARY]
    assert library.calls == []  # there is no function yet
    context.load_adapters()
    context.load_adapters()
    assert library.calls == [True]


def test_an_import_that_fails_may_succeed_later(folder: Path) -> None:
    path = folder / f"{LIBRARY}.py"
    source = path.read_text()
    path.write_text("raise RuntimeError('not yet')\n")
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(LIBRARY)
    path.write_text(source + "\n# now\n")
    importlib.invalidate_caches()
    assert importlib.import_module(LIBRARY).calls == [True]


def test_a_version_that_the_adapter_does_not_know(folder: Path) -> None:
    (folder / f"{ADAPTER}.py").write_text(f"from {LIBRARY} import something_else\n")
    assert importlib.import_module(LIBRARY).ready


def test_others_find_what_they_find(folder: Path) -> None:
    """A package of the same name inside of another one is another library; finders of an old kind are passed over."""
    package = folder / "package_of_this_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / f"{LIBRARY}.py").write_text("ready = True\n")
    importlib.import_module(f"package_of_this_test.{LIBRARY}")
    assert ADAPTER not in sys.modules
    assert importlib.util.find_spec("no_such_library_of_this_test") is None
    sys.meta_path.insert(1, ModuleType("a finder without find_spec"))  # type: ignore[arg-type]
    watch = sys.meta_path[0]
    spec = watch.find_spec(LIBRARY, None)
    assert spec is not None and spec.name == LIBRARY


def test_a_library_in_an_archive(folder: Path) -> None:
    """There one loader is for all modules; looking for the library does not import it."""
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.write(folder / f"{LIBRARY}.py", f"{LIBRARY}.py")
    (folder / f"{LIBRARY}.py").unlink()
    sys.path.insert(0, str(folder / "archive.zip"))
    for _ in range(2):
        assert importlib.util.find_spec(LIBRARY) is not None
    library = importlib.import_module(LIBRARY)
    assert library.calls == [True] and "archive.zip" in str(library.__file__)
    assert "exec_module" not in vars(library.__spec__.loader)


def test_one_watch_is_enough(folder: Path) -> None:
    before = list(sys.meta_path)
    import_hooks.adapt_process(dask_in_tasks=False)
    assert sys.meta_path == before
