"""A listener in a process that may have few descriptors: ``crowded_listener.py ADDRESS LIMIT [eat]``.

It prints its address, then answers on standard input: ``peers`` (how many were authenticated), ``log`` (how
many lines were logged). With ``eat`` it takes all descriptors that are left, until it reads ``free``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import sys

from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Connection, Security


async def main(address: str, limit: int, eats: bool) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    loop = asyncio.get_running_loop()
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logging.getLogger("futures_cluster").addHandler(Handler())
    peers: list[Connection] = []
    listener = await registry.listen(address, loop, Security(b"a secret"), peers.append)
    eaten: list[int] = []
    if eats:
        with contextlib.suppress(OSError):
            while True:
                eaten.append(os.open("/dev/null", os.O_RDONLY))
    print(listener.address, flush=True)
    asked = asyncio.Event()
    question = ""

    def read() -> None:
        nonlocal question
        question = os.read(0, 100).decode().strip()
        asked.set()

    loop.add_reader(0, read)
    while True:
        await asked.wait()
        asked.clear()
        if question == "peers":
            print(len(peers), flush=True)
        elif question == "log":
            print(len(lines), flush=True)
        elif question == "free":
            for fd in eaten:
                os.close(fd)
            print("free", flush=True)
        else:
            break
    listener.close()
    for peer in peers:
        peer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), "eat" in sys.argv))
