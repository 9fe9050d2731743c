"""What must hold in a worker between two events; for tests and simulations."""

from __future__ import annotations

from futures_cluster.worker import machine as machine_module
from futures_cluster.worker.machine import WorkerMachine
from futures_cluster.worker.runs import EXECUTING, FETCHING, READY


def check(machine: WorkerMachine) -> None:
    """Raise AssertionError with the run or replica at fault."""
    for run in machine.runs.values():
        assert run.state in (FETCHING, READY, EXECUTING), run
        waiting_for = [replica for replica in machine.replicas.values() if run in replica.runs]
        assert run.missing == len(waiting_for), (run, run.missing, waiting_for)
        assert (run.state == FETCHING) == bool(run.missing), run
    for identity, run in machine.executing.items():
        assert identity == (run.key, run.attempt) and run.state == EXECUTING, run
    for identity in machine.unreported:
        assert identity in machine.executing, identity
    for key, replica in machine.replicas.items():
        assert replica.key == key
        assert not (replica.held and replica.runs), (replica, "held, yet waited for")
    assert machine.lent_slots == sum(run.waits for run in machine.executing.values())
    users: dict[str, int] = {}
    for run in {**{(r.key, r.attempt): r for r in machine.runs.values()}, **machine.executing}.values():
        for key, _, payload, _ in run.inputs:
            users[key] = users.get(key, 0) + (payload is None)
    for key, replica in machine.replicas.items():
        assert replica.users == users.get(key, 0), (replica, replica.users, users.get(key, 0))
        assert not (replica.held and replica.dropped and not replica.users), (replica, "kept without users")
    if machine.lent_slots > machine_module.MAX_LENT_SLOTS:
        return
    if len(machine.executing) < machine.slots + machine.lent_slots and not machine.retiring:
        ready = [run for run in machine.runs.values() if run.state == READY]
        assert not ready, ("ready though a slot is free", ready[0])
