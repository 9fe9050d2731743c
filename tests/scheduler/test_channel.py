"""The state of a channel: its buffer, and readers that wait."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.scheduler.shared import channel as channel_module

from .builders import submit
from .shared_builders import Asking, a_channel, item


def put(x: Asking, *payloads: bytes, client: str = "c") -> None:
    assert x.ask("put", [item(payload=payload) for payload in payloads], client=client) == ()


def read(x: Asking, position: int | None = None, most: int = 100, client: str = "c") -> tuple[int, bool, list[bytes]]:
    serial = 0 if position is None else x.state.serial
    _, start, ended, items = x.ask("next", serial, position or 0, most, client=client)
    return start, ended, [payload for payload, _, _ in items]


def test_each_reader_reads_from_its_own_position() -> None:
    x = a_channel()
    put(x, b"0", b"1")
    put(x, b"2", client="d")
    assert read(x) == (0, False, [b"0", b"1", b"2"])
    assert read(x, client="d", most=2) == (0, False, [b"0", b"1"])
    assert read(x, 2, client="d") == (2, False, [b"2"])


def test_a_reader_at_the_end_waits_for_the_next_item() -> None:
    x = a_channel()
    put(x, b"0")
    first = x.start("next", x.state.serial, 1, 100)
    second = x.start("next", x.state.serial, 1, 100, client="d")
    assert not x.answer(first) and not x.answer(second, "d")
    put(x, b"1", b"2")
    for reply in (x.answer(first), x.answer(second, "d")):
        assert reply is not None
        assert reply.values[1:] == [1, False, (item(payload=b"1"), item(payload=b"2"))]
    assert not x.channel.waiting


def test_what_does_not_fit_drops_out_at_the_old_end() -> None:
    x = a_channel(maxlen=3)
    put(x, *(b"%d" % number for number in range(5)))
    assert read(x) == (2, False, [b"2", b"3", b"4"])
    assert read(x, 1) == (2, False, [b"2", b"3", b"4"])  # it missed one
    assert x.ask("facts") == (3, False, 3)


def test_a_waiting_reader_misses_nothing_of_a_batch_longer_than_the_buffer() -> None:
    x = a_channel(maxlen=2)
    waits = x.start("next", 0, 0, 100)
    put(x, b"0", b"1", b"2")
    reply = x.answer(waits)
    assert reply is not None
    assert [payload for payload, _, _ in reply.values[3]] == [b"0", b"1", b"2"]


def test_bytes_are_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_BYTES", 10)
    monkeypatch.setattr(channel_module, "BATCH_BYTES", 8)
    x = a_channel()
    put(x, b"aaaa", b"bbbb")
    put(x, b"cccccc")
    assert x.channel.size_bytes == 10 and x.channel.first == 1
    assert read(x) == (1, False, [b"bbbb"])  # the next one would make more than 8
    put(x, b"d" * 30)
    assert read(x) == (3, False, [b"d" * 30])  # a single one always fits


def test_close_ends_readers_after_the_last_item() -> None:
    x = a_channel()
    put(x, b"0")
    waits = x.start("next", x.state.serial, 1, 100)
    assert x.ask("close") == ()
    reply = x.answer(waits)
    assert reply is not None and reply.values[1:] == [1, True, ()]
    assert read(x) == (0, False, [b"0"])
    assert read(x, 1) == (1, True, [])
    assert x.refused("put", [item()]).startswith("ChannelClosed: the channel 'x' is closed")
    assert x.ask("close") == ()
    assert x.ask("facts")[1] is True


def test_the_first_to_say_maxlen_decides() -> None:
    x = a_channel()
    put(x, b"0", b"1", b"2")
    x.ask("open", {"maxlen": 2})
    assert read(x) == (1, False, [b"1", b"2"])
    x.ask("open", {"maxlen": 2})
    x.ask("open", {})
    assert "has maxlen=2" in x.refused("open", {"maxlen": 3})
    assert "maxlen must be" in x.refused("open", {"maxlen": 0})


def test_a_reader_that_gives_up_is_forgotten() -> None:
    x = a_channel()
    waits = x.start("next", 0, 0, 100)
    x.given(m.WithdrawShared("c", waits))
    reply = x.answer(waits)
    assert reply is not None and reply.error == {"kind": "withdrawn", "text": ""}
    assert not x.channel.waiting
    put(x, b"0")
    x.given(m.WithdrawShared("c", waits))  # too late, and old news


def test_a_reader_of_a_deleted_channel_does_not_read_another_one_of_its_name() -> None:
    x = a_channel()
    put(x, b"0")
    serial = x.state.serial
    waits = x.start("next", serial, 1, 100)
    assert x.ask("delete") == ()
    reply = x.answer(waits)
    assert reply is not None and "was deleted" in reply.error["text"]
    assert "there is no channel 'x'" in x.refused("next", serial, 1, 100)
    x.ask("open", {})
    put(x, b"new")
    assert "another one has its name" in x.refused("next", serial, 0, 100)
    assert read(x) == (0, False, [b"new"])


@pytest.mark.parametrize(
    "values",
    [
        [(b"payload", 1)],
        [(b"payload", 1, (1,))],
        [("a", "b", ())],
        [(b"x" * 40_000, 1, ())],
        [item(), None],
        3,
    ],
)
def test_a_put_that_is_no_list_of_items_changes_nothing(values: object) -> None:
    x = a_channel()
    assert x.refused("put", values).startswith("SharedObjectError: the channel 'x' does not take this 'put'")
    assert x.ask("facts")[0] == 0


def test_keys_are_held_as_long_as_their_items_are_in_the_buffer() -> None:
    x = a_channel(maxlen=2)
    x.given(submit("k"))
    x.ask("put", [item("k"), item("k", "unknown")])
    held = x.cluster.machine.state.held
    assert held == {"k": 2, "unknown": 1}
    put(x, b"0")
    assert held == {"k": 1, "unknown": 1}
    put(x, b"1")
    assert held == {}
    x.ask("put", [item("k")])
    x.ask("delete")
    assert held == {}


@pytest.mark.parametrize(
    "args", [(0, 0, 1.5), (0, 0, "1"), (0, -1, 5), (0, float("nan"), 5), (1.0, 0, 5), (0, 2**70, 5)]
)
def test_a_reader_that_asks_nonsense_is_refused_and_not_who_puts_next(args: tuple[object, ...]) -> None:
    x = a_channel()
    answer = x.answer(x.start("next", *args))
    assert answer is not None and "whole numbers" in answer.error["text"]
    put(x, b"0")
    assert read(x) == (0, False, [b"0"])


def test_an_item_has_a_size() -> None:
    x = a_channel()
    answer = x.answer(x.start("put", [(("a", "tuple"), -5, ())]))
    assert answer is not None and "an item is" in answer.error["text"]
    assert x.channel.size_bytes == 0
