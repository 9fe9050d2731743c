"""The status page of the scheduler's command, `status --watch`, and reports over a network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from status.looking import ask, eventually, read, refusal

from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire.versions import is_gil_enabled


def square(x: int) -> int:
    return x * x


def fail() -> None:
    raise ValueError("on purpose")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, "--status-port", "0") as cluster:
        yield cluster


def page_of(cluster: Cluster) -> str:
    return cluster.scheduler.log.partition("status page")[2].split()[0]


def test_the_page_of_a_scheduler(cluster: Cluster) -> None:
    cluster.add_worker("--workers", "2", "--memory-limit", "1GB")
    url = page_of(cluster)
    with cluster.executor() as ex:
        assert ex.status_url == url
        assert url in repr(ex)
        assert list(ex.map(square, range(50))) == [i * i for i in range(50)]
        failed = ex.submit(fail)
        assert isinstance(failed.exception(), ValueError)
        snapshot = eventually(lambda: (s := ask(url, "snapshot"))["failures"] and s["failures"][0]["text"] and s)
        rows = {row["name"]: row for row in snapshot["functions"]}
        assert (rows["square"]["finished"], rows["fail"]["raised"]) == (50, 1)
        assert [row["memory_limit"] for row in snapshot["workers"]] == [10**9, 10**9]
        assert all(row["memory_bytes"] > 1e6 for row in snapshot["workers"])
        eventually(lambda: all(row["gil_enabled"] is is_gil_enabled() for row in ask(url, "snapshot")["workers"]))
        assert snapshot["scheduler"]["gil_enabled"] is is_gil_enabled()
        assert snapshot["scheduler"]["addresses"] == [cluster.address]
        assert len(snapshot["clients"]) == 1
        # What was logged since the page is there, by the scheduler itself.
        assert any("joined" in line[4] for line in snapshot["logs"])
        assert b'futures_cluster_finished_total{function="square"} 50' in read(url, "metrics")


def test_a_report_of_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker()
    with cluster.executor() as ex:
        with ex.report(tmp_path / "run.html", "On a cluster"):
            assert ex.submit(square, 7).result() == 49
        text = (tmp_path / "run.html").read_text()
        assert "On a cluster" in text and '"name":"square"' in text
        eventually(lambda: ask(page_of(cluster), "snapshot")["viewers"] == 0)


def test_a_client_that_goes_looks_no_more(cluster: Cluster) -> None:
    cluster.add_worker()
    url = page_of(cluster)
    ex = cluster.executor()
    looking = ex.report(os.devnull)
    looking.__enter__()
    eventually(lambda: ask(url, "snapshot")["viewers"] == 1)
    ex.shutdown()
    eventually(lambda: ask(url, "snapshot")["viewers"] == 0)
    with pytest.raises(RuntimeError):
        looking.__exit__(None, None, None)


def test_the_table_again_and_again(cluster: Cluster) -> None:
    cluster.add_worker("--name", "anna")
    shown = cluster.run("status", cluster.address, "--watch", "0.05", "--number", "2")
    assert shown.count("workers    1 with 1 slot on 1 host") == 2
    assert shown.count("rate       0 tasks a second") == 1
    assert "anna" in shown


def test_elsewhere_the_page_has_a_token(tmp_path: Path) -> None:
    with Cluster(tmp_path, "--status-port", "0", "--status-host", "0.0.0.0") as cluster:
        found = re.search(r"status page +http://(\S+):(\d+)/\?token=(\S+)", cluster.scheduler.log)
        assert found is not None and found[1] == socket.gethostname()
        near = f"http://127.0.0.1:{found[2]}/"
        assert refusal(near, "api/v1/snapshot") == 403
        assert ask(near + f"?token={found[3]}", "snapshot")["workers"] == []


def test_no_page(tmp_path: Path) -> None:
    with Cluster(tmp_path, "--status-port", "none") as cluster:
        assert page_of(cluster) == "none"
        with cluster.executor() as ex, pytest.raises(RuntimeError, match="has no status page"):
            _ = ex.status_url


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The usual one: another one is found, and said. One that was asked for: an error."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with pytest.raises(AssertionError, match=r"it ended with 1(.|\n)*another process listens there"):
            Cluster(tmp_path, "--status-port", port)


def test_the_usual_port_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from futures_cluster.cli import commands

    asked: list[int] = []

    class Server:
        def serve_page(self, host: str, port: int) -> str:
            asked.append(port)
            if port:
                raise OSError("in use")
            return "http://127.0.0.1:5/"

    server: Any = Server()
    assert commands.serve_page(server, "127.0.0.1", None) == "http://127.0.0.1:5/ (port 8787 is taken)"
    assert asked == [8787, 0]
    assert commands.serve_page(server, "127.0.0.1", -1) == "none"


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    from futures_cluster import cli

    with pytest.raises(SystemExit):
        cli.main(["scheduler", "--status-port", port])
    assert "is not a port" in capsys.readouterr().err


def speak(i: int) -> None:
    print("task", i)


def test_what_tasks_print_on_a_cluster(cluster: Cluster) -> None:
    cluster.add_worker("--name", "anna")
    lines: list[Any] = []
    with cluster.executor() as ex:
        with ex.output(lines.append):
            futures = [ex.submit(speak, i) for i in range(3)]
            for future in futures:
                future.result()
    assert [(line.worker, line.key, line.text) for line in lines] == [
        ("anna", future.key, f"task {i}") for i, future in enumerate(futures)
    ]


@pytest.mark.slow
def test_a_crowd_at_the_page_keeps_no_worker_and_no_client_out(tmp_path: Path) -> None:
    """With fewer descriptors than the crowd has connections."""
    few = ["bash", "-c", 'ulimit -n 256; exec "$@"', "few"]
    with Cluster(tmp_path, prefix=few) as cluster, contextlib.ExitStack() as stack:
        url = page_of(cluster)
        host, _, port = url.removeprefix("http://").strip("/").partition(":")
        for _ in range(600):
            stack.enter_context(socket.create_connection((host, int(port)), 60))
        cluster.add_worker("--name", "anna")
        with cluster.executor() as ex:
            assert ex.submit(pow, 2, 3).result(60) == 8
        with urllib.request.urlopen(f"{url}api/v1/snapshot", timeout=60) as answer:
            assert len(json.load(answer)["workers"]) == 1
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}api/v1/stream?since={'9' * 5000}", timeout=60)
        with caught.value as refused:
            assert refused.code == 400 and b"since must be a whole number" in refused.read()
        assert "Traceback" not in cluster.scheduler.log and "out of system resource" not in cluster.scheduler.log
