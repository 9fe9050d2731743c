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


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def outcome(future, receive):
    if future.exception() is not None:
        return isinstance(future.exception(), (TypeError, ValueError, RuntimeError, OSError))
    return receive() in ("hello", b"hello")


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        before = pool.submit(open_descriptors).result()
        mine, theirs = multiprocessing.Pipe()
        print(outcome(pool.submit(send, theirs), lambda: mine.poll(10) and mine.recv()))
        a, b = socket.socketpair()
        a.settimeout(10)
        print(outcome(pool.submit(send_bytes, b), lambda: a.recv(10)))
        print(len(set(before) - set(pool.submit(open_descriptors).result())))
        print(pool.submit(abs, -1).result())
        theirs.close(), b.close()
    mine.close(), a.close()
