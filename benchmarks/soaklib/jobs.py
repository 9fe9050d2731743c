"""Small programs over an executor, whose answers are known.

Covers: the jobs, which say how many tasks they were, and the functions that their tasks run. Does not cover: who runs
them and when (``soak.py``), what is done to the workers meanwhile (``places``).

A job gets a ``Side`` and a random generator of its own. It raises ``Wrong`` for an answer that is not the expected one
and ``Hung`` for one that does not come.
"""

from __future__ import annotations

import array
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from futures_cluster import Executor, TaskTimeout, WorkerDied, as_completed, current_executor, wait

#: An answer that does not come within this time never will.
HUNG_S = 120.0


@dataclass
class Side:
    """Where jobs run.

    Attributes
    ----------
    ex : Executor
        For all tasks.
    risky : Executor or None
        For those that have their workers stopped; None: for no such tasks.
    """

    ex: Executor
    risky: Executor | None


class Wrong(Exception):
    """An answer is not the expected one."""


class Hung(Exception):
    """An answer does not come."""


def expect(answer: Any, expected: Any, what: str) -> None:
    """Check an answer."""
    if answer != expected:
        text = f"{what} is {_shortened(answer)}, and must be {_shortened(expected)}"
        if isinstance(answer, list) and isinstance(expected, list):
            less, more = Counter(expected) - Counter(answer), Counter(answer) - Counter(expected)
            text += f"; missing: {_shortened(dict(less))}, too many: {_shortened(dict(more))}"
        raise Wrong(text)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def get(ex: Executor, future: Any) -> Any:
    """The result of a future, which must come."""
    try:
        return future.result(HUNG_S)
    except TimeoutError as error:
        if isinstance(error, TaskTimeout) or future.done():
            raise
        raise Hung(f"{future.key} has not come for {HUNG_S:g} s: {_explanation(ex, future)}") from None


def _explanation(ex: Executor, future: Any) -> str:
    try:
        return ex.explain(future)
    except Exception as error:
        return f"explain() fails with {error!r}"


# ---------------------------------------------------------------- functions of tasks


def same(value: Any) -> Any:
    """Return the argument."""
    return value


def combine(*values: int) -> int:
    """Something that depends on each value and its place."""
    found = 7
    for value in values:
        found = found * 31 + value & 0xFFFFFFFF
    return found


def numbers(start: int, length: int) -> array.array[int]:
    """A large result: 8 bytes for each number."""
    return array.array("q", range(start, start + length))


def total(block: Any) -> int:
    """Depends on the first and the last number and the length."""
    return int(block[0]) + 3 * int(block[-1]) + 7 * len(block)


def fail(number: int) -> None:
    """Raise an error that is known by a number."""
    raise LookupError(number)


def doze(seconds: float, value: Any) -> Any:
    """Take some time."""
    time.sleep(seconds)
    return value


def tree(depth: int, value: int) -> int:
    """A task that submits tasks that submit tasks."""
    if not depth:
        return value
    ex = current_executor()
    return combine(*(each.result() for each in [ex.submit(tree, depth - 1, value + i) for i in range(2)]))


def expected_tree(depth: int, value: int) -> int:
    """What ``tree`` returns."""
    return combine(*(expected_tree(depth - 1, value + i) for i in range(2))) if depth else value


def put_numbers(channel: Any, start: int, number: int) -> int:
    """Put futures and values into a channel."""
    ex = current_executor()
    for i in range(start, start + number):
        channel.put(ex.submit(same, i) if i % 3 == 0 else i)
    return number


# ---------------------------------------------------------------- jobs

Job = Callable[[Side, random.Random], int]
_serial = itertools.count()


def noops(side: Side, rng: random.Random) -> int:
    """Many tasks that do nothing."""
    ex = side.ex
    offset, number = rng.randrange(10**6), rng.randint(200, 2000)
    futures = [ex.submit(same, offset + i) for i in range(number)]
    expect([get(ex, future) for future in futures], list(range(offset, offset + number)), "a list of no-ops")
    return number


def round_trips(side: Side, rng: random.Random) -> int:
    """One task after the other."""
    ex = side.ex
    for _ in range(100):
        value = rng.randrange(10**9)
        expect(get(ex, ex.submit(same, value)), value, "a round trip")
    return 100


def maps(side: Side, rng: random.Random) -> int:
    """``map`` in chunks and with a buffer, at times left before its end."""
    ex = side.ex
    number, offset = rng.randint(100, 1000), rng.randrange(10**6)
    options: dict[str, Any] = rng.choice([{}, {"chunksize": 7}, {"buffersize": 20}, {"chunksize": 5, "buffersize": 4}])
    iterator = ex.map(combine, range(offset, offset + number), itertools.repeat(3), timeout=HUNG_S, **options)
    stop = number if rng.random() < 0.7 else number // 2
    try:
        found = list(itertools.islice(iterator, stop))
    except TimeoutError:
        raise Hung(f"map with {options} has not come for {HUNG_S:g} s") from None
    expect(found, [combine(offset + i, 3) for i in range(stop)], f"map with {options}")
    iterator.close()
    return number // options.get("chunksize", 1)


def as_they_come(side: Side, rng: random.Random) -> int:
    """``as_completed`` that takes more while it runs, or ``wait``."""
    ex = side.ex
    number = rng.randint(20, 200)
    expected = {ex.submit(same, i): i for i in range(number)}
    if rng.random() < 0.5:
        done, not_done = wait(expected, timeout=HUNG_S)
        if not_done:
            raise Hung(f"wait: {len(not_done)} of {number} futures")
        expect(sorted(future.result() for future in done), list(range(number)), "the results of wait")
        return number
    found = []
    iterator = as_completed(list(expected), timeout=HUNG_S)
    try:
        for future in iterator:
            found.append(future.result())
            if len(found) <= number:
                iterator.add(ex.submit(same, number + len(found)))
    except TimeoutError:
        raise Hung(f"as_completed: {number * 2 - len(found)} of {number * 2} futures") from None
    expect(sorted(found), [*range(number), *range(number + 1, 2 * number + 1)], "the results of as_completed")
    return 2 * number


def chains(side: Side, rng: random.Random) -> int:
    """Futures as arguments of tasks."""
    ex = side.ex
    layer = [rng.randrange(1000) for _ in range(rng.randint(2, 40))]
    futures: list[Any] = list(layer)
    count = 0
    for _ in range(rng.randint(1, 8)):
        pairs = [(rng.randrange(len(layer)), rng.randrange(len(layer))) for _ in layer]
        futures = [ex.submit(combine, futures[i], futures[j]) for i, j in pairs]
        layer = [combine(layer[i], layer[j]) for i, j in pairs]
        count += len(layer)
    expect([get(ex, future) for future in futures], layer, "a layer of a graph")
    return count


def arrays(side: Side, rng: random.Random) -> int:
    """Large results that stay on workers, arguments that go there, and values that come here."""
    ex = side.ex
    length, number = rng.choice([1_000, 100_000, 500_000]), rng.randint(1, 8)
    blocks = [ex.submit(numbers, i, length) for i in range(number)]
    sums = [ex.submit(total, block) for block in blocks]
    expect([get(ex, each) for each in sums], [total(range(i, i + length)) for i in range(number)], "sums of blocks")
    expect(total(get(ex, blocks[0])), total(range(length)), "a block that came here")
    mine = numbers(5, length)
    expect(get(ex, ex.submit(total, mine)), total(mine), "the sum of an argument")
    return 2 * number + 1


def scattered(side: Side, rng: random.Random) -> int:
    """Data that is sent once."""
    ex = side.ex
    length = rng.choice([10, 300_000])
    block = ex.scatter(numbers(9, length))
    expect({get(ex, ex.submit(total, block)) for _ in range(10)}, {total(numbers(9, length))}, "sums of scattered data")
    return 11


def nested(side: Side, rng: random.Random) -> int:
    """Tasks that submit tasks and wait for them."""
    ex = side.ex
    depth, value = rng.randint(1, 4), rng.randrange(1000)
    futures = [ex.submit(tree, depth, value + i) for i in range(3)]
    expect([get(ex, each) for each in futures], [expected_tree(depth, value + i) for i in range(3)], "a tree of tasks")
    return 3 * (2 ** (depth + 1) - 1)


def errors(side: Side, rng: random.Random) -> int:
    """Tasks that raise, and tasks that need them."""
    ex = side.ex
    for number in range(20):
        future = ex.submit(fail, number)
        for each in (future, ex.submit(same, future)):
            try:
                get(ex, each)
            except LookupError as error:
                expect(error.args, (number,), "the argument of an error")
            else:
                raise Wrong(f"{each.key} did not raise")
    return 40


def callbacks(side: Side, rng: random.Random) -> int:
    """Callbacks are called once for each future."""
    ex = side.ex
    number = rng.randint(10, 100)
    called: list[Any] = []
    last = threading.Event()

    def call(future: Any) -> None:
        called.append(future.exception() or future.result())
        if len(called) == number:
            last.set()

    for i in range(number):
        ex.submit(same, i).add_done_callback(call)
    if not last.wait(HUNG_S):
        raise Hung(f"{number - len(called)} of {number} callbacks were not called")
    for error in [each for each in called if isinstance(each, BaseException)]:
        raise error
    expect(sorted(called), list(range(number)), "what callbacks got")
    return number


def cancels(side: Side, rng: random.Random) -> int:
    """Futures that are cancelled, also while they run, beside others."""
    force = side.risky is not None and rng.random() < 0.3
    ex = side.risky if side.risky is not None else side.ex
    futures = [ex.submit(doze, rng.random() * 0.02, i) for i in range(30)]
    chosen = rng.sample(futures, 10)
    gone = {future for future in chosen if future.cancel(force=force)}
    for i, future in enumerate(futures):
        if future in gone:
            try:
                future.result(HUNG_S)
            except CancelledError:
                continue
            raise Wrong(f"{future.key} was cancelled and has a result")
        expect(get(ex, future), i, "a result beside cancelled futures")
    return 30


def timeouts(side: Side, rng: random.Random) -> int:
    """Tasks that run too long, and waits that are too short."""
    assert side.risky is not None
    ex = side.ex
    slow = side.risky.with_options(timeout=0.2).submit(doze, 60, None)
    beside = [ex.submit(same, i) for i in range(20)]
    expect([get(ex, each) for each in beside], list(range(20)), "results beside a task that runs too long")
    try:
        get(ex, slow)
        raise Wrong("a task of 60 s ended within 0.2 s")
    except TaskTimeout:
        pass
    future = ex.submit(doze, 0.05, 7)
    try:
        expect(future.result(0.001), 7, "a result that was waited for 1 ms")
    except TimeoutError:
        expect(get(ex, future), 7, "a result after a wait that was too short")
    return 22


def channels(side: Side, rng: random.Random) -> int:
    """A channel that tasks fill, and this thread empties."""
    ex = side.ex
    channel = ex.channel(f"soak-{os.getpid()}-{next(_serial)}")
    writers, number = rng.randint(1, 3), rng.randint(1, 30)
    view = ex.with_options(rerun=False)
    putting = [view.submit(put_numbers, channel, 1000 * i, number) for i in range(writers)]
    found: list[int] = []
    whole = True
    for future in putting:
        try:
            expect(get(ex, future), number, "how much was put into a channel")
        except WorkerDied:
            whole = False
    channel.close()
    for item in channel:
        try:
            found.append(get(ex, item) if hasattr(item, "result") else item)
        except CancelledError:  # of a task whose client was the worker that died
            if whole:
                raise
    expected = sorted(1000 * i + j for i in range(writers) for j in range(number))
    if whole:
        expect(sorted(found), expected, "what is in a channel")
    elif not set(found) <= set(expected):
        raise Wrong(f"a channel has {_shortened(sorted(set(found) - set(expected)))}, which was not put there")
    channel.delete()
    return writers * (1 + number // 3)


def graphs(side: Side, rng: random.Random) -> int:
    """Dask's graphs and persisted collections."""
    ex = side.ex
    import dask

    number = rng.randint(2, 30)
    leaves = [dask.delayed(same)(i) for i in range(number)]
    pairs = [dask.delayed(combine)(one, two) for one, two in itertools.pairwise(leaves)]
    expected = [combine(i, i + 1) for i in range(number - 1)]
    if rng.random() < 0.5:
        found = get(ex, ex.compute(dask.delayed(list)(pairs)))
    else:
        kept = ex.persist(pairs)
        found = get(ex, ex.compute(dask.delayed(list)(kept)))
    expect(found, expected, "a graph of Dask's")
    return 2 * number


def _has_dask() -> bool:
    import importlib.util

    return importlib.util.find_spec("dask") is not None


def all_jobs(side: Side) -> dict[Job, int]:
    """The jobs that can run there, and how often each comes up."""
    jobs: dict[Job, int] = {
        noops: 6,
        round_trips: 3,
        maps: 4,
        as_they_come: 3,
        chains: 3,
        arrays: 2,
        scattered: 2,
        nested: 2,
        errors: 2,
        callbacks: 2,
        cancels: 1,
        channels: 2,
    }
    if side.risky is not None:
        jobs[timeouts] = 1
    if _has_dask():
        jobs[graphs] = 2
    return jobs
