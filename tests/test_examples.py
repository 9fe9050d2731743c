"""The two worked extensions in examples/: a lock and a queue, on every backend; what docs/guides/extending.md shows."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import Gate

from futures_cluster import Executor
from futures_cluster.channels import load_extension
from futures_cluster.errors import SharedObjectError
from futures_cluster.scheduler.shared import objects as shared

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 30.0


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared, "_kinds", dict(shared._kinds))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    load_extension("lock_state:LockState")
    load_extension("queue_state:QueueState")
    yield
    for name in ("lock_state", "lock_handle", "queue_state", "queue_handle"):
        sys.modules.pop(name, None)


@pytest.fixture(params=["processes", "threads", "sync"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with Executor(2, backend=request.param) as ex:
        yield ex


def make_lock(*args: Any) -> Any:
    import lock_handle

    return lock_handle.Lock(*args)


def make_queue(*args: Any) -> Any:
    import queue_handle

    return queue_handle.Queue(*args)


# ---------------------------------------------------------------- the lock


def add_one(path: Path, lock: Any) -> None:
    with lock:
        number = int(path.read_text())
        path.write_text(str(number + 1))


def test_only_one_has_the_lock(ex: Executor, tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    lock = make_lock(ex, "a lock")
    for future in [ex.submit(add_one, path, lock) for _ in range(50)]:
        future.result(TIMEOUT_S)
    assert path.read_text() == "50"


def test_the_lock_knows_who_holds_it(ex: Executor) -> None:
    one, two = make_lock(ex, "a lock"), make_lock(ex, "a lock")
    assert one.acquire()
    assert not two.acquire(timeout=0.01)
    with pytest.raises(RuntimeError, match="does not hold"):
        two.release()
    with pytest.raises(SharedObjectError, match="is not held by who releases it"):
        two.ask("release", "a token that nobody has")
    one.release()
    assert two.acquire(timeout=0)
    two.release()


def take_and_die(lock: Any, gate: Gate) -> None:
    lock.acquire()
    gate.hold()
    os._exit(1)


def take(lock: Any) -> bool:
    with lock:
        return True


def test_a_lock_is_released_when_its_owner_dies(gate: Gate) -> None:
    with Executor(2) as ex:
        lock = make_lock(ex, "a lock")
        ex.with_options(rerun=False).submit(take_and_die, lock, gate)
        gate.wait_come()
        waits = ex.submit(take, lock)
        gate.open(1)
        assert waits.result(TIMEOUT_S) is True
        assert take(lock)


def test_a_lock_given_to_nobody_is_released() -> None:
    """A coroutine is cancelled at the moment when it gets the lock, and another one while it waits."""

    async def acquire(lock: Any, token: str) -> None:
        await lock.ask_async("acquire", token, undo=lambda answer: lock.tell("release", token))

    async def give_up(lock: Any) -> None:
        with lock:
            waiting = [asyncio.ensure_future(acquire(lock, str(number))) for number in range(3)]
            await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[2].cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError) and isinstance(ends[2], asyncio.CancelledError)
        assert ends[1] is None
        lock.tell("release", "1")

    with Executor(1, backend="threads") as ex:
        lock = make_lock(ex, "a lock")
        asyncio.run(give_up(lock))
        assert lock.acquire(timeout=TIMEOUT_S)


# ---------------------------------------------------------------- the queue


def consume(queue: Any) -> list[int]:
    found = []
    while (value := queue.get(TIMEOUT_S)) is not None:
        found.append(value.result())
    return found


def test_each_item_goes_to_one_consumer(ex: Executor) -> None:
    queue = make_queue(ex, "work")
    is_sync = ex._engine.max_workers == 1
    consumers = [] if is_sync else [ex.submit(consume, queue) for _ in range(3)]
    for number in range(60):
        queue.put(ex.submit(abs, -number))
    for _ in range(3):
        queue.put(None)
    if is_sync:
        consumers = [ex.submit(consume, queue) for _ in range(3)]
    found = [future.result(TIMEOUT_S) for future in consumers]
    assert sorted(number for numbers in found for number in numbers) == list(range(60))
    assert all(numbers == sorted(numbers) for numbers in found)
    assert len(queue) == 0


def test_a_full_queue_makes_producers_wait(ex: Executor) -> None:
    queue = make_queue(ex, "small", 2)
    queue.put(1)
    queue.put(2)
    with pytest.raises(TimeoutError):
        queue.put(3, timeout=0.01)
    thread = threading.Thread(target=queue.put, args=(4,))
    thread.start()
    assert [queue.get(TIMEOUT_S) for _ in range(3)] == [1, 2, 4]
    thread.join()
    with pytest.raises(TimeoutError):
        queue.get(timeout=0)


def test_no_item_is_lost_with_a_cancelled_consumer() -> None:
    """The item comes at the moment when the coroutine is cancelled: it goes back, with its future."""

    async def cancel_late(queue: Any, answered: asyncio.Future[Any]) -> None:
        answered.cancel()
        await asyncio.gather(answered, return_exceptions=True)

    async def main(queue: Any, ex: Executor) -> Any:
        for _ in range(20):
            answered = asyncio.ensure_future(queue.get_async())
            await asyncio.sleep(0)
            queue.put(ex.submit(pow, 2, 5))  # answered, but the coroutine has not seen it
            await cancel_late(queue, answered)
            future = await queue.get_async(TIMEOUT_S)
            assert len(queue) == 0
            assert await future == 32

    with Executor(1, backend="threads") as ex:
        ex.submit(int).result()
        asyncio.run(main(make_queue(ex, "q"), ex))


def put_and_end(queue: Any, gate: Gate) -> None:
    from futures_cluster import current_executor

    queue.put(current_executor().submit(gate.hold, 5))


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_queue_keeps_what_its_maker_has_left(backend: str, gate: Gate) -> None:
    with Executor(2, backend=backend) as ex:
        queue = make_queue(ex, "q")
        ex.submit(put_and_end, queue, gate).result(TIMEOUT_S)
        future = queue.get(TIMEOUT_S)
        gate.wait_come()
        gate.open(1)
        assert future.result(TIMEOUT_S) == 5


# ---------------------------------------------------------------- the documentation


@pytest.mark.parametrize("name", ["lock_state", "lock_handle", "queue_state", "queue_handle"])
def test_the_documentation_shows_the_files_as_they_are(name: str) -> None:
    source = (ROOT / "examples" / f"{name}.py").read_text()
    text = (ROOT / "docs" / "guides" / "extending.md").read_text()
    body = source[source.index("@register") if "state" in name else source.index("class ") :]
    assert f"```python\n{body}```" in text if name.startswith("lock") else f"examples/{name}.py" in text
