"""Errors of addresses, in sentences."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path

import pytest

from futures_cluster.errors import HandshakeError
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.addresses import in_words

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "listens", "said"),
    [
        (REFUSED, False, "cannot connect to tcp://h:1: nothing listens there"),
        (OSError(errno.EADDRINUSE, "x"), True, "cannot listen at tcp://h:1: another process listens there"),
        (OSError(errno.EADDRNOTAVAIL, "x"), True, "this machine has no such address"),
        (PermissionError(errno.EACCES, "x"), True, "ports below 1024 are for root"),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), False, "the name 'h' does not resolve (Name not known)"),
        (OSError(errno.EMFILE, "x"), False, "no free descriptor"),
        (OSError(errno.EIO, "Input/output error"), False, "cannot connect to tcp://h:1: Input/output error"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x.pem"), False, "/x.pem: No such file"),
    ],
)
def test_sentences(error: OSError, listens: bool, said: str) -> None:
    told = in_words(error, "tcp://h:1", listens)
    assert said in str(told) and "Errno" not in str(told)
    assert type(told) is type(error) and told.errno == error.errno


def test_what_has_a_sentence_keeps_it() -> None:
    ours = HandshakeError("cannot connect to x: it speaks HTTP")
    assert in_words(ours, "tcp://h:1") is ours
    told = in_words(REFUSED, "tcp://h:1")
    assert in_words(told, "tcp://other:1") is told


WITHOUT_SECRET = registry.Security(insecure=True)


def test_all_transports_say_so(tmp_path: Path) -> None:
    async def attempt(address: str) -> str:
        with pytest.raises(OSError, match="cannot") as caught:
            await registry.connect(address, asyncio.get_running_loop(), WITHOUT_SECRET)
        return str(caught.value)

    async def listen(address: str) -> str:
        with pytest.raises(OSError, match="cannot listen") as caught:
            await registry.listen(address, asyncio.get_running_loop(), WITHOUT_SECRET, lambda connection: None)
        return str(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "another process listens there" in asyncio.run(listen(f"tcp://127.0.0.1:{port}"))
    assert "nothing listens there" in asyncio.run(attempt(f"tcp://127.0.0.1:{port}"))
    assert "there is no such socket" in asyncio.run(attempt(f"unix://{tmp_path}/none.sock"))
    folder = tmp_path / "private"
    os.mkdir(folder, 0o700)
    assert "No such file or directory" in asyncio.run(listen(f"unix://{folder}/none/a.sock"))
    assert "'none.invalid' does not resolve" in asyncio.run(attempt("tcp://none.invalid:1"))
