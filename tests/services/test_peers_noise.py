"""A connection that closes under a question leaves no exception behind that no code has seen."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.common.peers import PeerLost, Peers, _Peer


class Closing:
    """A connection that finds at the first send that it is closed."""

    peer = "unix:///there"
    closed = False
    on_close: Any = None

    def start(self) -> None: ...

    def send(self, messages: Any) -> None:
        self.closed = True
        self.on_close(None)


def test_a_question_to_a_peer_that_is_just_going() -> None:
    unseen: list[dict[str, Any]] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: unseen.append(about))
        peer = _Peer(Closing())
        with pytest.raises(PeerLost):
            await Peers(asyncio.get_running_loop())._ask(peer, m.GetData(1, ["k"], [], False))
        gc.collect()

    asyncio.run(ask())
    assert unseen == []
