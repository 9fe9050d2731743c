"""Random histories for the simulator, and what must be true at the end of each.

``play(random, ...)`` draws a cluster, tasks and everything that can happen to them; the same draws make the same
history. What is always true is checked on the way: invariants of the machines after each event, and by the client
what it is told.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Container
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.testing.simulator import Faults, NetworkModel, Simulation, Work

DURATIONS_S = (1e-5, 1e-4, 1e-3, 0.02, 0.3)
SIZES_BYTES = (0, 10, 1000, 100_000, 100_000_000)


class Scenario:
    """One history."""

    UNKNOWN_INPUTS = 0.02

    def __init__(self, random: random_module.Random, tasks: int, faulty: bool, seed: int = 0) -> None:
        self.random = random
        self.faulty = faulty
        self.works: dict[str, list[Work]] = {}  # by key: what each execution does, the last one for all that follow
        faults = self.draw_faults() if faulty else Faults()
        network = self.draw_network()
        self.simulation = Simulation(seed, self.work, network=network, faults=faults, check=1, most_events=200_000)
        self.simulation.scheduler.handle(m.DeclareLimits({"api": 2.0, "disk": 0.5}), 0.0)
        self.once: list[str] = []  # keys of tasks that must not start twice
        if not faulty:
            self.simulation.add_worker(slots=2, killable=False)  # w1, which never ends, is asked for by name
        for _ in range(random.randint(1, 5)):
            self.simulation.add_worker(**self.draw_worker())
        self.simulation.add_worker(resources={"GPU": 2.0})
        self.clients = [self.simulation.add_client(name, keep=True) for name in ("c", "d")[: random.randint(1, 2)]]
        self.keys: list[str] = []
        self.inputs: dict[str, list[str]] = {}
        self.functions: dict[str, str] = {}
        time_s = 0.0
        while len(self.keys) < tasks:
            self.draw_submit(time_s)
            for _ in range(random.randint(0, 3)):
                time_s += random.choice([0.0, 1e-4, 1e-3, 0.03])
                self.draw_event(time_s)

    def draw_faults(self) -> Faults:
        random = self.random
        return Faults(
            crashes_per_s=random.choice([0.0, 1.0, 30.0]),
            most_crashes=10,
            replace_after_s=0.01,
            delayed=random.choice([0.0, 0.2]),
            delay_s=random.choice([0.001, 0.05]),
            failed_fetches=random.choice([0.0, 0.2]),
        )

    def draw_network(self) -> NetworkModel:
        return NetworkModel(self.random.choice([1e-5, 1e-4, 1e-4, 1e-2]))

    def draw_worker(self) -> dict[str, Any]:
        random = self.random
        return {
            "slots": random.choice([1, 1, 2, 4]),
            "killable": random.random() < 0.8,
            "resources": {"GPU": 1.0} if random.random() < 0.3 else None,
            "most_runs": random.choice([1, 5, 30]) if self.faulty and random.random() < 0.3 else None,
        }

    def work(self, key: str, execution: int) -> Work:
        works = self.works.get(key.partition("@")[0])
        if works is None:
            return Work(1e-4)  # a child
        return works[min(execution, len(works)) - 1]

    def draw_work(self, options: TaskOptions) -> list[Work]:
        random = self.random
        children = tuple(f"child{random.random()}" for _ in range(random.randint(1, 3)))
        if random.random() < 0.9 or options.timeout_s is not None:
            children = ()
        duration_s = random.choice(DURATIONS_S)
        usual = Work(duration_s, random.choice(SIZES_BYTES), children=children)
        chance = random.random()
        if chance < 0.05:
            return [Work(duration_s, fails=True)]
        if chance < 0.1:
            return [Work(duration_s, fails=True), usual]
        if chance < 0.14 and self.faulty:
            return [Work(duration_s, kills=True)] * random.randint(1, 3) + [usual]
        if chance < 0.18:
            return [usual, Work(0.5, usual.size_bytes)]
        return [usual]

    def draw_options(self) -> TaskOptions:
        random = self.random
        if random.random() < 0.6:
            return TaskOptions()
        more = random_module.Random(len(self.keys))
        options = TaskOptions(
            priority=random.choice([0, 0, 1, -1]),
            retries=random.choice([0, 0, 2]),
            timeout_s=random.choice([None, None, 0.01]),
            resources=random.choice([(), (), (("GPU", 1.0),), (("GPU", 2.0),)]),
            workers=() if self.faulty else random.choice([(), ("w1",)]),
            rerun=random.random() < 0.6,
            backoff_s=more.choice([0.0, 0.0, 0.02, 5.0]),
            limits=more.choice([(), (), (("api", 1.0),), (("api", 2.0),), (("api", 1.0), ("disk", 0.5))]),
        )
        if self.faulty:  # where workers that die are replaced in their places
            options = options._replace(workers=more.choice([(), (), ("w1",), ("w1", "w2")]))
        return options

    def draw_submit(self, time_s: float) -> None:
        random = self.random
        options = self.draw_options()
        if options.workers and self.faulty:
            options = options._replace(resources=())  # which no other worker may have
        elif options.workers:
            options = TaskOptions(options.priority, options.retries, None, (), options.workers)
        rows = []
        for _ in range(random.choice([1, 1, 3, 10])):
            key = f"k{len(self.keys)}"
            inputs = random.sample(self.keys, min(len(self.keys), random.choice([0, 0, 1, 2, 5])))
            if self.keys and random.random() < 0.3:
                inputs = list(dict.fromkeys([*inputs, self.keys[-1]]))
            self.keys.append(key)
            self.inputs[key] = inputs
            self.works[key] = self.draw_work(options)
            rows.append((key, inputs))
            if not options.rerun and not options.retries:
                self.once.append(key)
        if random.random() < 0.1:
            rows.reverse()
        if random.random() < 0.02:
            rows[0][1].append(rows[-1][0])  # perhaps a cycle
        if random.random() < self.UNKNOWN_INPUTS:
            rows[-1][1].append("unknown")
        client = random.choice(self.clients)
        wanted = None
        if random.random() < 0.3:
            wanted = [key for key, _ in rows if random.random() < 0.4]
        function = random.choice(["f", "g", "h"])
        self.functions.update(dict.fromkeys([key for key, _ in rows], function))
        self.simulation.at(time_s, self.unless_left, client, client.submit, rows, options, wanted, function)

    @staticmethod
    def unless_left(client: Any, do: Any, *args: Any) -> None:
        if not client.left:
            do(*args)

    def draw_event(self, time_s: float) -> None:
        random = self.random
        client = random.choice(self.clients)
        some = random.sample(self.keys, min(len(self.keys), random.choice([1, 2, 10])))
        do = random.choice(["nothing", "cancel", "force", "release", "fetch", "again", "crash", "leave", "retire"])
        same = random.random() < 0.5  # else another call, which is refused unless the key is forgotten by then
        rows = [(key, self.inputs[key] if same else []) for key in some if key not in self.once]
        later = [client.submit, rows, TaskOptions(), None, lambda key: self.functions[key] if same else "other"]
        calls: dict[str, list[Any]] = {
            "cancel": [client.cancel, some],
            "force": [client.cancel, some, True],
            "release": [client.release, some],
            "fetch": [self.fetch, client],
            "again": later,
        }
        if do in calls:
            self.simulation.at(time_s, self.unless_left, client, *calls[do])
        elif do == "crash" and self.faulty:
            self.simulation.at(time_s, self.crash)
        elif do == "retire" and self.faulty:
            self.simulation.at(time_s, self.retire)
        elif do == "leave" and len(self.clients) == 2 and random.random() < 0.1:
            self.simulation.at(time_s, self.unless_left, self.clients[1], self.clients[1].leave)

    def fetch(self, client: Any) -> None:
        for key in list(client.holders):
            client.fetch(key)

    def crash(self) -> None:
        names = list(self.simulation.workers)
        if names:
            deliberate, known = self.random.random() < 0.2, self.random.random() < 0.7
            self.simulation.crash(self.random.choice(names), deliberate, known)

    def retire(self) -> None:
        names = list(self.simulation.workers)
        if names:
            self.simulation.workers[self.random.choice(names)].retire()

    def unclaimed(self) -> Container[str]:
        """What may be left on workers."""
        return ()

    def play(self) -> Simulation:
        """Let it happen, and check that all has ended, and that nothing is left when nobody wants anything."""
        simulation = self.simulation
        try:
            simulation.run()
            for client in self.clients:
                if not client.left:
                    client.release_all()
            simulation.run()
        except BaseException as error:
            error.add_note(f"{len(self.keys)} tasks")
            raise
        check_empty(simulation, self.unclaimed())
        for key in self.once:
            assert simulation.executions.get(key, 0) <= 1, f"{key} has rerun=False and ran again"
        return simulation


def check_empty(simulation: Simulation, unclaimed: Container[str] = ()) -> None:
    """Nobody wants anything any more: so nobody may hold anything, but perhaps what is ``unclaimed``."""
    state = simulation.scheduler.state
    assert not state.tasks, list(state.tasks.values())
    for function in state.functions.values():  # a worker whose tasks submit remembers what it told
        assert not function.tasks and all(name in simulation.workers for name in function.held_by), function.id
    assert not state.queued and not state.reserved and not state.paused and not state.pending_steals_s
    assert not state.scattered and not state.under_replicated and not state.copying and not state.draining
    for worker in state.workers.values():
        assert not worker.assigned and not worker.data, worker
        assert worker.exclusive_task is None, worker
        assert worker.free_resources == worker.resources, worker
    assert not any(limit.used or limit.users for limit in state.limits.by_name.values())
    for name, simulated in simulation.workers.items():
        machine = simulated.machine
        assert not machine.runs and not machine.executing and not machine.unreported, name
        left = [key for key in {**machine.replicas, **simulated.store} if key not in unclaimed]
        assert not left, (name, machine.replicas, simulated.store)
        assert not machine.has_unreported and not machine.lent_slots, name


def play(seed: int, tasks: int, faulty: bool) -> Simulation:
    """One history from a seed."""
    return Scenario(random_module.Random(seed), tasks, faulty, seed).play()
