"""Our executor on a Dask cluster: the checks that every engine passes, and what is special to it."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from foreign_clusters import Clusters

from futures_cluster import Executor, NotSupported, as_completed, wait
from futures_cluster.errors import SchedulerLost
from futures_cluster.testing.engine_checks import CHECKS, ENGINES, TIMEOUT_S, run_check

dask = pytest.importorskip("dask", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from futures_cluster.adapters.dask import futures_of
from futures_cluster.adapters.graph import MIN_GROUPS

DASK = ENGINES["dask"]


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    clusters = Clusters("dask")
    yield clusters
    clusters.close()


def executor(
    clusters: Clusters,
    max_workers: int = 2,
    threads_per_worker: int = 1,
    resources: dict[str, float] | None = None,
    **arguments: Any,
) -> Executor:
    shape: dict[str, Any] = {"n_workers": max_workers, "threads_per_worker": threads_per_worker}
    if resources:
        shape["resources"] = resources
    address = clusters.address(**shape).replace("tcp", "dask")
    return Executor(backend=address, **arguments)


@pytest.fixture
def ex(clusters: Clusters) -> Iterator[Executor]:
    with executor(clusters) as ex:
        yield ex


#: These run always; the others only where there is time.
QUICK = {
    *("check_submit_callables", "check_running", "check_cancel", "check_cancel_force", "check_errors", "check_map"),
    *("check_errors_of_inputs", "check_what_does_not_pickle", "check_futures_as_arguments", "check_key"),
    *("check_futures_stay_futures", "check_scatter_and_gather", "check_results_after_the_end", "check_retries"),
    *("check_priority", "check_timeout", "check_nested", "check_waiting_in_a_task", "check_as_completed_grows"),
    *("check_shutdown_cancels", "check_callbacks_wait", "check_callbacks_raise", "check_callbacks_before_the_end"),
}


def test_the_quick_checks_are_there() -> None:
    assert set(CHECKS) >= QUICK


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name, check in CHECKS.items()
        if check.is_meant_for(DASK.traits)
    ],
)
def test_engine(name: str, clusters: Clusters) -> None:
    run_check(CHECKS[name], lambda **arguments: executor(clusters, **arguments), lacks=DASK.lacks)


# ---------------------------------------------------------------- its cluster


def keys_on(client: Any) -> set[str]:
    """What workers hold."""
    return {key for keys in client.has_what().values() for key in keys}


def test_a_client_can_be_given_and_stays_open(clusters: Clusters) -> None:
    address = clusters.address(n_workers=2, threads_per_worker=1)
    with distributed.Client(address, set_as_default=False) as client:
        with Executor(backend=client) as ex:
            future = ex.submit(bytes, 10**6)
            wait([future])
            assert future.key in keys_on(client)  # it has not been brought here
            assert ex.submit(len, future).result(TIMEOUT_S) == 10**6
        assert len(future.result()) == 10**6  # brought home at the end
        assert client.status == "running" and client.submit(len, "four").result() == 4


def wait_until_gone(client: Any, keys: set[str]) -> None:
    gc.collect()
    end = time.monotonic() + TIMEOUT_S
    while keys & keys_on(client):
        assert time.monotonic() < end, "the cluster still holds results that nobody has a future of"
        time.sleep(0.02)


def test_results_go_with_their_futures(ex: Executor, clusters: Clusters) -> None:
    with distributed.Client(clusters.address(n_workers=2, threads_per_worker=1), set_as_default=False) as client:
        future, small = ex.submit(bytes, 10**6), ex.submit(int)
        scattered = ex.scatter(bytes(10**6))
        wait([future, small])
        keys = {future.key, small.key, scattered.key}
        assert keys <= keys_on(client)
        del future, small, scattered
        wait_until_gone(client, keys)


@pytest.mark.parametrize("length", [10, 5_000, 100_000])
def test_scattered_arrays_are_private(ex: Executor, length: int) -> None:
    np = pytest.importorskip("numpy")
    scattered = ex.scatter(np.ones(length))

    def add_one(array: Any) -> float:
        array += 1
        return float(array[0])

    assert [ex.submit(add_one, scattered).result(TIMEOUT_S) for _ in range(4)] == [2.0] * 4
    assert scattered.result(TIMEOUT_S)[0] == 1


def test_persisted_parts_go_with_their_collection(ex: Executor, clusters: Clusters) -> None:
    array = pytest.importorskip("dask.array")
    with distributed.Client(clusters.address(n_workers=2, threads_per_worker=1), set_as_default=False) as client:
        x = ex.persist(array.arange(400_000, chunks=100_000))
        wait(futures_of(x))
        keys = {future.key for future in futures_of(x)}
        assert len(keys) == 4 and keys <= keys_on(client)
        assert (x + 1).sum().compute(scheduler=ex) == 400_000 * 400_001 // 2
        del x
        wait_until_gone(client, keys)


@pytest.mark.slow
def test_workers_with_a_nanny_are_restarted(clusters: Clusters) -> None:
    with executor(clusters) as ex:
        before = {facts["pid"] for facts in ex.workers().values()}
        held = ex.submit(list, range(100_000))
        wait([held])
        ex.restart_workers()
        assert ex.submit(os.getpid).result(TIMEOUT_S) not in before
        assert held.result(TIMEOUT_S)[-1] == 99_999  # computed again
    with executor(clusters, max_workers=1) as ex, pytest.raises(NotSupported, match="nanny"):
        ex.restart_workers()


def test_our_shutdown_leaves_the_cluster_alone(clusters: Clusters) -> None:
    for _ in range(2):
        with executor(clusters) as ex:
            assert ex.submit(os.getpid).result(TIMEOUT_S) != os.getpid()
    with pytest.raises(NotSupported, match="not this executor's to stop"):
        ex.kill_workers()
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(int)


def test_the_scheduler_is_lost() -> None:
    doomed = Clusters("dask")
    # After so long its client does not try any more to reach a scheduler.
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), executor(doomed, max_workers=1) as ex:
        done, running = ex.submit(abs, -1), ex.submit(time.sleep, 60)
        dependent = ex.submit(abs, running)
        assert done.result() == 1
        doomed.kill()
        for future in (running, dependent):
            with pytest.raises(SchedulerLost, match="the Dask scheduler is gone"):
                future.result(TIMEOUT_S)
        end = time.monotonic() + TIMEOUT_S
        while ex._engine.broken is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        with pytest.raises(SchedulerLost, match="could not reach it"):
            ex.submit(abs, -1)
        with pytest.raises(SchedulerLost, match="could not reach it"):
            dask.delayed(abs)(-1).compute(scheduler=ex)
        assert done.result() == 1


def test_somebody_restarts_the_cluster(clusters: Clusters) -> None:
    address = clusters.address(n_workers=2, threads_per_worker=1)
    with distributed.Client(address, set_as_default=False) as client, Executor(backend=client) as ex:
        running = ex.submit(time.sleep, 60)
        while not running.running():
            time.sleep(0.02)
        client.restart()
        with pytest.raises(SchedulerLost, match="restarted"):
            running.result(TIMEOUT_S)
        assert ex.submit(abs, -1).result(TIMEOUT_S) == 1


def test_small_results_come_together(ex: Executor) -> None:
    """Asking for one brings those along that are done."""
    client = ex._engine.client  # type: ignore[attr-defined]
    futures = [ex.submit(pow, i, 2) for i in range(50)]
    large = ex.submit(bytes, 10**6)
    wait([*futures, large])
    assert len(client._small) == 50
    assert futures[0].result() == 0
    assert not client._small and not large._done_here()
    assert futures[49].result() == 49**2


def test_large_graphs_are_packed(ex: Executor) -> None:
    parts = [dask.delayed(abs)(-i) for i in range(512)]
    while len(parts) > 1:
        parts = [dask.delayed(max)(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    before = ex._engine.count_tasks()[0]
    assert parts[0].compute(scheduler=ex) == 511
    submitted = ex._engine.count_tasks()[0] - before
    assert MIN_GROUPS * 2 <= submitted < 512  # of 1,023


def test_shuffles_beside_a_client_of_dask(clusters: Clusters) -> None:
    """Dask chooses p2p, because there is a client; the executor's graphs are not run by that client's scheduler."""
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    table = pd.DataFrame({"k": range(100), "v": [i * 37 % 100 for i in range(100)]})
    df = dd.from_pandas(table, npartitions=4)
    address = clusters.address(n_workers=2, threads_per_worker=1)
    with (
        distributed.Client(address) as client,
        Executor(backend=client) as theirs,
        Executor(2, backend="threads") as ours,
    ):
        assert dask.utils.get_default_shuffle_method() == "p2p"
        for ex in (theirs, ours):
            assert sorted(df.shuffle("k").compute(scheduler=ex).k) == list(range(100))
            assert sorted(ex.persist(df.merge(df, on="k")).compute(scheduler=ex).k) == list(range(100))
            assert ex.compute(df.set_index("v")).result().index.tolist() == list(range(100))


def test_large_functions_of_a_graph_travel_once(ex: Executor) -> None:
    table = list(range(20_000))
    look_up = dask.delayed(lambda i: table[i])
    before = ex._engine.count_tasks()[0]
    assert dask.compute(*[look_up(i) for i in range(20)], scheduler=ex) == tuple(range(20))
    assert ex._engine.count_tasks()[0] - before == 21


def test_the_cluster_s_logs_show_what_failed(ex: Executor, clusters: Clusters) -> None:
    with distributed.Client(clusters.address(n_workers=2, threads_per_worker=1), set_as_default=False) as client:
        with pytest.raises(ZeroDivisionError):
            ex.with_options(key="bad-one").submit(divmod, 1, 0).result()
        logs = [line for lines in client.get_worker_logs().values() for _, line in lines]
    told = [line for line in logs if "bad-one" in line]
    assert told and all("ZeroDivisionError: integer" in line and "\\x80" not in line for line in told), told


def test_callbacks_may_ask_for_other_results(ex: Executor) -> None:
    other = ex.submit(bytes, 10**6)
    got: list[int] = []
    there = threading.Event()

    def callback(future: Any) -> None:
        got.append(len(future.result()) + len(other.result()))
        there.set()

    ex.submit(bytes, 10**6).add_done_callback(callback)
    assert there.wait(TIMEOUT_S) and got == [2 * 10**6]


def test_arguments_that_mean_nothing_here(clusters: Clusters) -> None:
    for arguments in ({"initializer": int}, {"memory_limit": "1GB"}, {"resources": {"GPU": 1}}):
        with pytest.raises(NotSupported, match=r"dask worker|start its workers"):
            Executor(backend="dask://127.0.0.1:1", **arguments)
    with executor(clusters) as ex, pytest.raises(NotSupported, match="rerun"):
        ex.with_options(rerun=False).submit(int)


def test_growing_work(ex: Executor) -> None:
    running = as_completed([ex.submit(pow, 2, 2)])
    values = []
    for future in running:
        values.append(future.result())
        if len(values) < 4:
            running.add(ex.submit(pow, future, 2))
    assert values == [4, 16, 256, 65536]
