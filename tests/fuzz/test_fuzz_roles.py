"""Messages that are nearly right, from each role, to a scheduler and to a worker that serves data.

Whatever a peer says after it has proved that it knows the secret, it is answered or sent away: no exception comes out,
the scheduler's books stay whole, honest peers get their results, and nothing stays when it has gone.

A failure names its seed. ``FUTURES_CLUSTER_TEST_FUZZ=100000`` asks for more messages a role, and
``FUTURES_CLUSTER_TEST_FUZZ_SEEDS=50`` for more seeds.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from futures_cluster import clocks
from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.services.worker.data_server import DataServer
from futures_cluster.services.worker.reporter import WorkerReporter
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.wire import frames
from futures_cluster.wire.codec import payloads, pickle_codec
from futures_cluster.wire.transports import registry

from .mutations import mutated
from .site import Listening, Site, Wire

FEW, MANY = 300, int(os.environ.get("FUTURES_CLUSTER_TEST_FUZZ", "5000"))
SEEDS = range(1, 1 + int(os.environ.get("FUTURES_CLUSTER_TEST_FUZZ_SEEDS", "2")))
each_number = pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])

each_seed = pytest.mark.parametrize("seed", SEEDS)

KEYS = [f"k{i}" for i in range(12)]
FUNCTIONS = ["f0", "f1", "f2"]
WORKERS = ["honest", "liar", "nobody"]
Make = Callable[[random.Random], m.Message]


def some(rng: random.Random, values: list[str], most: int = 4) -> list[str]:
    return [rng.choice(values) for _ in range(rng.randrange(most))]


def options(rng: random.Random) -> m.TaskOptions:
    return m.TaskOptions(
        rng.randrange(-3, 4),
        rng.randrange(3),
        rng.choice((None, None, 1e-3, 60.0)),
        tuple({name: float(rng.randrange(3)) for name in some(rng, ["GPU", "disk"], 3)}.items()),
        tuple(some(rng, WORKERS, 2)),
        rng.random() < 0.8,
        rng.choice((0.0, 0.0, 1e-3, 60.0)),
        rng.choice(((), (("api", 1.0),))),
    )


def from_client(name: str) -> list[Make]:
    """What a client may say, and a worker for its tasks."""
    item = (b"item", 4, ("k1", "k2"))
    ops: list[tuple[str, list[Any]]] = [
        ("open", [{"maxlen": None}]),
        ("open", [{"maxlen": 5}]),
        ("put", [[item, item]]),
        ("next", [0, 0, 100]),
        ("next", [1, 3, 2]),
        ("close", []),
        ("facts", []),
        ("delete", []),
    ]
    questions = ["workers", "status", "status_url", "output", "observed", "unfinished", "lacks"]
    questions += ["explain", "observe", "what"]

    def submit(rng: random.Random) -> m.Message:
        rows = [(key, rng.choice(FUNCTIONS), b"args", some(rng, KEYS)) for key in some(rng, KEYS, 6)]
        functions = [(function, "name", b"code") for function in FUNCTIONS]
        wanted = rng.choice((None, None, some(rng, KEYS)))
        apart = [(key, options(rng)) for key in some(rng, KEYS, 3)]
        calls = [(key, rng.choice(("one", "other"))) for key in some(rng, KEYS, 3)]
        return m.SubmitTasks(name, rows, functions, options(rng), rng.randrange(3), wanted, apart, calls)

    def share(rng: random.Random) -> m.Message:
        op, args = rng.choice(ops)
        return m.AskShared(name, rng.randrange(6), "channel", rng.choice("cd"), op, args)

    return [
        lambda rng: m.ClientJoined(name),
        submit,
        submit,
        lambda rng: m.SubmitTasks(name, [(key, "", None, []) for key in some(rng, KEYS)]),
        lambda rng: m.CancelTasks(name, some(rng, KEYS), rng.random() < 0.5),
        lambda rng: m.ReleaseKeys(name, some(rng, KEYS, 8)),
        lambda rng: m.ReleaseFunctions(name, some(rng, FUNCTIONS)),
        lambda rng: m.ReportMissing(name, [(key, rng.choice(WORKERS)) for key in some(rng, KEYS)]),
        lambda rng: m.ScatterData(name, [(k, 5, rng.choice(WORKERS)) for k in some(rng, KEYS)], rng.randrange(1, 4)),
        share,
        share,
        lambda rng: m.WithdrawShared(name, rng.randrange(6)),
        lambda rng: m.SharedTaken(name, rng.randrange(6)),
        lambda rng: m.AskScheduler(rng.randrange(6), rng.choice(questions), rng.choice((None, 0, "k1", "output"))),
        lambda rng: m.Heartbeat(name, {"silence_s": 60.0, "memory_bytes": 10**8, "stored": 1, "spilled": 0}),
    ]


def client(wire: Wire) -> list[Make]:
    """What a client says."""
    return [
        *from_client("liar"),
        lambda rng: m.ShareCode("liar", ["/tmp"], [("module.py", b"x = 1")], [("a", "/a.py", 1, 5, "hash")]),
        lambda rng: m.LogSettings("liar", [("", 20), ("a", 10)], 0, False, b"filters"),
    ]


FACTS = WorkerReporter(
    WorkerService(
        WorkerSettings("liar", ""),
        pickle_codec.PickleCodec(None),
        None,  # type: ignore[arg-type]
        lambda messages: None,
        lambda: None,
    ),
    None,
).facts(detail=True)
FACTS |= {
    "stream": [[0, 0, "f", 1.0, 2.0, 3, "k1", 10, False]],
    "stream_dropped": 1,
    "failures": [[1.0, "k1", "f", "ValueError", "text"]],
    "logs": [[1.0, "WARNING", "logger", "text"]],
    "running": [[0, "f", "k1", 1.0]],
    "profile": [2, {"f": [2, {"g": [1, {}]}]}],
    "output": [["k1", "a line"]],
    "traffic": [["honest", 10, 1, 0.5]],
}


def worker(wire: Wire) -> list[Make]:
    """What a worker says, mostly of what it was told to run."""
    runs: dict[str, int] = {}

    def told(rng: random.Random, most: int = 4) -> list[tuple[str, int]]:
        for message in wire.take():
            if type(message) is m.RunTasks:
                runs.update((key, attempt) for key, attempt, *_ in message.runs)
        names = [*runs] or KEYS
        return [(key, runs.get(key, 1)) for key in some(rng, names, most)]

    def finished(rng: random.Random) -> m.Message:
        rows = [(*run, rng.choice((b"result", None)), rng.randrange(10**6), 0.01) for run in told(rng)]
        return m.TasksFinished("liar", rows, [(*run, b"error", 0.01) for run in told(rng, 2)])

    return [
        *from_client("liar"),
        *[finished] * 6,
        lambda rng: m.WorkerConnected("liar", "fuzz://liar", 2, True, {"GPU": 1.0}, "host", 7, "", "1"),
        lambda rng: m.TasksStarted("liar", told(rng)),
        lambda rng: m.TasksStarted("liar", told(rng)),
        lambda rng: m.TasksReturned("liar", told(rng), told(rng)),
        lambda rng: m.DataAdded("liar", some(rng, KEYS), 10**6, 0.1),
        lambda rng: m.SlotsChanged("liar", rng.randrange(4)),
        lambda rng: m.WorkerRetiring("liar", rng.random() < 0.5),
        lambda rng: m.WorkerReport("liar", FACTS, rng.random() < 0.5),
        lambda rng: m.WorkerReport("liar", FACTS, rng.random() < 0.5),
        lambda rng: m.LogRecords("liar", [(key, b"record") for key in some(rng, KEYS)], 1),
    ]


def manager(wire: Wire) -> list[Make]:
    """What a manager says."""
    return [
        lambda rng: m.WorkerEnded(rng.choice(WORKERS), [1, 2], rng.random() < 0.5, "it died", rng.random() < 0.5, "1"),
        lambda rng: m.RetireWorkers(some(rng, WORKERS)),
        lambda rng: m.Heartbeat("liar", {"silence_s": 60.0, "running": ["1"]}),
    ]


def nearly(rng: random.Random, message: m.Message) -> list[m.Message]:
    """The message as it comes out of a frame, mostly with something wrong in it."""
    rows = msgpack.unpackb(frames.pack([message])[0][frames.HEAD.size :], use_list=True)
    code, sender = rows[0][0], rows[0][1:2]
    rows = mutated(rng, rows, rng.choice((0, 1, 1, 1, 2, 3)))
    if rng.random() < 0.9 and type(rows) is list and rows and type(rows[0]) is list and len(rows[0]) > 1:
        rows[0][:2] = [code, *sender]  # else it is nothing new that somebody else is meant
    try:
        body = msgpack.packb(rows)
    except (ValueError, OverflowError):  # too deep, or too large a number, to be packed
        return []
    return frames.unpack(body)


async def tell(rng: random.Random, wire: Wire, message: m.Message) -> None:
    """Say something that is nearly right; the connection ends when it is no message at all."""
    try:
        messages = nearly(rng, message)
    except ProtocolError:
        return
    wire.give(messages)


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Listening:
    listening = Listening()
    monkeypatch.setitem(registry._transports, "fuzz", listening)
    return listening


@each_number
@pytest.mark.parametrize("role", [client, worker, manager], ids=lambda role: role.__name__)
@each_seed
def test_a_peer_that_lies_disturbs_nobody(
    role: Callable[[Wire], list[Make]], number: int, seed: int, transport: Listening
) -> None:
    rng = random.Random(f"{role.__name__} {seed}")

    async def run() -> None:
        async with Site(transport) as site:
            blocks = []
            for _ in range(2):
                await lie(site, number // 2)
                await leave(site)
                gc.collect()
                blocks.append(sys.getallocatedblocks())
            assert blocks[1] - blocks[0] < 20_000, "it grows"

    async def lie(site: Site, times: int) -> None:
        wire = join(site)
        makers = role(wire)
        for turn in range(times):
            if wire.closed:
                wire = join(site)
                makers = role(wire)
            message = rng.choice(makers)(rng)
            try:
                await tell(rng, wire, message)
                await site.settle()
                if turn % 20 == 0:
                    await site.serve_honest()
                    await site.settle()
                if turn % 50 == 0:
                    look(site)
            except BaseException as error:
                error.add_note(f"after {message!r}, turn {turn} of seed {seed}")
                raise
        wire.hang_up()

    def join(site: Site) -> Wire:
        joined = [m.WorkerConnected("liar", "fuzz://liar", 2)] if role is worker else []
        return site.join(role.__name__, "liar", *joined)

    def look(site: Site) -> None:
        """What people are shown is not spoiled, either."""
        monitor = site.server.questions.monitor
        frames.pack([m.AskReply(1, monitor.everything())])
        frames.pack([m.AskReply(1, [site.server.questions.status(), site.server.questions.worker_facts()])])

    async def leave(site: Site) -> None:
        await site.settle()
        await site.finish()
        site.client.hang_up()
        site.work()
        await site.settle()
        assert site.leftovers() == {**dict.fromkeys(site.leftovers(), 0), "workers": 1}
        site.client = site.join("client", "user")

    asyncio.run(run())


@pytest.mark.parametrize(
    "first",
    [[], [m.DropData(["k"])], [m.Hello("king", "n")], [m.Hello("client", "n"), m.SubmitTasks("other", [])]],
    ids=["nothing", "no introduction", "no role", "in another name"],
)
def test_a_first_frame_that_is_wrong_ends_the_connection(first: list[m.Message], transport: Listening) -> None:
    async def run() -> None:
        async with Site(transport) as site:
            wire = transport.connect_here()
            wire.give(first)
            await site.settle()
            assert wire.closed
            await site.serve_honest()

    asyncio.run(run())


@each_number
@each_seed
def test_an_asker_of_data_that_lies_disturbs_nobody(number: int, seed: int) -> None:
    rng = random.Random(f"data {seed}")
    errors: list[Any] = []
    told: list[m.Message] = []

    makers: list[Make] = [
        lambda rng: m.GetData(rng.randrange(6), some(rng, KEYS), rng.choice(([], ["zlib"]))),
        lambda rng: m.PutData(rng.randrange(6), [(key, payloads.dump(key)) for key in some(rng, KEYS)]),
        lambda rng: m.PutData(1, [("k1", (None, ("shm", 1, 2, 3, ((0, 3),), 5)))]),
        lambda rng: m.SegmentsMapped([rng.randrange(50)]),
        lambda rng: m.Hello("client", "liar"),
    ]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, what: errors.append(what))
        codec = pickle_codec.PickleCodec(None)
        server = DataServer(WorkerService(WorkerSettings("w", ""), codec, loop, told.extend, lambda: None))
        server.keep(m.PutData(0, [("honest", payloads.dump("data"))]))
        honest, wire = Wire(), Wire()
        server.accept(honest)
        server.accept(wire)
        for turn in range(number):
            if wire.closed:
                wire = Wire()
                server.accept(wire)
            message = rng.choice(makers)(rng)
            await tell(rng, wire, message)
            honest.give([m.GetData(turn, ["honest"])])
            end = clocks.monotonic() + 30
            while not honest.said:
                assert clocks.monotonic() < end
                await asyncio.sleep(0)
            (answer,) = honest.take()
            assert isinstance(answer, m.Data) and [key for key, _ in answer.found] == ["honest"]
            assert errors == [], (message, turn, seed)
            wire.take()
        for each in (wire, honest):
            each.hang_up()

    asyncio.run(run())
