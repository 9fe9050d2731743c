"""A third party between a connector and a listener, for tests: it passes bytes on, and may change them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Change = Callable[[bytes], bytes]


def unchanged(data: bytes) -> bytes:
    return data


class Relay:
    """Accepts one connection, and passes on what comes, to a listener of its choice."""

    def __init__(self, target: str, to_listener: Change = unchanged, to_connector: Change = unchanged) -> None:
        host, port = target.partition("://")[2].rsplit(":", 1)
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._changes = (to_listener, to_connector)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            here, _ = self._server.accept()
            there = socket.create_connection(self._target)
            self._sockets += [here, there]
            for source, target, change in ((here, there, self._changes[0]), (there, here, self._changes[1])):
                self._threads.append(threading.Thread(target=self._pass_on, args=(source, target, change)))
                self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket, change: Change) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(change(data))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def inject(self, data: bytes) -> None:
        """Say something to the listener."""
        self._sockets[1].sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in [*self._sockets, self._server]:
            sock.close()


@contextlib.contextmanager
def relaying(target: str, to_listener: Change = unchanged, to_connector: Change = unchanged) -> Iterator[Relay]:
    relay = Relay(target, to_listener, to_connector)
    try:
        yield relay
    finally:
        relay.close()


class Tampering:
    """Changes what is sent once ``begin`` was called."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.begin = threading.Event()

    def __call__(self, sent: bytes) -> bytes:
        return self._change(sent) if self.begin.is_set() else sent


def flip_the_last_bit(sent: bytes) -> bytes:
    return sent[:-1] + bytes([sent[-1] ^ 1])
