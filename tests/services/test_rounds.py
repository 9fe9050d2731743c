"""Rounds of questions: who waits is told when all have answered, and never twice."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.services.observe.pending_replies import PendingReplies


def test_nobody_to_ask() -> None:
    assert PendingReplies().begin([]).done()


@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True), max_size=5), st.lists(st.sampled_from("abcdx")))
def test_a_round_ends_with_the_last_answer(asked: list[list[str]], answers: list[str]) -> None:
    rounds = PendingReplies()
    waiting = [rounds.begin(names) for names in asked]
    heard: set[str] = set()
    for name in ["", *answers]:
        rounds.answered(name)
        heard.add(name)
        assert [done.done() for done in waiting] == [set(names) <= heard for names in asked]


def test_answers_that_never_come() -> None:
    rounds = PendingReplies()
    done = rounds.begin(["a"])
    rounds.end(done)
    assert done.result() is None
    rounds.end(done)
    rounds.answered("a")


def test_one_who_leaves_does_not_end_it_for_others() -> None:
    rounds = PendingReplies()
    done: Future[None] = rounds.begin(["a"])

    async def wait() -> None:
        leaves, stays = (asyncio.ensure_future(asyncio.wrap_future(done)) for _ in range(2))
        leaves.cancel()
        threading.Thread(target=rounds.answered, args=("a",)).start()
        await asyncio.wait_for(stays, 20)

    asyncio.run(wait())
