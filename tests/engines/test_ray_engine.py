"""Our executor on a real local Ray: the checks that every engine passes (slow), and a few of them always."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign_clusters import Clusters

from futures_cluster.testing import real_cluster
from futures_cluster.testing.engine_checks import CHECKS, ENGINES

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.slow,
]


def needs_one_worker(name: str) -> bool:
    """Checks that ask for the same number of workers run together, as Ray takes seconds to start."""
    return (
        "max_workers=1"
        in Path(CHECKS[name].function.__code__.co_filename).read_text().split(f"def {name}(")[1].split("\ndef ")[0]
    )


class Checks:
    """The process that runs the checks."""

    def __init__(self, stderr: Path, *address: str) -> None:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ray_checks.py")), *address]
        self._stderr = stderr
        with stderr.open("w") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
            )
        real_cluster.shared_pids.add(self.process.pid)

    def run(self, name: str) -> str:
        """The traceback of a check, or ""."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(name, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            end = self._stderr.read_text(errors="replace")[-4000:]
            pytest.fail(f"the process with Ray has ended ({self.process.wait()}); the end of its stderr:\n{end}")
        return str(json.loads(answer))

    def close(self) -> None:
        self.process.communicate(timeout=60)
        real_cluster.shared_pids.discard(self.process.pid)


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checks]:
    checks = Checks(tmp_path_factory.mktemp("ray") / "stderr")
    yield checks
    checks.close()


@pytest.mark.parametrize(
    "name",
    sorted([name for name, check in CHECKS.items() if check.is_meant_for(ENGINES["ray"].traits)], key=needs_one_worker),
)
def test_engine(name: str, checks: Checks) -> None:
    assert checks.run(name) == ""


# ---------------------------------------------------------------- ray://, by Ray's client


@pytest.fixture(scope="module")
def checks_by_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checks]:
    """The same through a server of Ray's client, beside a Ray with two CPUs."""
    pytest.importorskip("grpc", reason="ray[client] is not installed")
    folder = tmp_path_factory.mktemp("ray-client")
    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        clusters = Clusters("ray")
        command = [sys.executable, "-m", "ray.util.client.server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--address", clusters.address(num_cpus=2), "--mode", "specific-server"]
        with (folder / "server").open("w") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        real_cluster.shared_pids.add(server.pid)
        checks = Checks(folder / "stderr", f"ray://127.0.0.1:{port}")
        yield checks
        checks.close()
        server.kill()
        server.wait()
        real_cluster.shared_pids.discard(server.pid)
        clusters.close()


@pytest.mark.parametrize(
    "name",
    [
        *("check_submit_callables", "check_errors", "check_running", "check_cancel_force", "check_timeout"),
        *("check_scatter_and_gather", "check_futures_as_arguments", "check_as_completed_grows", "check_dask_persist"),
        *("check_callbacks_wait", "check_callbacks_raise"),
    ],
)
def test_by_ray_s_client(name: str, checks_by_client: Checks) -> None:
    assert checks_by_client.run(name) == ""
