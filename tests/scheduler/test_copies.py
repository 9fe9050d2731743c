"""Data that has to be on more workers, or on others: scattering with replicas, retiring workers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.scheduler import replication, transitions
from futures_cluster.testing.simulator import Faults, Simulation, Work

from .builders import Cluster, ask_back, done, drop, failed, finished, recomputing, run, runs, submit

SIZE = 1000


def scatter(*rows: tuple[str, str], replicas: int = 1, client: str = "c", size_bytes: int = SIZE) -> m.ScatterData:
    return m.ScatterData(client, [(key, size_bytes, worker) for key, worker in rows], replicas)


def copy(worker: str, *rows: tuple[str, str], size_bytes: int = SIZE) -> m.ToWorker:
    """The worker is to copy these keys from those workers."""
    return m.ToWorker(worker, m.CopyData([(key, size_bytes, ((name, "a" + name[1:]),)) for key, name in rows]))


def there(key: str, *names: str) -> m.ToClient:
    return done(finished(key, None, SIZE, *((name, "a" + name[1:]) for name in names)))


def gone(key: str) -> Any:
    text = f"{key!r} was lost with its last worker; {transitions.SCATTERED_ADVICE}"
    return failed(key, {"kind": "DataLost", "text": text})


def retired(worker: str) -> m.StopWorker:
    return m.StopWorker(worker, False, "it was retired")


# ---------------------------------------------------------------- scattering


def test_scattered_data_is_there_at_once() -> None:
    cluster = Cluster(2)
    cluster.expect(scatter(("x", "w2")), there("x", "w2"))
    cluster.given(submit(("a", ["x"])))
    assert cluster.where() == {"a": "w2"}
    cluster.finish("a")
    cluster.expect(m.ReleaseKeys("c", ["x"]), drop("w2", "x"))
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.given(m.ReleaseFunctions("c", ["f"]))
    assert not cluster.states() and not cluster.machine.state.functions


def test_the_client_hears_of_it_when_there_are_enough_copies() -> None:
    cluster = Cluster(3)
    cluster.expect(scatter(("x", "w1"), replicas=2), copy("w2", ("x", "w1")))
    cluster.expect(m.DataAdded("w2", ["x"]), there("x", "w1", "w2"))


def test_copies_go_where_there_is_least() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("big", "w1"), size_bytes=10**6))
    cluster.given(scatter(("small", "w2")))
    cluster.expect(scatter(("x", "w1"), ("y", "w1"), replicas=2), copy("w3", ("x", "w1")), copy("w2", ("y", "w1")))


def test_a_client_may_make_the_copies_itself() -> None:
    Cluster(2).expect(scatter(("x", "w1"), ("x", "w2"), replicas=2), there("x", "w1", "w2"))


def test_with_too_few_workers_what_is_possible_is_enough() -> None:
    cluster = Cluster(1)
    cluster.expect(scatter(("x", "w1"), replicas=2), there("x", "w1"))
    cluster.expect(m.WorkerConnected("w2", "a2"), copy("w2", ("x", "w1")))
    cluster.quiet(m.DataAdded("w2", ["x"]))
    cluster.quiet(m.WorkerConnected("w3", "a3"))


def test_when_a_holder_is_lost_another_copy_is_made() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1"), replicas=2))
    cluster.given(m.DataAdded("w2", ["x"]))
    cluster.expect(m.WorkerGone("w1"), copy("w3", ("x", "w2")))
    cluster.quiet(m.DataAdded("w3", ["x"]))


def test_when_the_maker_of_a_copy_is_lost_another_one_makes_it() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1"), replicas=2))
    cluster.expect(m.WorkerGone("w2"), copy("w3", ("x", "w1")))


def test_whoever_wants_or_needs_what_is_lost_is_told_what_to_do() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1")))
    cluster.given(submit("other", function="g"))
    cluster.given(submit(("a", ["x", "other"])))
    text = f"'x' was lost with its last worker; {transitions.SCATTERED_ADVICE}"
    error = {"kind": "DataLost", "text": text}
    assert cluster.where() == {"other": "w1"} or cluster.where() == {"other": "w2"}
    commands = cluster.given(m.WorkerGone("w1"))
    assert recomputing("x") in commands
    assert done(failed("x", error), failed("a", error)) in commands
    assert "replicas=2" in text and "submit" in text


def test_who_has_not_heard_that_it_was_there_hears_only_that_it_is_lost() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1"), replicas=2))
    cluster.expect(m.WorkerGone("w1"), drop("w2", "x"), done(gone("x")))


def test_what_was_scattered_to_a_worker_that_is_gone_is_lost() -> None:
    cluster = Cluster(1)
    cluster.expect(scatter(("x", "w9")), done(failed("x", {"kind": "DataLost", "text": replication.put_lost("x")})))
    assert cluster.states() == {"x": "failed"}


def test_what_a_client_scattered_before_it_left_goes() -> None:
    cluster = Cluster(1)
    cluster.given(m.ClientLeft("c"))
    cluster.expect(scatter(("x", "w1")), drop("w1", "x"))
    assert not cluster.states()


def test_two_clients_do_not_scatter_under_one_key() -> None:
    """See also ``test_repeats``."""
    cluster = Cluster(2)
    cluster.given(m.ClientJoined("d"))
    cluster.given(scatter(("x", "w1")))
    dropped, told = cluster.given(scatter(("x", "w2"), client="d"))
    assert dropped == drop("w2", "x") and told.message.done[0][2]["kind"] == "DuplicateKey"
    cluster.quiet(m.ReleaseKeys("d", ["x"]))
    cluster.expect(m.ReleaseKeys("c", ["x"]), drop("w1", "x"))


def test_a_key_that_is_a_task_already_stays_one() -> None:
    cluster = Cluster(1)
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("x"))
    dropped, told = cluster.given(scatter(("x", "w1"), client="d"))
    assert dropped == drop("w1", "x") and told.message.done[0][2]["kind"] == "DuplicateKey"
    assert cluster.states() == {"x": "assigned"}


def test_what_was_made_of_scattered_data_keeps_it() -> None:
    """Else it could not be made again, though the user has only let go of a future that he never named."""
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1")))
    cluster.given(submit(("a", ["x"])))
    where = cluster.where()["a"]
    cluster.finish("a", payload=None)
    cluster.given(m.DataAdded("w2" if where == "w1" else where, ["x"]))
    cluster.quiet(m.ReleaseKeys("c", ["x"]))
    cluster.given(m.WorkerGone(where))
    assert cluster.states() == {"x": "memory", "a": "assigned"}
    cluster.finish("a")
    assert cluster.states() == {"a": "memory"}


def test_what_cannot_be_made_again_fails_when_it_is_needed_again() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1")))
    cluster.given(submit(("a", ["x"])))
    cluster.finish("a", payload=None)
    assert cluster.worker("w1").data.keys() == {"x", "a"}
    cluster.given(m.ReleaseKeys("c", ["x"]))
    commands = cluster.given(m.WorkerGone("w1"))
    assert commands[0] == recomputing("a") and [row[:2] for row in commands[1].message.done] == [("a", m.FAILED)]
    cluster.given(m.ReleaseKeys("c", ["a"]))
    assert not cluster.states() and not cluster.machine.state.scattered


# ---------------------------------------------------------------- doubts


def test_a_holder_is_asked_before_its_copy_is_given_up() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1")))
    ask = m.ToWorker("w1", m.CopyData([("x", SIZE, ())]))
    cluster.expect(m.ReportMissing("w2", [("x", "w1")]), ask)
    cluster.quiet(m.DataAdded("w1", ["x"]))
    cluster.expect(m.ReportMissing("w2", [("x", "w1")]), ask)
    cluster.expect(m.ReportMissing("w1", [("x", "w1")]), recomputing("x"), drop("w1", "x"), done(gone("x")))


def test_what_a_program_cannot_get_stays_for_others() -> None:
    cluster = Cluster(1)
    cluster.given(scatter(("x", "w1")))
    for _ in range(replication.MAX_DOUBTS):
        assert cluster.given(m.ReportMissing("c", [("x", "w1")]))[-1] == there("x", "w1")
    (*_, told) = cluster.given(m.ReportMissing("c", [("x", "w1")]))
    ((key, outcome, error, *_),) = told.message.done
    assert (key, outcome, error["kind"]) == ("x", m.FAILED, "DataLost") and "c could not get 'x' from w1" in error[
        "text"
    ]
    assert cluster.states() == {"x": "memory"}


def test_what_a_worker_cannot_get_stays_for_others() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1")))
    cluster.given(submit(("a", ["x"]), options=m.TaskOptions(workers=("w2",))))
    cluster.given(submit(("b", ["x"]), options=m.TaskOptions(workers=("w1",))))
    for _ in range(replication.MAX_DOUBTS):
        assert cluster.where()["a"] == "w2"
        cluster.given(m.ReportMissing("w2", [("x", "w1")]))
        cluster.given(m.TasksReturned("w2", [("a", cluster.task("a").attempt)]))
    cluster.given(m.ReportMissing("w2", [("x", "w1")]))
    assert cluster.states() == {"x": "memory", "a": "failed", "b": "assigned"}
    assert "w2 could not get 'x' from w1" in cluster.task("a").result["text"]


@pytest.mark.parametrize("is_scattered", [True, False])
def test_a_third_worker_copies_what_another_cannot_get(is_scattered: bool) -> None:
    cluster = Cluster(3)
    if is_scattered:
        cluster.given(scatter(("x", "w1")))
    else:
        cluster.given(submit("x", options=m.TaskOptions(workers=("w1",))))
        cluster.finish("x", payload=None)
    cluster.given(submit(("a", ["x"]), options=m.TaskOptions(workers=("w2",))))
    for _ in range(replication.RELAYED_AFTER):
        cluster.given(m.ReportMissing("w2", [("x", "w1")]))
        cluster.given(m.TasksReturned("w2", [("a", cluster.task("a").attempt)]))
        if cluster.states()["x"] == "assigned":
            cluster.finish("x", payload=None)
    assert [worker.name for worker in cluster.machine.state.copying[cluster.task("x")]] == ["w3"]
    cluster.given(m.DataAdded("w3", ["x"]))
    cluster.given(m.TasksReturned("w2", [("a", cluster.task("a").attempt)]))
    assert {worker.name for worker in cluster.task("x").holders} == {"w1", "w3"}
    assert cluster.states() == {"x": "memory", "a": "assigned"}


def test_who_cannot_make_a_copy_is_not_asked_again() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1"), replicas=2))
    ask = m.ToWorker("w1", m.CopyData([("x", SIZE, ())]))
    asked = []
    for _ in range(2 * replication.MAX_TRIES):
        (maker,) = cluster.machine.state.copying[cluster.task("x")]
        asked.append(maker.name)
        commands = cluster.given(m.ReportMissing(maker.name, [("x", "w1")]))
        assert ask in commands
    assert sorted(asked) == ["w2"] * replication.MAX_TRIES + ["w3"] * replication.MAX_TRIES
    assert commands[-1] == there("x", "w1")


# ---------------------------------------------------------------- retiring


def test_an_idle_worker_without_data_ends_at_once() -> None:
    cluster = Cluster(2)
    cluster.expect(m.RetireWorkers(["w1", "unknown"]), retired("w1"))
    cluster.given(submit("a", "b"))
    assert cluster.where() == {"a": "w2"}


def test_what_has_not_started_goes_elsewhere_and_what_has_ends_there() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a", "b", "c"))
    cluster.start("a")
    cluster.expect(m.RetireWorkers(["w1"]), ask_back("w1", ("c", 4), ("b", 3)))
    cluster.quiet(m.TasksReturned("w1", [("c", 4), ("b", 3)]))
    cluster.given(m.WorkerConnected("w2", "a2"))
    assert cluster.where() == {"a": "w1", "b": "w2", "c": "w2"}
    cluster.expect(m.TasksFinished("w1", [("a", 2, b"result", 6, 0.001)]), retired("w1"), done(finished("a")))
    assert list(cluster.machine.state.workers) == ["w2"]


def test_what_only_it_holds_is_copied_first() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    cluster.finish("a", "b", payload=None, size_bytes=SIZE)
    cluster.expect(m.RetireWorkers(["w1"]), copy("w2", ("a", "w1")))
    cluster.expect(m.DataAdded("w2", ["a"]), retired("w1"))
    assert cluster.worker("w2").data.keys() == {"a", "b"}
    assert cluster.states() == {"a": "memory", "b": "memory"}


def test_a_worker_may_ask_for_that_itself() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    cluster.finish("a", "b", payload=None, size_bytes=SIZE)
    cluster.quiet(m.WorkerRetiring("w2"))  # it ran its maximum of tasks, and serves on what it holds
    cluster.quiet(m.WorkerRetiring("w1", hands_over=True))
    cluster.expect(m.WorkerConnected("w3", "a3"), copy("w3", ("a", "w1")))
    cluster.expect(m.DataAdded("w3", ["a"]), retired("w1"))
    assert cluster.worker("w2").data.keys() == {"b"}


def test_a_result_that_it_makes_yet_is_copied_too() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.start("a")
    cluster.given(m.RetireWorkers(["w1"]))
    commands = cluster.finish("a", payload=None, size_bytes=SIZE)
    assert copy("w2", ("a", "w1")) in commands
    cluster.expect(m.DataAdded("w2", ["a"]), retired("w1"))


def test_the_data_is_spread_over_those_with_the_least() -> None:
    cluster = Cluster(4)
    keys = [f"k{i}" for i in range(9)]
    cluster.given(m.ScatterData("c", [(key, SIZE, "w1") for key in keys]))
    commands = cluster.given(m.RetireWorkers(["w1"]))
    assert {c.worker: len(c.message.rows) for c in commands} == {"w2": 3, "w3": 3, "w4": 3}


def test_not_all_is_copied_at_once() -> None:
    cluster = Cluster(2)
    keys = [f"k{i}" for i in range(5)]
    size_bytes = replication.MAX_BYTES // 2
    cluster.given(m.ScatterData("c", [(key, size_bytes, "w1") for key in keys]))
    asked: list[list[str]] = []
    commands = cluster.given(m.RetireWorkers(["w1"]))
    while not isinstance(commands[0], m.StopWorker):
        asked.append([row[0] for row in commands[0].message.rows])
        commands = cluster.given(m.DataAdded("w2", asked[-1]))
    assert asked == [["k0", "k1"], ["k2", "k3"], ["k4"]]


def test_the_last_worker_keeps_its_data_until_another_comes() -> None:
    cluster = Cluster(1)
    cluster.given(scatter(("x", "w1")))
    cluster.quiet(m.RetireWorkers(["w1"]))
    cluster.expect(m.WorkerConnected("w2", "a2"), copy("w2", ("x", "w1")))
    cluster.expect(m.DataAdded("w2", ["x"]), retired("w1"))


def test_the_last_worker_ends_when_nothing_is_needed() -> None:
    cluster = Cluster(1)
    cluster.given(scatter(("x", "w1")))
    cluster.quiet(m.RetireWorkers(["w1"]))
    cluster.expect(m.ReleaseKeys("c", ["x"]), retired("w1"), drop("w1", "x"))


def test_when_the_others_die_it_keeps_what_they_had_taken_over() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    cluster.start("b")
    cluster.finish("a", payload=None, size_bytes=SIZE)
    assert cluster.where() == {"b": "w2"}
    cluster.given(submit("c"))
    cluster.start("c")
    cluster.given(m.RetireWorkers(["w1"]))
    cluster.quiet(m.DataAdded("w2", ["a"]))  # c runs on w1
    cluster.given(m.WorkerGone("w2", ["b"]))
    assert cluster.finish("c") == [done(finished("c"))]
    cluster.expect(m.WorkerConnected("w3", "a3"), runs("w3", run("b", 4), functions=("f",)), copy("w3", ("a", "w1")))
    cluster.expect(m.DataAdded("w3", ["a"]), retired("w1"))


def test_two_that_retire_do_not_copy_to_each_other() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1"), ("y", "w2")))
    cluster.expect(m.RetireWorkers(["w1", "w2"]), copy("w3", ("x", "w1"), ("y", "w2")))
    cluster.expect(m.DataAdded("w3", ["x"]), retired("w1"))
    cluster.expect(m.DataAdded("w3", ["y"]), retired("w2"))


def test_who_makes_copies_and_retires_is_replaced() -> None:
    cluster = Cluster(3)
    cluster.given(scatter(("x", "w1"), replicas=2))
    cluster.expect(m.RetireWorkers(["w2"]), retired("w2"), copy("w3", ("x", "w1")))
    cluster.expect(m.DataAdded("w3", ["x"]), there("x", "w1", "w3"))


def test_a_failed_copy_of_a_result_makes_it_anew() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.finish("a", payload=None, size_bytes=SIZE)
    cluster.given(m.RetireWorkers(["w1"]))
    commands = cluster.given(m.ReportMissing("w2", [("a", "w1")]))
    assert retired("w1") in commands and cluster.where() == {"a": "w2"}


def test_a_worker_that_has_run_its_maximum_may_be_retired() -> None:
    cluster = Cluster(2)
    cluster.given(scatter(("x", "w1")))
    cluster.quiet(m.WorkerRetiring("w1"))
    cluster.expect(m.RetireWorkers(["w1"]), copy("w2", ("x", "w1")))
    cluster.quiet(m.RetireWorkers(["w1"]))
    cluster.expect(m.DataAdded("w2", ["x"]), retired("w1"))


def test_a_worker_that_is_emptied_for_a_suspect_may_be_retired() -> None:
    cluster = Cluster(4, slots=2)
    cluster.given(submit("bad"))
    cluster.given(m.WorkerGone(cluster.where()["bad"], ["bad"]))
    cluster.given(submit(*(f"k{i}" for i in range(8))))
    cluster.given(m.WorkerGone(cluster.where()["bad"], ["bad"]))
    cluster.pause()
    (reserved,) = cluster.machine.state.reserved.values()
    cluster.given(m.RetireWorkers([reserved.name]))
    (other,) = cluster.machine.state.reserved.values()
    assert other is not reserved


def test_a_worker_that_is_stopped_while_it_retires_is_stopped_once() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.start("a")
    cluster.given(scatter(("x", "w1")))
    cluster.given(m.RetireWorkers(["w1"]))
    commands = cluster.given(m.CancelTasks("c", ["a"], force=True))
    assert [c for c in commands if isinstance(c, m.StopWorker)] == [
        m.StopWorker("w1", True, "a was cancelled while it ran")
    ]
    assert list(cluster.machine.state.workers) == ["w2"]


# ---------------------------------------------------------------- whole histories


class History:
    """A random cluster where data is scattered and workers retire, crash and join."""

    def __init__(self, seed: int) -> None:
        self.random = rng = random.Random(seed)
        faults = Faults(
            failed_fetches=rng.choice([0.0, 0.0, 0.2]),
            delayed=rng.choice([0.0, 0.3]),
            delay_s=0.02,
            replace_after_s=None,
        )
        self.works: dict[str, Work] = {}
        self.simulation = Simulation(seed, lambda key, execution: self.works.get(key, Work()), faults=faults, check=1)
        self.simulation.add_workers(rng.randint(1, 5), {"slots": rng.choice([1, 2])})
        self.client: Any = self.simulation.add_client("c", keep=True)
        self.keys: list[str] = []
        self.scattered: list[str] = []
        self.crashes = rng.random() < 0.5
        time_s = 0.0
        for _ in range(rng.randint(3, 40)):
            time_s += rng.choice([0.0, 1e-4, 1e-3, 0.02])
            self.simulation.at(time_s, rng.choice([self.scatter, self.submit, self.submit, self.release, self.change]))
        self.simulation.at(time_s + 1.0, self.simulation.add_workers, 1)

    def scatter(self) -> None:
        key = f"x{len(self.keys)}"
        self.keys.append(key)
        self.scattered.append(key)
        size_bytes = self.random.choice([10, 100_000, 50_000_000])
        state = self.simulation.scheduler.state
        names = [name for name in self.simulation.workers if name in state.workers] or ["nobody"]
        name = self.random.choice(names)
        replicas = self.random.choice([1, 2, 3])
        if hasattr(self.client, "scatter"):
            self.client.scatter([key], name, size_bytes, replicas)
            return
        worker: Any = self.simulation.workers.get(name)
        if worker is not None:
            worker.store[key] = (size_bytes, 0)
            worker._handle(m.DataPut([(key, size_bytes)]))
        self.client._want(key)
        self.client._tell(m.ScatterData("c", [(key, size_bytes, name)], replicas))

    def submit(self) -> None:
        rng = self.random
        key = f"k{len(self.keys)}"
        self.works[key] = Work(rng.choice([1e-4, 1e-3, 0.05]), rng.choice([10, 100_000, 50_000_000]))
        there = self.client.outcomes
        known = [k for k in self.keys if k in self.client._held and (k not in self.scattered or k in there)]
        inputs = rng.sample(known, min(len(known), rng.choice([0, 1, 2, 4])))
        self.keys.append(key)
        self.client.submit([(key, inputs)])

    def release(self) -> None:
        if self.keys:
            self.client.release(self.random.sample(self.keys, min(len(self.keys), 3)))

    def change(self) -> None:
        """A worker retires, crashes or joins."""
        simulation = self.simulation
        names = list(simulation.workers)
        what = self.random.choice(["retire", "retire", "crash", "join"])
        if what == "join" or not names:
            simulation.add_workers(1)
        elif what == "crash" and self.crashes:
            simulation.crash(self.random.choice(names))
        else:
            simulation.to_scheduler("", m.RetireWorkers(self.random.sample(names, self.random.randint(1, len(names)))))

    def raced(self) -> list[str]:
        """What never got to a worker."""
        return [key for key in self.scattered if self.client.outcomes.get(key) == m.FAILED]

    def play(self) -> None:
        simulation = self.simulation
        simulation.run()
        state = simulation.scheduler.state
        for key, error in self.client.errors.items():
            assert error["kind"] == "DataLost" or (error["kind"] == "WorkerDied" and self.crashes), (key, error)
            lost = [replication.put_lost(other) for other in self.scattered]  # a retirement came before it was known
            raced = error["text"] in lost or any(f"the input {other!r} of" in error["text"] for other in self.raced())
            assert raced or self.crashes or simulation.dice.faults.failed_fetches, (key, error)
        if not self.crashes and not simulation.dice.faults.failed_fetches:
            again = [key for key, number in simulation.executions.items() if number > 1]
            assert not again, "nobody died, but these ran twice"
        if not simulation.dice.faults.failed_fetches:
            assert not state.draining, "there is a worker that could take everything over"
        for task in state.scattered:
            if task.state == "memory":
                wanted = min(state.scattered[task].replicas, len(state.workers))
                assert len(task.holders or ()) >= wanted - len(state.scattered[task].refused)
        self.client.release_all()
        simulation.run()
        assert not state.tasks and not state.scattered and not state.copying and not state.under_replicated
        assert not any(worker.data or worker.copying for worker in state.workers.values())
        assert not any(worker.store or worker.machine.replicas for worker in simulation.workers.values())


@pytest.mark.parametrize("seed", range(0, 400, 40))
def test_nothing_is_lost_or_left_or_run_twice(seed: int) -> None:
    for number in range(seed, seed + 40):
        try:
            History(number).play()
        except BaseException as error:
            error.add_note(f"History({number})")
            raise
