"""The wheel and the sdist, as users get them: built, checked, installed without extras, and used.

Covers: what the two archives hold, their metadata, and each backend that needs no extra. Does not cover: the extras,
which the rest of the tests use from the checkout. Needs PyPI for the build tools and for the dependencies.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

import futures_cluster

ROOT = Path(__file__).resolve().parents[2]
PIP_LIMIT_S = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * PIP_LIMIT_S)]

#: What a bare installation runs. The commands of a cluster are those of the installed package.
BARE_PROGRAM = """
import importlib.util, pathlib, sys, urllib.request
import futures_cluster
from futures_cluster import Executor

assert pathlib.Path(futures_cluster.__file__).is_relative_to(sys.prefix), futures_cluster.__file__
extras = [name for name in ("numpy", "pandas", "dask", "joblib", "zmq") if importlib.util.find_spec(name)]
assert not extras, f"not bare: {extras}"

backend, folder = sys.argv[1:]
if backend == "tcp":
    from futures_cluster.testing.real_cluster import Cluster

    with Cluster(pathlib.Path(folder)) as cluster:
        cluster.add_worker()
        with cluster.executor() as ex:
            assert ex.submit(lambda x: x + 1, 41).result(timeout=60) == 42
elif backend == "default":
    with Executor() as ex:
        assert ex.submit(lambda x: x + 1, 41).result(timeout=60) == 42
        page = urllib.request.urlopen(ex.status_url).read()
        assert b"</html>" in page, page
else:
    with Executor(1, backend=backend) as ex:
        assert ex.submit(lambda x: x + 1, 41).result(timeout=60) == 42
print("done")
"""


def environment() -> dict[str, str]:
    """Return the environment without what would lead a new Python back to the checkout."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith(("FUTURES_CLUSTER", "COV"))
    }


def run(*command: str | Path, folder: Path, limit_s: float = PIP_LIMIT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
    )


def run_well(*command: str | Path, folder: Path) -> str:
    done = run(*command, folder=folder)
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}"
    return done.stdout


def new_environment(folder: Path) -> Path:
    """Make a virtual environment; return its Python."""
    run_well(sys.executable, "-m", "venv", folder, folder=folder.parent)
    return folder / "bin" / "python"


@dataclass
class Archives:
    """The wheel, the sdist, and a Python that has twine."""

    wheel: Path
    sdist: Path
    tools: Path

    def names(self) -> list[str]:
        """Return the files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return HeaderParser().parsestr(archive.read(name).decode())

    def sdist_names(self) -> list[PurePosixPath]:
        """Return the files of the sdist, without its folder."""
        with tarfile.open(self.sdist) as archive:
            return [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Build both; the build makes the wheel of the sdist, so the sdist has all that the wheel needs."""
    folder = tmp_path_factory.mktemp("archives")
    tools = new_environment(folder / "tools")
    installed = run(tools, "-m", "pip", "install", "--quiet", "--retries=1", "build", "twine", folder=folder)
    if installed.returncode != 0:
        pytest.skip(f"pip could not install build and twine: {installed.stdout.strip()[-500:]}")
    run_well(tools, "-m", "build", "--outdir", folder / "dist", ROOT, folder=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Archives(wheel, sdist, tools)


@pytest.fixture(scope="module")
def bare_python(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras; return the Python of that environment."""
    folder = tmp_path_factory.mktemp("bare")
    python = new_environment(folder / "environment")
    run_well(python, "-m", "pip", "install", "--quiet", archives.wheel, folder=folder)
    return python


def test_twine_finds_nothing(archives: Archives) -> None:
    run_well(
        archives.tools, "-m", "twine", "check", "--strict", archives.wheel, archives.sdist, folder=archives.wheel.parent
    )


def test_the_wheel_has_the_package_and_nothing_else(archives: Archives) -> None:
    names = archives.names()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"futures_cluster"}
    checkout = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "futures_cluster").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert checkout <= set(names)
    assert "futures_cluster/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_metadata_has_the_version_of_the_package(archives: Archives) -> None:
    assert archives.metadata()["Version"] == futures_cluster.__version__


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "pyproject.toml",
        "tox.ini",
        ".ci/run",
        "docs/architecture.md",
        "docs/images/status-demo.png",
        "examples",
        "benchmarks/peers.py",
        "tests/conftest.py",
        "tests/selection.txt",
        "tests/packaging/test_wheel.py",
    ],
)
def test_the_sdist_has(archives: Archives, name: str) -> None:
    names = archives.sdist_names()
    assert any(path.is_relative_to(name) for path in names), sorted({path.parts[:1] for path in names})


def test_the_sdist_has_no_traces_of_work(archives: Archives) -> None:
    traces = ("__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".venv")
    assert [path for path in archives.sdist_names() if set(path.parts) & set(traces)] == []


@pytest.mark.parametrize("backend", ["default", "processes", "threads", "sync", "tcp"])
def test_a_bare_installation_runs_a_task(bare_python: Path, tmp_path: Path, backend: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(BARE_PROGRAM)
    assert run_well(bare_python, "-W", "error", program, backend, tmp_path, folder=tmp_path) == "done\n"


def test_the_command_of_a_bare_installation(bare_python: Path, tmp_path: Path) -> None:
    command = bare_python.parent / "futures-cluster"
    shown = run_well(command, "--version", folder=tmp_path)
    assert shown == f"futures-cluster {futures_cluster.__version__}\n"
