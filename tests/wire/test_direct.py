"""Connections inside one process: what is different about them. The rest is in test_transports."""

from __future__ import annotations

import asyncio

import pytest

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.wire.codec.buffers import Buffer
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import NO_SECURITY, Connection


def test_one_name_has_one_listener() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = await registry.listen("inproc://x", loop, NO_SECURITY, lambda connection: None)
        with pytest.raises(OSError, match="inproc://x is in use by another listener"):
            await registry.listen("inproc://x", loop, NO_SECURITY, lambda connection: None)
        listener.close()
        listener.close()
        with pytest.raises(ConnectionRefusedError, match="no listener of this process"):
            await registry.connect("inproc://x", loop)
        (await registry.listen("inproc://x", loop, NO_SECURITY, lambda connection: None)).close()

    asyncio.run(main())


def test_buffers_belong_to_who_gets_them() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[Connection] = loop.create_future()
        listener = await registry.listen("inproc://x", loop, NO_SECURITY, accepted.set_result)
        one = await registry.connect("inproc://x", loop)
        two = await accepted
        got: asyncio.Future[list[m.Message]] = loop.create_future()
        two.on_messages = got.set_result
        two.start()
        content = bytearray(b"x" * 100_000)
        one.send([m.Data(1, [("k", (b"", ("raw", [Buffer(content)])))])])
        assert one.fileno() is None and one.pending_bytes > 100_000
        content[0] = 0
        ((_, (_, (_, (buffer,)))),) = (await got)[0].found  # type: ignore[attr-defined]
        assert buffer.arrived and buffer.view == b"x" * 100_000
        buffer.view[1] = 1
        assert content[1] == ord("x")
        for end in (one, two, listener):
            end.close()

    asyncio.run(main())


def test_what_is_no_message_ends_the_connection() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: list[object] = []
        loop.set_exception_handler(lambda loop, what: errors.append(what))
        accepted: asyncio.Future[Connection] = loop.create_future()
        listener = await registry.listen("inproc://x", loop, NO_SECURITY, accepted.set_result)
        one = await registry.connect("inproc://x", loop)
        two = await accepted
        ended: asyncio.Future[BaseException | None] = loop.create_future()
        hung_up: asyncio.Future[BaseException | None] = loop.create_future()
        two.on_close, one.on_close = ended.set_result, hung_up.set_result
        two.start()
        one.start()
        one.send([m.DropData([5])])  # type: ignore[list-item]
        assert isinstance(await ended, ProtocolError) and await hung_up is None
        assert two.closed and errors == []
        listener.close()

    asyncio.run(main())
