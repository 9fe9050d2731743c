"""Several clients: what they share, what one's leaving means for others, and that nothing of those that left stays."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler.state import State

from .builders import Cluster, ask_back, cancelled, done, finished, submit


def two_clients(workers: int = 1, **offers: Any) -> Cluster:
    cluster = Cluster(workers, **offers)
    cluster.given(m.ClientJoined("d"))
    return cluster


# ---------------------------------------------------------------- shared keys


def test_who_submits_a_key_that_runs_joins() -> None:
    cluster = two_clients()
    cluster.given(submit("k"))
    cluster.quiet(submit("k", client="d"))
    assert cluster.task("k").wanted_by == ("c", "d")


def test_one_releases_and_the_other_keeps() -> None:
    cluster = two_clients()
    cluster.given(submit("k"))
    cluster.given(submit("k", client="d"))
    cluster.quiet(m.ReleaseKeys("c", ["k"]))
    assert cluster.finish("k") == [done(finished("k"), client="d")]
    cluster.quiet(m.ReleaseKeys("c", ["k"]))  # again: no more than before
    assert cluster.states() == {"k": "memory"}


def test_one_cancels_for_itself_alone() -> None:
    cluster = two_clients()
    cluster.given(submit("k"))
    cluster.given(submit("k", client="d"))
    cluster.quiet(m.CancelTasks("c", ["k"], force=True))
    assert cluster.finish("k") == [done(finished("k"), client="d")]


def test_nobody_cancels_what_another_makes_something_of() -> None:
    cluster = two_clients(slots=9)
    cluster.given(submit("k"))
    cluster.given(submit("mine", ("also mine", ["k"])))
    cluster.given(submit("k", ("between", ["k"]), ("theirs", ["between"]), client="d", wanted=["theirs"]))
    cluster.quiet(m.CancelTasks("c", ["k"]))
    cluster.finish("k", "mine", "also mine", "between")
    assert cluster.finish("theirs")[-1] == done(finished("theirs"), client="d")


def test_what_only_the_canceller_makes_of_it_is_cancelled() -> None:
    cluster = two_clients()
    cluster.given(submit("k", ("mine", ["k"])))
    cluster.given(submit("theirs", client="d"))
    cluster.expect(m.CancelTasks("c", ["k"]), ask_back("w1", ("k", 1)), done(cancelled("mine")))


def test_the_first_client_leaves_and_the_second_gets_its_result() -> None:
    cluster = two_clients()
    cluster.given(submit("k"))
    cluster.given(submit("k", client="d"))
    cluster.quiet(m.ClientLeft("c"))
    assert cluster.finish("k") == [done(finished("k"), client="d")]


# ---------------------------------------------------------------- leaving


@pytest.mark.parametrize(
    ("client", "events"),
    [
        ("c", [m.ClientLeft("c")]),
        ("c", [m.CancelTasks("c", ["k"])]),
        ("w1", [m.CancelTasks("c", ["parent"], True), m.WorkerGone("w1", deliberate=True)]),
    ],
)
def test_what_runs_though_no_client_wants_it_is_stopped_by_its_timeout(client: str, events: list[m.Message]) -> None:
    cluster = Cluster(2)
    cluster.given(m.ClientJoined("w1"))
    options = TaskOptions(timeout_s=3.0)
    cluster.given(submit("parent", options=options))
    cluster.given(submit("k", options=options, client=client))
    cluster.start("parent", "k")
    for event in events:
        cluster.given(event)
    assert cluster.where()["k"] == "w2"
    cluster.given(m.TasksReturned("w2", [], [("k", cluster.task("k").attempt)]))
    cluster.now = 3.0
    assert m.StopWorker("w2", True, "k ran longer than its timeout of 3.0 s") in cluster.given(m.Tick())
    assert "k" not in cluster.states()


def sizes(thing: Any) -> Any:
    """How much is in each container of the state, however deep."""
    if isinstance(thing, dict):
        return {str(key): sizes(value) for key, value in thing.items()}
    if isinstance(thing, Sized) and not isinstance(thing, (str, bytes)):
        return len(thing)
    return None


def contents(state: State) -> dict[str, Any]:
    """Sizes of all that the scheduler keeps, and of what it keeps for each worker."""
    found = {name: sizes(value) for name, value in vars(state).items() if name != "event_log"}
    for worker in state.workers.values():
        for slot in worker.__slots__:
            found[f"{worker.name}.{slot}"] = sizes(getattr(worker, slot))
        found[f"{worker.name} bytes"] = (worker.held_bytes, worker.copying_bytes)
    return found


def use(cluster: Cluster, client: str) -> None:
    """A client does a bit of everything."""
    cluster.given(m.ClientJoined(client))
    keys = [f"{client}-{i}" for i in range(6)]
    cluster.given(submit(*keys[:2], (keys[2], [keys[0]]), client=client))
    cluster.given(submit(keys[3], client=client, options=TaskOptions(priority=2, resources=(("GPU", 1.0),))))
    cluster.given(submit(keys[4], client=client, options=TaskOptions(workers=("nobody",))))
    cluster.given(submit(keys[5], (f"{client}-g", [keys[5]]), client=client, wanted=[f"{client}-g"]))
    cluster.given(m.ScatterData(client, [(f"{client}-x", 100, "w1")], 2))
    cluster.given(submit((f"{client}-y", [f"{client}-x"]), client=client))


def test_a_hundred_clients_come_and_go_and_nothing_stays() -> None:
    cluster = Cluster(3, slots=2, resources={"GPU": 1.0})
    use(cluster, "first")  # what is remembered for the sake of speed: durations, empty queues
    answer(cluster)
    cluster.given(m.ClientLeft("first"))
    answer(cluster)
    before = contents(cluster.machine.state)
    for i in range(100):
        use(cluster, f"c{i}")
        if i % 2:
            answer(cluster, stays=True)
        cluster.given(m.ClientLeft(f"c{i}"))
        answer(cluster)
    assert contents(cluster.machine.state) == before


def answer(cluster: Cluster, stays: bool = False) -> None:
    """The workers end all they have, and make the copies they were asked for."""
    while cluster.where() or cluster.machine.state.copying:
        for key, name in cluster.where().items():
            row = (key, cluster.task(key).attempt, None if stays else b"result", 10, 0.01)
            cluster.given(m.TasksFinished(name, [row]))
        for task, makers in list(cluster.machine.state.copying.items()):
            cluster.given(m.DataAdded(next(iter(makers)).name, [task.key]))


# ---------------------------------------------------------------- workers that come back


def test_a_worker_that_comes_back_is_another_one() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", "b"))
    cluster.start("a")
    cluster.given(m.WorkerGone("w1", None, cause="it was silent for 60 s", unheard=True))
    cluster.given(m.WorkerConnected("w1", "a1"))
    assert len(cluster.task("a").losses) == 1 and cluster.where() == {"a": "w1"}
    attempt = cluster.task("a").attempt
    assert attempt > 1
    for old in (
        m.TasksStarted("w1", [("a", 1)]),
        m.TasksFinished("w1", [("a", 1, b"old", 3, 1.0)]),
        m.TasksFinished("w1", [], [("a", 1, b"old error", 1.0)]),
        m.TasksReturned("w1", [("a", 1)], [("b", 1)]),
        m.DataAdded("w9", ["a"]),
    ):
        cluster.quiet(old)
    assert cluster.where() == {"a": "w1"} and not cluster.task("a").started
    assert done(finished("a")) in cluster.finish("a")


def test_what_must_not_run_twice_fails_when_its_worker_falls_silent() -> None:
    """It may have started, and its report may be stuck behind the silence."""
    cluster = Cluster(2)
    cluster.measured(0.001)
    cluster.given(submit("once", options=TaskOptions(rerun=False)))
    (name,) = cluster.where().values()
    cluster.given(submit("other", options=TaskOptions(workers=(name,), rerun=False)))
    cluster.start("once")
    commands = cluster.given(m.WorkerGone(name, None, cause="it was silent", unheard=True))
    assert [row[:2] for row in commands[-1].message.done] == [("once", m.FAILED), ("other", m.FAILED)]


def test_a_copy_that_is_not_there_is_found_out() -> None:
    """A former self said that it had one: whoever asks for it finds nothing, and says so."""
    cluster = Cluster(2)
    cluster.given(submit("a"))
    where = cluster.where()["a"]
    other = "w2" if where == "w1" else "w1"
    cluster.finish("a", payload=None, size_bytes=100)
    cluster.given(m.DataAdded(other, ["a"]))
    cluster.given(m.ReportMissing("c", [("a", other)]))
    assert list(cluster.task("a").holders or ()) == [cluster.worker(where)]
