"""Carrying requests to shared objects, whatever their kind; when objects come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from futures_cluster import messages as m
from futures_cluster.scheduler.shared import objects as shared
from futures_cluster.scheduler.shared.objects import Item, Request, SharedState, plain_value, register

from .builders import Cluster
from .shared_builders import Asking, item


class Slate(SharedState):
    """Remembers requests and what happened to them."""

    kind = "slate"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.requests: list[Request] = []
        self.log: list[Any] = []
        self.value: Any = None

    def on_wait(self, request: Request) -> None:
        self.requests.append(request)

    def on_answer_all(self, request: Request, *values: Any) -> None:
        for waiting in self.requests:
            self.reply(waiting, *values)
        self.reply(request)

    def on_give_inside(self, request: Request) -> None:
        self.value = [1, {"a": [2]}]
        self.reply(request, self.value)

    def on_fail(self, request: Request) -> None:
        raise KeyError("oops")

    def on_refuse(self, request: Request) -> None:
        self.refuse(request, "no")

    def withdrawn(self, request: Request) -> None:
        self.log.append(("withdrawn", request.client))
        self.requests.remove(request)

    def client_left(self, client: str) -> None:
        self.log.append(("left", client))
        if client == "breaks":
            raise RuntimeError("broken")


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared, "_kinds", dict(shared._kinds))
    register(Slate)
    yield


def a_slate(*clients: str) -> Asking:
    cluster = Cluster()
    asking = Asking(cluster, "slate", "s")
    asking.ask("open", {})
    for client in clients:
        cluster.quiet(m.ClientJoined(client))
        asking.ask("open", {}, client=client)
    return asking


def slate(asking: Asking) -> Slate:
    assert isinstance(asking.state, Slate)
    return asking.state


def test_an_answer_comes_once_and_to_who_asked() -> None:
    x = a_slate("d")
    one, two = x.start("wait"), x.start("wait", client="d")
    assert x.ask("answer_all", 1, "a") == ()
    assert x.ask("answer_all", 2) == ()  # the helper would notice a second answer
    for reply in (x.answer(one), x.answer(two, "d")):
        assert reply is not None and reply.values == [1, "a"]


def test_requests_without_a_number_get_no_answer() -> None:
    x = a_slate()
    assert x.given(m.AskShared("c", 0, "slate", "s", "give_inside")) == []
    assert len(x.answers) == 1 and not x.cluster.machine.shared.faults
    x.given(m.AskShared("c", 0, "slate", "s", "fail"))
    assert "KeyError('oops')" in x.cluster.machine.shared.faults[0]


def test_values_share_nothing_with_the_state() -> None:
    x = a_slate()
    assert x.ask("give_inside") == ((1, {"a": (2,)}),)


def test_errors_go_to_who_asked_and_nowhere_else() -> None:
    x = a_slate()
    assert x.refused("refuse") == "SharedObjectError: no"
    assert "KeyError('oops')" in x.refused("fail")
    assert "SharedObjectError" in x.refused("nothing_of_that_name")
    assert "SharedObjectError" in x.refused("wait", "too", "many")
    assert (
        Asking(x.cluster, "unheard", "s")
        .refused("open", {})
        .startswith("SharedObjectError: the scheduler knows no shared objects of the kind 'unheard': register")
    )
    assert not x.cluster.machine.shared._open


def test_an_object_that_nobody_opened_is_not_there() -> None:
    x = Asking(Cluster(), "slate", "s")
    assert "open it again" in x.refused("wait")
    assert not x.cluster.machine.shared.objects


def test_who_is_no_client_is_not_heard() -> None:
    x = a_slate()
    assert x.given(m.AskShared("stranger", 1, "slate", "s", "open", [{}])) == []
    x.given(m.WithdrawShared("stranger", 1))
    x.given(m.SharedTaken("stranger", 1))


def test_a_request_is_withdrawn_when_its_client_leaves() -> None:
    x = a_slate("d")
    x.start("wait", client="d")
    x.given(m.ClientLeft("d"))
    assert slate(x).log == [("withdrawn", "d"), ("left", "d")] and not slate(x).requests
    x.ask("answer_all", 1)
    assert not x.cluster.machine.shared._open


def test_a_worker_whose_tasks_ask_has_left_once_it_is_dead() -> None:
    """Not when it is told to stop: until it has ended, its tasks may still do what a lock, say, allows only them."""
    x = a_slate()
    x.cluster.quiet(m.ClientJoined("w1"))
    x.start("wait", client="w1")
    x.given(m.WorkerRetiring("w1"))
    assert "w1" not in x.cluster.machine.state.workers
    assert slate(x).log == []
    x.given(m.WorkerGone("w1"))
    assert slate(x).log == [("withdrawn", "w1"), ("left", "w1")]


def test_an_object_goes_with_the_last_program_that_used_it() -> None:
    x = a_slate("d")
    x.cluster.quiet(m.ClientJoined("w1"))
    x.ask("open", {}, client="w1")
    x.given(m.ClientLeft("c"))
    assert x.cluster.machine.shared.objects
    x.given(m.ClientLeft("d"))
    assert not x.cluster.machine.shared.objects


def test_an_object_that_only_tasks_use_goes_with_the_last_program_of_all() -> None:
    cluster = Cluster()
    cluster.quiet(m.ClientJoined("w1"))
    cluster.quiet(m.ClientJoined("d"))
    x = Asking(cluster, "slate", "s")
    x.ask("open", {}, client="w1")
    x.given(m.ClientLeft("c"))
    assert cluster.machine.shared.objects
    x.given(m.ClientLeft("d"))
    assert not cluster.machine.shared.objects


def test_a_state_that_fails_when_a_client_leaves_harms_nobody() -> None:
    x = a_slate("breaks")
    other = Asking(x.cluster, "slate", "other")
    other.ask("open", {}, client="breaks")
    x.given(m.ClientLeft("breaks"))
    assert len(x.cluster.machine.shared.faults) == 2
    assert ("slate", "other") not in x.cluster.machine.shared.objects
    assert x.ask("answer_all", 1) == ()


def test_the_same_request_said_twice_is_one() -> None:
    x = a_slate()
    for _ in range(2):
        x.given(m.AskShared("c", 99, "slate", "s", "wait"))
    assert len(slate(x).requests) == 1


def test_a_kind_belongs_to_one_class() -> None:
    class Nameless(SharedState):
        pass

    class Other(SharedState):
        kind: ClassVar[str] = "slate"

    register(Slate)  # again, as when a module is reloaded
    with pytest.raises(ValueError, match="both have the kind"):
        register(Other)
    with pytest.raises(ValueError, match="needs a class attribute kind"):
        register(Nameless)


def test_plain_values() -> None:
    keys: dict[str, None] = {}
    given = [None, True, 1.5, "ü", "\ud800", b"b", [1, (2, {"k": item("key")})]]
    assert plain_value(given, keys, ()) == (None, True, 1.5, "ü", "\ud800", b"b", (1, (2, {"k": item("key")})))
    assert keys == {"key": None}
    for bad in ({1}, object(), [object()], 1j):
        with pytest.raises(TypeError, match=r"put other objects into an item|takes None"):
            plain_value(bad, None, ())
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="64 bits"):
            plain_value(bad, None, ())
    assert type(plain_value(item())) is Item
