"""Why a task does not run, in words, for every reason there is."""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler.views import explain as module
from futures_cluster.scheduler.views.explain import explain

from .builders import Cluster, submit


def why(cluster: Cluster, key: str) -> list[str]:
    return explain(cluster.machine.state, key, cluster.now)


def gpu(amount: float) -> TaskOptions:
    return TaskOptions(resources=(("GPU", amount),))


def test_an_unknown_key() -> None:
    (line,) = why(Cluster(), "k")
    assert "'k' is not known" in line


def test_no_worker() -> None:
    cluster = Cluster(0)
    cluster.given(submit("k"))
    assert why(cluster, "k") == ["'k' is queued: no worker is there"]


def test_all_workers_end() -> None:
    cluster = Cluster(1)
    cluster.given(m.ScatterData("c", [("x", 10, "w1")]))
    cluster.given(m.RetireWorkers(["w1"]))
    cluster.given(submit("k"))
    assert why(cluster, "k") == ["'k' is queued: the only worker is about to end"]


def test_all_workers_are_silent() -> None:
    cluster = Cluster(2)
    cluster.given(submit("busy", "too", "k"))
    cluster.start("busy", "too")
    cluster.given(m.WorkerSilent("w1"))
    assert why(cluster, "k") == ["'k' is queued: 0 tasks of priority 0 or higher come before it, on 1 slot"]
    cluster.given(m.WorkerSilent("w2"))
    cluster.given(submit("named", options=TaskOptions(workers=("w2",))))
    assert [line.partition("; ")[0].partition(", which")[0] for line in why(cluster, "k") + why(cluster, "named")] == [
        "'k' is queued: worker w1 does not answer: it runs f ('busy')",
        "'k' is queued: worker w2 does not answer: it runs f ('too')",
        "'named' is queued: worker w2 does not answer: it runs f ('too')",
    ]


def test_the_place_is_taken() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(m.WorkerRetiring("w1"))
    cluster.given(m.WorkerConnected("w1~1", "a2"))
    cluster.given(submit("k"))
    assert why(cluster, "k") == [
        "'k' is queued: worker w1~1 gets no tasks before those on w1, whose place it takes, have ended"
    ]


def test_others_come_first() -> None:
    cluster = Cluster(2)
    cluster.given(submit("first"))
    cluster.given(submit("urgent", "urgent too", "urgent three", options=TaskOptions(priority=1)))
    cluster.given(submit("before", "k"))
    assert set(cluster.where()) == {"first", "urgent"}
    assert why(cluster, "k") == ["'k' is queued: 3 tasks of priority 0 or higher come before it, on 2 slots"]
    cluster.given(m.ClientJoined("d"))
    assert why(cluster, "k")[0].endswith("which have their turns too")


def test_inputs_and_why_they_do_not_run() -> None:
    cluster = Cluster(1)
    cluster.given(submit("busy"))
    cluster.given(submit("a", ("b", ["a"]), ("k", ["b", "busy"])))
    cluster.now = 3.0
    assert why(cluster, "k") == [
        "'k' waits for 2 of its 2 inputs: 'b', 'busy'",
        "'b' waits for 1 of its 1 input: 'a'",
        "'a' is queued: 0 tasks of priority 0 or higher come before it, on 1 slot",
        "'busy' was committed to worker w1 3 s ago; it is about to run, or runs",
    ]


def test_long_explanations_end() -> None:
    cluster = Cluster(1)
    cluster.given(submit("k0", *((f"k{i}", [f"k{i - 1}"]) for i in range(1, 100))))
    lines = why(cluster, "k99")
    assert len(lines) == module.MAX_LINES + 1 and lines[-1] == "... and so on"


def test_a_resource_that_nobody_has() -> None:
    cluster = Cluster(2, resources={"GPU": 2.0})
    cluster.given(submit("k", options=gpu(4)))
    assert why(cluster, "k") == ["'k' is queued: no worker has 4 of the resource 'GPU'; the most is 2"]


def test_resources_that_nobody_has_together() -> None:
    cluster = Cluster(0)
    cluster.given(m.WorkerConnected("w1", "a1", resources={"GPU": 1.0}))
    cluster.given(m.WorkerConnected("w2", "a2", resources={"disk": 1.0}))
    cluster.given(submit("k", options=TaskOptions(resources=(("GPU", 1.0), ("disk", 1.0)))))
    assert why(cluster, "k") == ["'k' is queued: no worker has 1 of 'GPU' and 1 of 'disk' together"]


def test_a_resource_in_use() -> None:
    cluster = Cluster(1, slots=4, resources={"GPU": 1.0})
    cluster.given(submit("user", "before", "k", options=gpu(1)))
    assert why(cluster, "k") == ["'k' is queued: what it asks for is in use on w1; 1 like it comes before it"]


def test_workers_that_are_not_there() -> None:
    cluster = Cluster(2)
    cluster.given(submit("k", options=TaskOptions(workers=("w8", "w9"))))
    (line,) = why(cluster, "k")
    assert line == "'k' is queued: it may run only on w8, w9, and none of these is there (there are w1, w2)"


def test_workers_that_are_busy() -> None:
    cluster = Cluster(2)
    cluster.given(submit("first", "k", options=TaskOptions(workers=("w1",))))
    assert why(cluster, "k") == ["'k' is queued: w1 may run it and have no free slot; 0 like it come before it"]


def test_a_suspect_runs_alone() -> None:
    cluster = Cluster(3, slots=2)
    cluster.given(submit("k"))
    for _ in range(2):
        cluster.given(submit(f"other{_}", f"another{_}"))
        cluster.given(m.WorkerGone(cluster.where()["k"], ["k"]))
    assert why(cluster, "k") == ["'k' pauses for 0.5 s before it runs again: 2 workers were lost while they ran it"]
    cluster.pause()
    (line,) = why(cluster, "k")
    assert "2 workers were lost while they ran it, so it has to run alone; worker w3 gets nothing else" in line


def test_assigned_behind_others() -> None:
    cluster = Cluster(1)
    cluster.measured(0.002)
    cluster.given(submit(*(f"k{i}" for i in range(6))))
    cluster.now = 0.5
    assert why(cluster, "k5") == [
        "'k5' was committed to worker w1 0.5 s ago, behind 5 others that are expected to take 0.01 s"
    ]
    assert "behind 1 other that is expected to take less than 0.01 s" in why(cluster, "k1")[0]
    cluster.given(m.CancelTasks("c", ["k4"]))
    assert why(cluster, "k4")[0].endswith("; it was asked back")


def test_fetching() -> None:
    cluster = Cluster(2)
    cluster.given(submit("x"))
    cluster.finish("x", payload=None, size_bytes=1000)
    (holder,) = cluster.task("x").holders or ()
    other = "w1" if holder.name == "w2" else "w2"
    cluster.given(submit(("k", ["x"]), options=TaskOptions(workers=(other,))))
    assert why(cluster, "k") == [
        f"'k' was committed to worker {other} less than 0.01 s ago; it is about to run, or runs; its worker fetches 'x'"
    ]


def test_running() -> None:
    cluster = Cluster(1, host="node7")
    cluster.given(submit("k"))
    cluster.now = 2.0
    cluster.start("k")
    cluster.now = 12.5
    assert why(cluster, "k") == ["'k' runs on worker w1 on node7, for 10.5 s"]


def test_what_has_ended() -> None:
    cluster = Cluster(1)
    cluster.given(submit("small", "large", ("made of it", ["large"])))
    cluster.finish("small")
    cluster.finish("large", payload=None, size_bytes=1000)
    assert why(cluster, "small") == ["'small' has finished; the scheduler holds the result of 6 bytes"]
    assert why(cluster, "large") == ["'large' has finished; 1000 bytes are held by w1"]
    cluster.finish("made of it", payload=None)
    cluster.given(m.ReleaseKeys("c", ["large"]))
    assert why(cluster, "large")[0].startswith("'large' has run, and its result was freed")
    cluster.given(m.ScatterData("c", [("x", 10, "w1")]))
    assert why(cluster, "x") == ["'x' was scattered; 10 bytes are held by w1"]


def test_what_has_failed() -> None:
    cluster = Cluster(1)
    cluster.given(submit("raises", ("lost", ["unknown"])))
    cluster.given(m.TasksFinished("w1", [], [("raises", 1, b"pickle", 1.0)]))
    assert why(cluster, "raises")[0].startswith("'raises' has failed: the function raised")
    assert why(cluster, "lost") == ["'lost' has failed: DataLost: the input 'unknown' of 'lost' is no longer known"]
