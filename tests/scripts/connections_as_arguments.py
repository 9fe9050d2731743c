"""Ends of ``mp.Pipe()`` and sockets as arguments: passed as multiprocessing does, or refused, never a bare number."""

# contexts: default fork spawn

import multiprocessing
import os
import socket
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def send(connection):
    connection.send("hello")
    connection.close()


def send_bytes(sock):
    sock.sendall(b"hello")
    sock.close()


def open_files():
    os.kept = [open(os.devnull) for _ in range(20)]


def files_are_open():
    return [file.read() for file in os.kept] == [""] * 20


def outcome(future, receive):
    if future.exception() is not None:
        return isinstance(future.exception(), (TypeError, ValueError, RuntimeError, OSError))
    return receive() in ("hello", b"hello")


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        pool.submit(open_files).result()
        mine, theirs = multiprocessing.Pipe()
        print(outcome(pool.submit(send, theirs), lambda: mine.poll(10) and mine.recv()))
        a, b = socket.socketpair()
        a.settimeout(10)
        print(outcome(pool.submit(send_bytes, b), lambda: a.recv(10)))
        print(pool.submit(files_are_open).result())
        print(pool.submit(abs, -1).result())
        theirs.close(), b.close()
    mine.close(), a.close()
