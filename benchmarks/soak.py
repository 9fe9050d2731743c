"""Everything at once, for a long time, while workers are killed: nothing wrong, nothing lost, nothing left, no growth.

    python benchmarks/soak.py --minutes 15 --where local --seed 1
    python benchmarks/soak.py --minutes 15 --where tcp --seed 1

A mix of small programs (``soaklib/jobs.py``): no-ops, maps, chains, large arrays, scattered data, tasks that submit
tasks, errors, callbacks, cancels, timeouts, channels, graphs of Dask's if it is installed. Each answer is compared with
the one that is known. Meanwhile workers are killed, stopped and restarted under their names, and programs come and go,
some by SIGKILL. ``local``: two executors with processes, one of them undisturbed. ``tcp``: as users start them.

From time to time all rests for a moment, and the memory of the client, the scheduler and a worker that nothing disturbs
is sampled. At the end everything is closed, and what is left of processes, files, threads and descriptors is listed.

It prints one table, and exits with 1 if an answer was wrong or did not come within two minutes, a job failed for no
known reason, something is left, or a process grows by more than 0.2 MB for each 100,000 tasks (judged from
500,000 on). A seed gives the same jobs and mishaps again, though not at the same moments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soaklib.growth import EXACT, Process, Remains, Rest, trim
from soaklib.jobs import HUNG_S, Hung, Side, Wrong, all_jobs, scattered
from soaklib.places import PLACES, Kinds, Place
from soaklib.tally import Tally

from futures_cluster import DataLost, Executor, WorkerDied

#: Threads that run jobs, on each side.
THREADS = 2
#: Seconds between two mishaps and between two programs that come, on average.
MISHAP_S = 1.5
VISIT_EACH_S = 5.0
#: Samples in a run, at most, and the shortest time between two.
SAMPLES = 120
MIN_BETWEEN_S = 2.0
#: A task that was running when three workers were killed fails with this text.
BLAMED = "workers died while they ran it"


def run_job(side: Side, seed: str, tally: Tally) -> None:
    """One job, chosen by the seed."""
    rng = random.Random(seed)
    jobs = all_jobs(side)
    job = rng.choices(list(jobs), list(jobs.values()))[0]
    try:
        tally.did(job.__name__, job(side, rng))
    except Wrong as error:
        tally.add("wrong", f"{job.__name__} (seed {seed}): {error}")
    except Hung as error:
        tally.add("hung", f"{job.__name__} (seed {seed}): {error}")
    except WorkerDied as error:
        blamed = BLAMED in str(error)
        tally.add("blamed" if blamed else "failed", f"{job.__name__} (seed {seed}): {error}")
    except DataLost as error:
        tally.add("lost" if job is scattered else "failed", f"{job.__name__} (seed {seed}): {error}")
    except BaseException:
        tally.add("failed", f"{job.__name__} (seed {seed}):\n{traceback.format_exc()}")


def run_jobs(side: Side, seed: str, tally: Tally, rest: Rest, end: threading.Event) -> None:
    """Jobs one after the other, until the end."""
    number = 0
    while not end.is_set():
        with rest.working():
            run_job(side, f"{seed}/{number}", tally)
        number += 1


def make_trouble(place: Place, kinds: Kinds, mean_s: float, seed: str, rest: Rest, end: threading.Event) -> None:
    """Mishaps one after the other, until the end."""
    rng = random.Random(seed)
    while not end.wait(rng.expovariate(1 / mean_s)):
        try:
            with rest.working():
                place.trouble(kinds, rng)
        except BaseException:
            place.tally.add("failed", f"a mishap:\n{traceback.format_exc()}")


@contextlib.contextmanager
def threads_of(place: Place, seed: str, rest: Rest) -> Iterator[None]:
    """Jobs and mishaps, in threads."""
    end = threading.Event()
    threads = [
        threading.Thread(target=run_jobs, args=(side, f"{seed}/{i}/{j}", place.tally, rest, end), daemon=True)
        for i, side in enumerate(place.sides)
        for j in range(THREADS)
    ]
    for kinds, mean_s in ((place.mishap_kinds(), MISHAP_S), (place.visit_kinds(), VISIT_EACH_S)):
        args = (place, kinds, mean_s, f"{seed}/trouble/{mean_s}", rest, end)
        threads.append(threading.Thread(target=make_trouble, args=args, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        limit = time.monotonic() + HUNG_S
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
            if thread.is_alive():
                place.tally.add("hung", f"a thread of jobs does not end:\n{stack_of(thread)}")


def stack_of(thread: threading.Thread) -> str:
    """Where a thread is."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "it has ended"


def sample(place: Place) -> None:
    """Look at the processes; nothing else happens meanwhile."""
    trim()
    place.spared().submit(trim).result(HUNG_S)
    for process in place.processes:
        process.sample(place.tally.tasks)


def soak(place: Place, minutes: float, seed: str) -> None:
    """Run jobs and mishaps, and take samples between them."""
    rest = Rest()
    begin = time.monotonic()
    end = begin + 60 * minutes
    between_s = max(MIN_BETWEEN_S, 60 * minutes / SAMPLES)
    with threads_of(place, seed, rest):
        while (left_s := end - time.monotonic()) > 0:
            time.sleep(min(left_s, between_s))
            if not rest.take(lambda: sample(place), 2 * HUNG_S):
                place.tally.add("hung", "a job does not end")
                break
            progress(place, time.monotonic() - begin)


def progress(place: Place, seconds: float) -> None:
    """One line, for people who watch."""
    if sys.stderr.isatty():
        memory = ", ".join(f"{process.name} {process.samples[-1][1]:.0f} MB" for process in place.processes)
        bad = place.tally.wrong + place.tally.hung + place.tally.failed
        print(f"{seconds:5.0f} s  {place.tally.tasks:12,} tasks  {bad} bad  {memory}", file=sys.stderr)


def table(title: str, place: Place, processes: list[Process], left: list[str], seconds: float) -> str:
    """The table that is printed."""
    tally, mishaps = place.tally, place.mishaps
    rows = [("tasks", f"{tally.tasks:,} ({tally.tasks / seconds:,.0f} a second)")]
    rows += [("jobs", ", ".join(f"{name} {count:,}" for name, count in sorted(tally.jobs.items())))]
    rows += [("mishaps", ", ".join(f"{name} {count}" for name, count in sorted(mishaps.items())) or "none")]
    rows += [(name, f"{getattr(tally, name):,}") for name in ("wrong", "hung", "failed")]
    rows += [("blamed", f"{tally.blamed:,} (three workers were killed while they ran the task)")]
    rows += [("lost", f"{tally.lost:,} (scattered data whose only holder was killed)")]
    for process in processes:
        slope = "no slope" if process.slope is None else f"{process.slope:+.2f} MB for each 100,000 tasks"
        judged = "" if process.is_judged else ", too few tasks to judge"
        first, last = process.samples[0], process.samples[-1]
        rows += [(process.name, f"{first[1]:.0f} to {last[1]:.0f} MB, {slope}{judged}; {last[2]} descriptors")]
    rows += [("left behind", "\n".join(left) or "nothing")]
    width = max(len(name) for name, _ in rows)
    lines = [title, "-" * len(title)]
    for name, text in rows:
        lines += [f"{name if i == 0 else '':<{width}}  {line}" for i, line in enumerate(text.splitlines())]
    return "\n".join(lines)


def run(where: str, minutes: float, seed: str, folder: Path) -> bool:
    """The whole soak; whether all is well."""
    mark = {"SOAK_RUN": f"{os.getpid()}-{time.time_ns()}"}
    os.environ.update(mark)
    temporary = folder / "tmp"
    temporary.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    remains = Remains(mark, temporary)
    tally = Tally()
    place: Place = PLACES[where](tally, folder, mark)
    begin = time.monotonic()
    try:
        soak(place, minutes, seed)
    finally:
        seconds = time.monotonic() - begin
        place.close()
    with Executor(1) as ex:  # which sweeps the folders that programs have left that were killed
        ex.submit(int).result(HUNG_S)
    left = remains.find()
    faults = [fault for process in place.processes if process.samples for fault in process.faults()]
    title = f"soak: {where}, {minutes:g} minutes, seed {seed}"
    sampled = [process for process in place.processes if process.samples]
    with open(folder / "samples.json", "w") as file:
        json.dump({process.name: process.samples for process in sampled}, file)
    print(table(title, place, sampled, left, seconds))
    for text in [*tally.failures, *faults]:
        print(f"\n{text}")
    return tally.is_good and not faults and not left


def visit(where: str, seconds: float, seed: str) -> None:
    """A program that comes and goes: jobs for some seconds, and its numbers as JSON."""
    tally = Tally()
    end = time.monotonic() + seconds
    with Executor(2 if where == "processes" else None, backend=where) as ex:
        number = 0
        while time.monotonic() < end:
            run_job(Side(ex, None), f"{seed}/{number}", tally)
            number += 1
    print(json.dumps(tally.numbers()))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--where", choices=list(PLACES), default="local")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--visit", metavar="BACKEND", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.visit:
        visit(arguments.visit, arguments.seconds, arguments.seed)
        return 0
    if not EXACT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **EXACT})
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    good = False
    try:
        good = run(arguments.where, arguments.minutes, arguments.seed, folder)
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            print(f"\nthe logs are in {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
