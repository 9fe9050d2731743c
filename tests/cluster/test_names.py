"""Names that newcomers give themselves: which are refused, and that none forges a line of a log or a terminal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, cli
from futures_cluster import messages as m
from futures_cluster.cli import commands
from futures_cluster.services.common import security
from futures_cluster.services.scheduler import permissions
from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Security

WAIT_S = 60
FORGED = "2026-01-01 00:00:00,000 INFO futures_cluster.scheduler: worker innocent joined"
BAD_NAMES = [f"x\n{FORGED}", "x\r", "\x1b[2Jx", "x\u202egnp.exe", "x" * 300, "\x00"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def say(cluster: Cluster, *messages: m.Message) -> list[m.Message]:
    """Connect with the secret, say this, and wait until the scheduler ends the connection; what it has said."""

    async def talk() -> list[m.Message]:
        loop = asyncio.get_running_loop()
        needed = Security(cluster.environment["FUTURES_CLUSTER_SECRET"].encode())
        connection = await registry.connect(cluster.address, loop, needed)
        got: list[m.Message] = []
        closed = asyncio.Event()
        connection.on_messages, connection.on_close = got.extend, lambda error: closed.set()
        connection.start()
        connection.send(list(messages))
        await asyncio.wait_for(closed.wait(), WAIT_S)
        return got

    return asyncio.run(talk())


@pytest.mark.parametrize("role", permissions.ROLES)
def test_names_that_are_no_text_for_a_line_are_refused(role: str, cluster: Cluster) -> None:
    long = "x" * 600  # a manager's name has more parts
    for name in (*BAD_NAMES[:4], long):
        say(cluster, security.hello(role, name))
        cluster.scheduler.wait_for(f"must have at most {510 if role == 'manager' else 255} characters, all printable")
    log = cluster.scheduler.log
    assert log.count("all printable") >= 1  # lines about peers that are not let in are few, however many come
    assert FORGED not in log.splitlines() and "\x1b" not in log and "\r" not in log
    assert " joined" not in log.replace(FORGED, "")


@pytest.mark.parametrize("bad", BAD_NAMES[:4])
def test_what_a_worker_says_of_itself_is_refused(bad: str, cluster: Cluster) -> None:
    joined: dict[str, Any] = {"worker": "w", "address": "tcp://127.0.0.1:1", "slots": 1}
    for field in ("address", "host", "manager"):
        say(cluster, security.hello("worker", "w"), m.WorkerConnected(**{**joined, field: bad}))
        cluster.scheduler.wait_for(f"WorkerConnected.{field} must have at most")
    assert FORGED not in cluster.scheduler.log.splitlines()
    assert "workers    0" in cluster.run("status", cluster.address)


@pytest.mark.parametrize("name", [*BAD_NAMES, ""])
def test_the_command_does_not_offer_such_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["worker", "tcp://127.0.0.1:9", "--name", name])
    assert "is not a name; use at most 200 characters" in capsys.readouterr().err


def test_a_name_that_would_mean_another_worker_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    """``gpu~1`` and ``gpu~2`` would both be taken for ``gpu``."""
    with pytest.raises(SystemExit):
        cli.main(["worker", "tcp://127.0.0.1:9", "--name", "gpu~1"])
    assert "'gpu~1' has a ~" in capsys.readouterr().err


def test_a_name_that_is_in_use_is_refused_to_a_second_client(cluster: Cluster) -> None:
    cluster.add_worker("--name", "w")
    with cluster.executor() as ex:
        name = ex._engine.client.name  # type: ignore[attr-defined]
        for taken, owner in ((name, f"client {name}"), ("w", "worker w")):
            (answer,) = (one for one in say(cluster, security.hello("client", taken)) if type(one) is m.AskReply)
            assert answer.error.startswith(f"the name {taken!r} belongs to {owner} at ")
        (answer,) = (one for one in say(cluster, security.hello("worker", name)) if type(one) is m.AskReply)
        assert answer.error.startswith(f"the name {name!r} belongs to client {name}")
        assert ex.submit(pow, 2, 5).result(WAIT_S) == 32


def test_names_of_functions_do_not_reach_a_terminal_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    def held(folder: str) -> None:
        while not (Path(folder) / "go").exists():
            time.sleep(0.005)

    held.__name__ = held.__qualname__ = "held\x1b[2J\nworkers    99"
    cluster.add_worker()
    with cluster.executor() as ex:
        ex.submit(held, str(tmp_path))
        behind = ex.with_options(resources={"\x1b[31mred\n": 1}).submit(pow, 1, 1)
        said = cluster.run("status", cluster.address), cluster.run("explain", cluster.address, behind.key)
        behind.cancel()
        (tmp_path / "go").touch()
    for text in said:
        assert "\x1b" not in text, text
    assert r"held\x1b[2J\nworkers    99" in said[0]
    assert r"\x1b[31mred\n" in said[1]


def test_events_of_a_log_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = commands.EventFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "", 0, "lost %s", ("a\nINFO b joined\r\x1b[2J",), None)
    assert formatter.format(record) == "INFO lost a\n    INFO b joined\\r\\x1b[2J"
    try:
        raise ValueError("one\nINFO two")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert [line for line in formatter.format(record).splitlines() if not line.startswith("    ")] == ["INFO lost a"]


def test_an_executor_is_not_troubled(cluster: Cluster) -> None:
    cluster.add_worker("--name", "a name with spaces, ümlauts and 漢字")
    with Executor(1) as local, cluster.executor() as ex:
        assert list(ex.workers()) == ["a name with spaces, ümlauts and 漢字"]
        assert ex.submit(abs, -1).result(WAIT_S) == local.submit(abs, -1).result(WAIT_S) == 1
