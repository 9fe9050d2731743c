"""What a key in a shared object means for its task: it is kept as if a client had a future of it."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.scheduler.state import SHARED

from .builders import done, failed, finished, recomputing, submit
from .shared_builders import a_channel, item


def test_the_computation_goes_on_without_its_maker() -> None:
    x = a_channel()
    x.given(submit("k"))
    x.ask("put", [item("k")])
    x.given(m.ClientLeft("c"))
    assert x.cluster.states() == {"k": "assigned"}
    number = x.start("next", 0, 0, 100, client="d")
    reply = x.answer(number, "d")
    assert reply is not None and reply.keys == ["k"]
    x.take(number, "d")
    assert x.cluster.finish("k") == [done(finished("k"), client="d")]
    x.ask("delete", client="d")
    assert x.cluster.task("k").wanted_by == ("d",)
    x.given(m.ReleaseKeys("d", ["k"]))
    assert x.cluster.states() == {}


@pytest.mark.parametrize("payload", [b"small", None])
def test_a_result_stays_until_the_item_drops_out(payload: bytes | None) -> None:
    x = a_channel(maxlen=1)
    x.given(submit("k"))
    x.ask("put", [item("k")])
    x.cluster.finish("k", payload=payload)
    x.given(m.ReleaseKeys("c", ["k"]))
    number = x.start("next", 0, 0, 100, client="d")
    holders = () if payload else (("w1", "a1"),)
    assert x.take(number, "d") == [done(finished("k", payload, 6, *holders), client="d")]
    x.given(m.ReleaseKeys("d", ["k"]))
    assert x.cluster.states() == {"k": "memory"}
    drops = x.given(m.AskShared("c", 0, "channel", "x", "put", [[item()]]))
    assert x.cluster.states() == {}
    assert drops == ([] if payload else [m.ToWorker("w1", m.DropData(["k"]))])


def test_the_error_of_a_task_is_told_to_readers() -> None:
    x = a_channel()
    x.given(submit("k"))
    x.ask("put", [item("k")])
    x.given(m.TasksFinished("w1", [], [("k", x.cluster.task("k").attempt, b"error", 1.0)]))
    x.given(m.ReleaseKeys("c", ["k"]))
    number = x.start("next", 0, 0, 100, client="d")
    assert x.take(number, "d") == [done(failed("k", b"error"), client="d")]


def test_a_lost_result_is_computed_again() -> None:
    x = a_channel(workers=2)
    x.given(submit("k"))
    x.ask("put", [item("k")])
    worker = x.cluster.where()["k"]
    x.cluster.finish("k", payload=None)
    assert recomputing("k") in x.given(m.WorkerGone(worker))
    x.cluster.finish("k", payload=None)
    x.given(m.ReleaseKeys("c", ["k"]))
    assert x.cluster.states() == {"k": "memory"}
    x.given(m.WorkerGone(next(iter(x.cluster.machine.state.workers))))
    assert x.cluster.states() == {"k": "queued"}  # though only the channel wants it


def test_cancelling_ones_own_future_cancels_nothing_that_is_shared() -> None:
    x = a_channel()
    x.given(submit("k"))
    x.ask("put", [item("k")])
    x.given(m.CancelTasks("c", ["k"], True))
    assert x.cluster.states() == {"k": "assigned"}
    assert x.cluster.task("k").wanted_by == (SHARED,)


def test_cancelling_the_input_of_something_shared_cancels_nothing() -> None:
    x = a_channel()
    x.given(submit("dep"))
    x.given(submit(("k", ["dep"])))
    x.ask("put", [item("k")])
    x.given(m.CancelTasks("c", ["dep"]))
    assert x.cluster.states() == {"dep": "assigned", "k": "waiting"}


def test_what_was_given_away_is_kept_until_its_receiver_has_futures() -> None:
    x = a_channel(maxlen=1)
    x.given(submit("k"))
    x.cluster.finish("k")
    x.ask("put", [item("k")])
    number = x.start("next", 0, 0, 100, client="d")
    x.ask("put", [item()])
    x.given(m.ReleaseKeys("c", ["k"]))
    assert x.cluster.states() == {"k": "memory"}  # it is on its way to d
    assert x.take(number, "d") == [done(finished("k"), client="d")]
    assert x.cluster.task("k").wanted_by == ("d",)


def test_a_receiver_that_leaves_takes_nothing() -> None:
    x = a_channel(maxlen=1)
    x.given(submit("k"))
    x.ask("put", [item("k")])
    x.start("next", 0, 0, 100, client="d")
    x.ask("put", [item()])
    assert x.cluster.machine.state.held == {"k": 1}
    x.given(m.ClientLeft("d"))
    assert x.cluster.machine.state.held == {} and not x.cluster.machine.shared.lent


def test_two_futures_of_one_key_in_one_client_are_released_one_after_the_other() -> None:
    x = a_channel()
    x.given(submit("k"))
    x.cluster.finish("k")
    x.ask("put", [item("k")])
    x.take(x.start("next", 0, 0, 100))
    x.ask("delete")
    assert x.cluster.task("k").wanted_by == ("c", "c")
    x.given(m.ReleaseKeys("c", ["k"]))
    assert x.cluster.states() == {"k": "memory"}
    x.given(m.ReleaseKeys("c", ["k"]))
    assert x.cluster.states() == {}


def test_a_key_that_comes_back_under_its_name_is_held_again() -> None:
    x = a_channel()
    x.given(submit("dep"))
    x.given(submit(("k", ["dep"])))
    x.ask("put", [item("k")])
    x.given(m.CancelTasks("c", ["dep"]))
    x.given(submit("k"))
    x.ask("put", [item("k")])
    assert x.cluster.task("k").wanted_by == ("c", SHARED)
    number = x.start("next", 0, 0, 100, client="d")
    reply = x.answer(number, "d")
    assert reply is not None and reply.keys == ["k"]


def test_nobody_joins_under_the_name_of_the_shared_objects() -> None:
    x = a_channel()
    x.given(m.ClientJoined(SHARED))
    assert SHARED not in x.cluster.machine.state.clients


def test_the_shared_objects_are_told_nothing() -> None:
    """They want tasks as clients do, but what clients would be told is of no use to them."""
    x = a_channel(maxlen=1)
    x.given(submit("k"))
    x.cluster.finish("k")
    x.ask("put", [item("k"), item()])  # in and out again with one event
    x.ask("put", [item("k")])
    x.given(m.ReleaseKeys("c", ["k"]))
    x.given(submit("l"))
    x.ask("put", [item("l")])
    x.cluster.start("l")
    x.given(m.ReleaseKeys("c", ["l"]))
    x.others += x.cluster.finish("l")
    assert x.others and not any(isinstance(command, m.ToClient) and command.client == SHARED for command in x.others)


def test_an_answer_that_was_not_taken_is_lent_once() -> None:
    """Even if its client, by mistake, gives another request the same number."""
    x = a_channel()
    x.given(submit("k"))
    x.ask("put", [item("k")])
    number = x.start("next", 0, 0, 100, client="d")
    x.given(m.AskShared("d", number, "channel", x.name, "next", [0, 0, 100]))
    x.given(m.SharedTaken("d", number))
    assert x.cluster.machine.state.held == {"k": 1}  # the channel's own
