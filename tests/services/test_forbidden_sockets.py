"""Programs and workers in which ``socket.socket`` is a class that raises, as tests forbid connections."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from futures_cluster import Executor

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")

LARGE = 5_000_000

PROGRAM = """
import socket

class Forbidden(socket.socket):
    def __new__(cls, *args, **kwargs):
        raise RuntimeError("no sockets here")

socket.socket = Forbidden
from futures_cluster import Executor

for backend in ("threads", "processes"):
    with Executor(1, backend=backend) as ex:
        print(ex.submit(abs, -1).result())
"""


class Forbidden(socket.socket):
    def __new__(cls, *args: Any, **kwargs: Any) -> Forbidden:
        raise RuntimeError("no sockets here")


def forbid() -> None:
    socket.socket = Forbidden  # type: ignore[misc]


def check(ex: Executor) -> None:
    assert ex.submit(abs, -1).result(60) == 1
    assert ex.submit(len, bytes(LARGE)).result(60) == LARGE
    assert len(ex.submit(bytes, LARGE).result(60)) == LARGE


@pytest.mark.parametrize("kind", ["threads", "processes", "fork"])
def test_in_the_program(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"backend": kind}
    if kind == "fork":
        options = {"mp_context": multiprocessing.get_context("fork")}
    monkeypatch.setattr(socket, "socket", Forbidden)
    with Executor(2, **options) as ex:
        check(ex)
    with pytest.raises(RuntimeError, match="no sockets here"):
        socket.socket()


def test_before_the_package_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n1\n", "")


def test_on_workers() -> None:
    with Executor(2, initializer=forbid) as ex:
        check(ex)
        assert isinstance(ex.submit(socket.socketpair).exception(60), RuntimeError)
