"""What can be an argument or a result of a task on another process, and what the errors say of the rest.

Covers: connections and sockets, what only inherits, futures of others, executors. Does not cover: futures of the same
executor (``test_executor``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import multiprocessing
import multiprocessing.connection
import socket
from collections.abc import Iterator
from multiprocessing import resource_sharer
from multiprocessing.shared_memory import ShareableList
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, Future, ThreadPoolExecutor, as_completed
from futures_cluster.errors import DeserializationError
from futures_cluster.testing.real_cluster import Cluster

STARTS = (None, "fork", "spawn", "forkserver")


@pytest.fixture(params=STARTS)
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    context = request.param and multiprocessing.get_context(request.param)
    with Executor(2, context) as ex:
        yield ex
    resource_sharer.stop()  # what hands over descriptors, which multiprocessing never stops


@pytest.fixture
def one() -> Iterator[Executor]:
    with Executor(1) as ex:
        yield ex
    resource_sharer.stop()


@pytest.fixture
def pipe() -> Iterator[tuple[Any, Any]]:
    ends = multiprocessing.Pipe()
    yield ends
    for end in ends:
        end.close()


class Holder:
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def send(self, value: Any) -> None:
        self.connection.send(value)


def send(connection: Any, value: Any) -> None:
    connection.send(value)
    connection.close()


def make_connection() -> Any:
    mine, theirs = multiprocessing.Pipe()
    mine.send("from a worker")
    mine.close()
    return theirs


# ---------------------------------------------------------------- connections and sockets


def test_connections_are_arguments(ex: Executor, pipe: tuple[Any, Any]) -> None:
    near, far = pipe
    ex.submit(send, far, "argument").result()
    assert near.recv() == "argument"
    ex.submit(send, connection=far, value="keyword").result()
    assert near.recv() == "keyword"
    ex.submit(lambda ends: ends["a"][0].send("inside"), {"a": [far]}).result()
    assert near.recv() == "inside"
    ex.submit(Holder(far).send, "attribute").result()
    assert near.recv() == "attribute"
    list(ex.map(send, [far] * 3, range(3)))
    assert sorted(near.recv() for _ in range(3)) == [0, 1, 2]


def test_it_is_pickled_at_submit(one: Executor) -> None:
    near, far = multiprocessing.Pipe(duplex=False)
    sent = one.submit(send, far, "late")
    far.close()
    sent.result()
    with near:
        assert near.recv() == "late"


def test_directions_stay(one: Executor) -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        assert one.submit(lambda end: (end.readable, end.writable), reader).result() == (True, False)
        assert one.submit(lambda end: (end.readable, end.writable), writer).result() == (False, True)


def test_sockets_are_arguments(ex: Executor) -> None:
    near, far = socket.socketpair()
    with near, far:
        ex.submit(socket.socket.sendall, far, b"hello").result()
        assert near.recv(10) == b"hello"
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ex.submit(socket.socket.getsockname, server).result() == server.getsockname()


def test_they_are_results(one: Executor) -> None:
    with one.submit(make_connection).result() as connection:
        assert connection.recv() == "from a worker"


def test_one_that_is_closed(one: Executor) -> None:
    near, far = multiprocessing.Pipe()
    near.close()
    far.close()
    with pytest.raises(OSError, match="closed"):
        one.submit(send, far, 1).result()
    assert one.submit(int).result() == 0


def test_nothing_is_taken_over_twice(one: Executor, pipe: tuple[Any, Any]) -> None:
    shared = one.scatter(pipe[1])
    one.submit(send, shared, 1).result()
    assert pipe[0].recv() == 1
    with pytest.raises(DeserializationError, match="passes once"):
        shared.result()


def test_a_cluster_gets_none(tmp_path: Path, pipe: tuple[Any, Any]) -> None:
    """Its workers were not started by this program, and may be anywhere."""
    with Cluster(tmp_path, "--silence", "30") as cluster:
        cluster.add_worker("--workers", "1")
        with cluster.executor() as ex:
            for obj in pipe:
                with pytest.raises(DeserializationError, match="same executor and host"):
                    ex.submit(print, obj).result()
            assert ex.submit(int).result() == 0
    resource_sharer.stop()


def test_a_function_keeps_none(one: Executor, pipe: tuple[Any, Any]) -> None:
    """Several workers read it, and a descriptor is handed over once."""
    far = pipe[1]
    with pytest.raises(TypeError, match="as an argument"):
        one.submit(lambda: far.send(1)).result()
    near = socket.socket()
    with near, pytest.raises(TypeError, match="as an argument"):
        one.submit(lambda: near.fileno()).result()


# ---------------------------------------------------------------- other objects


@pytest.mark.parametrize("make", ["Lock", "Event", "Queue", "SimpleQueue", "Semaphore"])
def test_what_is_inherited_says_so(one: Executor, make: str) -> None:
    made = getattr(multiprocessing, make)()
    with pytest.raises(RuntimeError, match="inheritance"):
        one.submit(print, made).result()
    if make == "Queue":
        made.close()
        made.join_thread()
    if make == "SimpleQueue":
        made.close()
    assert one.submit(int).result() == 0


def test_what_does_not_pickle_says_so(one: Executor) -> None:
    with open(__file__) as file:
        for obj in (file, (each for each in ()), multiprocessing.RawValue("i")):
            with pytest.raises(TypeError, match="cannot pickle"):
                one.submit(print, obj).result()
    assert one.submit(int).result() == 0


def test_managers_and_shared_memory(one: Executor) -> None:
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        one.submit(shared.update, {"a": 1}).result()
        assert shared.copy() == {"a": 1}
    numbers = ShareableList([1, 2])
    try:
        assert one.submit(list, numbers).result() == [1, 2]
    finally:
        numbers.shm.close()
        numbers.shm.unlink()


# ---------------------------------------------------------------- futures of others


def same(value: Any) -> Any:
    return value


@pytest.fixture(params=["threads", "sync"])
def foreign(request: pytest.FixtureRequest) -> Iterator[Future]:
    with Executor(1, backend=request.param) as other:
        future = other.submit(abs, -5)
        future.result()
        yield future


@pytest.mark.parametrize("backend", ["threads", "sync"])
@pytest.mark.parametrize("resolve", [True, False])
def test_futures_of_others_are_left_alone(foreign: Future, backend: str, resolve: bool) -> None:
    bare, plain = Future(), concurrent.futures.Future[int]()
    with Executor(1, backend=backend) as ex:
        view = ex.with_options(resolve=resolve)
        for other in (foreign, bare, plain):
            assert view.submit(same, other).result() is other
            assert view.submit(same, [{"a": other}]).result()[0]["a"] is other
        assert ex.scatter(foreign).result() is foreign
        own = ex.submit(abs, -2)
        assert ex.submit(same, [own, foreign, own, {"b": own}]).result() == [2, foreign, 2, {"b": 2}]


def test_they_are_left_alone_also_while_they_are_pending() -> None:
    """What is left alone is not waited for."""
    pending = Future()
    with ThreadPoolExecutor(1) as pool, Executor(1, backend="threads") as ex:
        assert ex.submit(same, pending).result() is pending
        assert pool.submit(same, pending).result() is pending
        assert pool.submit(Future.done, ex.submit(int)).result() in (True, False)


@pytest.mark.parametrize("resolve", [True, False])
def test_futures_of_others_do_not_reach_processes(one: Executor, foreign: Future, resolve: bool) -> None:
    view = one.with_options(resolve=resolve)
    for arguments in (foreign, [{"a": foreign}], [one.submit(int), foreign], Holder(foreign), Future()):
        with pytest.raises(TypeError, match=r"Future .* cannot be sent to a worker: .*pass its result\(\)"):
            view.submit(same, arguments).result()
    with pytest.raises(TypeError, match="cannot pickle"):
        view.submit(same, concurrent.futures.Future()).result()
    loop = asyncio.new_event_loop()
    with pytest.raises(TypeError, match="cannot pickle"):
        view.submit(same, loop.create_future()).result()
    loop.close()
    assert one.submit(int).result() == 0


# ---------------------------------------------------------------- executors


class Owner:
    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def work(self, x: int) -> int:
        return x + 1


def test_an_executor_is_named(one: Executor) -> None:
    calls: list[tuple[Any, ...]] = [(same, one), (same, one.with_options(priority=1)), (Owner(one).work, 1)]
    for call in calls:
        with pytest.raises(TypeError, match=r"cannot pickle <Executor with 1 worker>: .*current_executor\(\)"):
            one.submit(*call).result()
    with pytest.raises(TypeError, match="with_options"):
        one.submit(same, as_completed([])).result()
    assert list(one.map(same, [1])) == [1]


def test_threads_share_their_executor() -> None:
    with Executor(1, backend="threads") as ex:
        assert ex.submit(Owner(ex).work, 1).result() == 2
        assert ex.submit(same, ex).result() is ex
        assert copy.copy(ex) is ex and copy.deepcopy(Owner(ex)).pool is ex
