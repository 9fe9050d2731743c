"""A message that cannot be packed: the task that it is about fails, and those in the same batch do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S

from futures_cluster import Executor
from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, NotSendable
from futures_cluster.services.common.peers import Peers
from futures_cluster.services.common.sending import send_apart
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.services.worker.data_server import DataServer
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire import frames
from futures_cluster.wire.codec import exceptions, pickle_codec

UNPACKABLE = 2**64
INNOCENT = 20


def sent_apart(*messages: m.Message) -> tuple[list[m.Message], list[m.Message]]:
    """What goes out, and what does not."""
    sent: list[m.Message] = []
    refused: list[m.Message] = []

    def send(batch: list[m.Message]) -> None:
        frames.pack(batch)
        sent.extend(batch)

    send_apart(send, list(messages), lambda message, error: refused.append(message))
    return sent, refused


def test_only_the_bad_row_of_a_batch_is_refused() -> None:
    good, bad = ("good", "f", b"", []), ("bad", "f", UNPACKABLE, [])
    news = ("f", "name", b"")
    drop = m.DropData(["k"])
    batch = m.SubmitTasks("c", [good, bad, good], [news])
    sent, refused = sent_apart(drop, batch, drop)
    assert sent == [
        drop,
        m.SubmitTasks("c", [], [news]),
        m.SubmitTasks("c", [good]),
        m.SubmitTasks("c", [good]),
        drop,
    ]
    assert refused == [m.SubmitTasks("c", [bad])]


def test_a_graph_is_refused_as_a_whole_and_so_is_what_is_no_batch() -> None:
    graph = m.SubmitTasks("c", [("a", "f", b"", []), ("b", "f", UNPACKABLE, ["a"])], wanted=["b"])
    question = m.AskShared("c", 1, "channel", "n", "put", [UNPACKABLE])
    assert sent_apart(graph, question) == ([], [graph, question])


class Asker:
    """A connection to a data server."""

    peer, closed, same_host = "here", False, False
    on_messages: Any
    on_close: Any

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def start(self) -> None: ...

    def send(self, messages: list[m.Message]) -> None:
        frames.pack(messages)
        self.sent.extend(messages)


def test_an_answer_that_cannot_be_sent_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has asked for a result would otherwise wait for ever."""
    asker = Asker()

    async def ask() -> None:
        codec, loop = pickle_codec.PickleCodec(None), asyncio.get_running_loop()
        server = DataServer(WorkerService(WorkerSettings("w", ""), codec, loop, lambda messages: None, lambda: None))
        monkeypatch.setattr(server, "_answer", lambda request, pool: m.Data(request.request, [("k", UNPACKABLE)]))
        server.accept(asker)
        asker.on_messages([m.GetData(7, ["k"])])
        await asyncio.gather(*server._tasks)
        asker.on_close(AuthenticationError("a third party"))

    asyncio.run(ask())
    assert "an asker at here ended: a third party" in caplog.text
    ((request, found, errors),) = [(data.request, data.found, data.errors) for data in asker.sent]
    assert (request, found) == (7, [])
    assert isinstance(exceptions.load_error(errors[0][1]), NotSendable)


def break_fetching() -> None:
    """This worker cannot ask its peers."""

    async def fail(*args: Any) -> None:
        raise RuntimeError("as planned")

    Peers.get_data = fail  # type: ignore[assignment,method-assign]


def break_answering() -> None:
    """This worker cannot answer in a thread, as it does for large results."""

    async def fail(*args: Any) -> None:
        raise RuntimeError("as planned")

    asyncio.to_thread = fail  # type: ignore[assignment]


@pytest.mark.parametrize("fault", [break_fetching, break_answering])
def test_whatever_fails_between_workers_fails_the_task(fault: Callable[[], None]) -> None:
    with Executor(2) as ex:
        holder, other = [ex.with_options(workers=name) for name in ex.run(int)]
        (other if fault is break_fetching else holder).submit(fault).result(LIMIT_S)
        future = holder.submit(bytes, 2**22)
        with pytest.raises(RuntimeError, match="as planned"):
            other.submit(len, future).result(LIMIT_S)
        if fault is break_answering:
            with pytest.raises(RuntimeError, match="as planned"):
                future.result(LIMIT_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True) as cluster:
        cluster.add_worker("--workers", "1")
        yield cluster


@pytest.fixture(params=["processes", "tcp"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        with Executor(1) as ex:
            yield ex
    else:
        with request.getfixturevalue("cluster").executor() as ex:
            yield ex


def check_beside(ex: Executor, text: str) -> None:
    """The task with this argument fails, because it cannot be sent; none of the others does."""
    before = [ex.submit(abs, -number) for number in range(INNOCENT)]
    bad = ex.submit(str, text)
    after = [ex.submit(abs, -number) for number in range(INNOCENT)]
    assert [each.result(LIMIT_S) for each in before + after] == 2 * list(range(INNOCENT))
    with pytest.raises(NotSendable, match="cannot be sent"):
        bad.result(LIMIT_S)


def test_a_task_that_cannot_be_sent(ex: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    dump_call = pickle_codec.PickleCodec.dump_call

    def dump(self: Any, args: Any, *rest: Any) -> Any:
        payload, *more = dump_call(self, args, *rest)
        return (UNPACKABLE if args == ("bad",) else payload, *more)

    monkeypatch.setattr(pickle_codec.PickleCodec, "dump_call", dump)
    check_beside(ex, "bad")


def spoil_results() -> None:
    dump_result = pickle_codec.PickleCodec.dump_result
    pickle_codec.PickleCodec.dump_result = lambda self, value, keep: (  # type: ignore[assignment, method-assign]
        (UNPACKABLE, 8) if value == "bad" else dump_result(self, value, keep)
    )


def test_a_result_that_cannot_be_sent(ex: Executor) -> None:
    ex.run(spoil_results)
    check_beside(ex, "bad")
