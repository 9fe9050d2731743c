"""When messages arrive: latency, jitter, turns on a link, shares of a card, and links that are cut."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futures_cluster.messages import Message, ReleaseKeys
from futures_cluster.testing.simulator.network import SCHEDULER, Network, NetworkModel, Partition


class Post:
    """A clock, and what has arrived."""

    def __init__(self, **model: Any) -> None:
        self.seed = 0
        self.now = 0.0
        self.arrived: list[tuple[float, str]] = []
        self.network = Network(NetworkModel(**model), self, self.take)
        self._heap: list[Any] = []
        self._serial = 0

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (time_s, self._serial, do, args))

    def take(self, sender: str, receiver: str, message: Message) -> None:
        assert isinstance(message, ReleaseKeys)
        self.arrived.append((round(self.now, 9), message.client))

    def send(
        self, name: str, size_bytes: int = 0, sender: str = "a", receiver: str = "b", delay_s: float = 0.0
    ) -> None:
        self.network.send(sender, receiver, ReleaseKeys(name, []), size_bytes, delay_s)

    def run(self, until_s: float = 1e9) -> list[tuple[float, str]]:
        while self._heap and self._heap[0][0] <= until_s:
            self.now, _, do, args = heapq.heappop(self._heap)
            do(*args)
        return self.arrived


def test_latency_and_turns_on_a_link() -> None:
    """What is behind a transfer waits for it; another link does not."""
    post = Post(latency_s=0.5, bandwidth_bytes_s=10.0)
    post.send("small")
    post.send("large", 20)
    post.send("large too", 10)
    post.send("behind")
    post.send("elsewhere", 10, receiver="c")
    assert post.run() == [(0.5, "small"), (1.5, "elsewhere"), (2.5, "large"), (3.5, "large too"), (3.5, "behind")]


def test_two_workers_of_a_host_are_nearer() -> None:
    post = Post(latency_s=1.0, local_latency_s=0.25, bandwidth_bytes_s=10.0, local_bandwidth_bytes_s=40.0)
    post.network.hosts = {"a": "h", "b": "h"}
    post.send("near", 10)
    post.send("far", 10, receiver="c")
    post.send("scheduler", receiver=SCHEDULER)
    assert post.run() == [(0.5, "near"), (1.0, "scheduler"), (2.0, "far")]


def test_transfers_share_the_sender_s_card() -> None:
    """Two of 10 bytes at 10 a second, a second one begins half-way: 1.5 s for the first, 2 s until both are there."""
    post = Post(latency_s=0.0, bandwidth_bytes_s=1e9, nic_bytes_s=10.0)
    post.send("one", 10)
    post.at(0.5, post.send, "two", 10, "a", "c")
    assert post.run() == [(1.5, "one"), (2.0, "two")]


def test_transfers_share_the_receiver_s_card() -> None:
    post = Post(latency_s=0.0, bandwidth_bytes_s=1e9, nic_bytes_s=10.0)
    post.network.hosts = {"b": "h", "c": "h"}
    post.send("one", 10, sender="x", receiver="b")
    post.send("two", 10, sender="y", receiver="c")
    post.send("three", 10, sender="y", receiver="z")
    assert sorted(post.run(), key=lambda row: row[1]) == [(2.0, "one"), (2.0, "three"), (2.0, "two")]


def test_the_link_limits_a_transfer_on_a_fast_card() -> None:
    post = Post(latency_s=0.0, bandwidth_bytes_s=5.0, nic_bytes_s=1000.0)
    post.send("one", 10)
    post.send("behind")
    assert post.run() == [(2.0, "one"), (2.0, "behind")]


def test_a_cut_link_holds_its_messages() -> None:
    """Also what was under way; order stays, and what is sent after healing does not overtake."""
    post = Post(latency_s=1.0)
    partition = Partition(["b"])
    post.send("under way")
    post.at(0.5, post.network.cut, partition)
    post.at(0.6, post.send, "while cut")
    post.at(3.0, post.network.heal, partition)
    post.at(3.0, post.send, "after")
    post.at(0.7, post.send, "other", 0, "a", "c")
    assert post.run() == [(1.7, "other"), (4.0, "under way"), (4.0, "while cut"), (4.0, "after")]


def test_what_would_arrive_just_after_healing_waits_for_what_was_held() -> None:
    post = Post(latency_s=1.0)
    partition = Partition(["b"])
    post.network.cut(partition)
    post.send("first")
    post.at(1.5, post.send, "second")
    post.at(2.0, post.network.heal, partition)
    assert post.run() == [(3.0, "first"), (3.0, "second")]


def test_overlapping_partitions_both_have_to_heal() -> None:
    post = Post(latency_s=0.0)
    one, two = Partition(["b"]), Partition(["a", "x"], scheduler=False)
    post.network.cut(one)
    post.send("m")
    post.at(1.0, post.network.cut, two)
    post.at(2.0, post.network.heal, one)
    post.at(3.0, post.network.heal, two)
    assert post.run() == [(3.0, "m")]


def test_a_closed_connection_delivers_nothing_and_a_new_one_does() -> None:
    post = Post(latency_s=1.0)
    post.send("lost")
    post.network.close("b", "a")
    post.send("new")
    assert post.run() == [(1.0, "new")]


def test_a_connection_closed_during_a_transfer() -> None:
    post = Post(latency_s=0.0, nic_bytes_s=10.0)
    post.send("lost", 10)
    post.send("lost, too", 10)
    post.at(0.5, post.network.close, "a", "b")
    post.at(0.6, post.send, "new", 1)
    assert [name for _, name in post.run()] == ["new"]


@pytest.mark.parametrize(
    ("partition", "cut"),
    [
        (Partition(["w"]), ["wS", "wx"]),
        (Partition(["w"], peers=False), ["wS"]),
        (Partition(["w"], scheduler=False), ["wx"]),
        (Partition(["w", "x"]), ["wS", "xS"]),
    ],
)
def test_what_a_partition_cuts(partition: Partition, cut: list[str]) -> None:
    names = {"S": SCHEDULER, "w": "w", "x": "x"}
    pairs = ["wS", "xS", "wx"]
    assert [pair for pair in pairs if partition.cuts(names[pair[0]], names[pair[1]])] == cut
    assert [pair for pair in pairs if partition.cuts(names[pair[1]], names[pair[0]])] == cut


def test_how_long_a_link_has_been_cut() -> None:
    post = Post()
    post.at(1.0, post.network.cut, Partition(["w"]))
    post.run()
    network = post.network
    assert network.is_cut("w", SCHEDULER) and network.is_cut("w", SCHEDULER, since_s=1.0)
    assert not network.is_cut("w", SCHEDULER, since_s=0.9) and not network.is_cut("x", SCHEDULER)


moments = st.floats(0.0, 3.0)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.tuples(moments, st.sampled_from([0, 0, 3, 20]), st.sampled_from([0.0, 0.4])), min_size=1, max_size=20),
    st.lists(st.tuples(moments, moments), max_size=3),
    st.sampled_from([None, 10.0]),
    st.sampled_from([0.0, 0.3]),
)
def test_everything_arrives_once_in_order_and_not_while_cut(
    sent: list[tuple[float, int, float]], cuts: list[tuple[float, float]], nic: float | None, jitter_s: float
) -> None:
    post = Post(latency_s=0.1, bandwidth_bytes_s=10.0, nic_bytes_s=nic, jitter_s=jitter_s)
    for i, (time_s, size_bytes, delay_s) in enumerate(sorted(sent)):
        post.at(time_s, post.send, str(i), size_bytes, "a", "b", delay_s)
    for start_s, length_s in cuts:
        partition = Partition(["a"])
        post.at(start_s, post.network.cut, partition)
        post.at(start_s + length_s, post.network.heal, partition)
    arrived = post.run()
    assert [name for _, name in arrived] == [str(i) for i in range(len(sent))]
    for time_s, name in arrived:
        assert not any(start_s < time_s < start_s + length_s for start_s, length_s in cuts), (time_s, name)
        assert time_s >= sorted(sent)[int(name)][0] + 0.1 - 1e-6
