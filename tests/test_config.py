"""Settings: what is accepted, what is refused and how, and what the machine offers."""

from __future__ import annotations

import builtins
import io
import multiprocessing
import os
import threading
from typing import Any

import pytest

from futures_cluster import Executor, ProcessPoolExecutor, ThreadPoolExecutor, config
from futures_cluster.config import BACKEND_VARIABLE, THREAD_VARIABLES, make_config, parse_bytes, usable_cores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2 gb", 2 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5 MiB", 3 * 2**19),
        ("10k", 10_000),
        ("1 TiB", 2**40),
        ("3T", 3 * 10**12),
        ("7", 7),
        ("7b", 7),
        (" 1.e", None),
        ("1.", 1),
        (10, 10),
        (2.5e9, 2_500_000_000),
        ("", None),
        ("GB", None),
        ("-1GB", None),
        ("1 PB", None),
        ("1e9", None),
        ("half", None),
        (0, None),
        (-5, None),
        ("0.1", None),
    ],
)
def test_sizes(text: Any, size: int | None) -> None:
    if size is None:
        with pytest.raises(ValueError, match=r"must be a size like|at least one byte"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": -1}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": "4"}, TypeError, "max_workers must be a whole number"),
        ({"max_workers": 2.0}, TypeError, "max_workers must be a whole number"),
        ({"initializer": 5}, TypeError, "initializer must be a callable"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
        ({"max_tasks_per_child": "1"}, TypeError, "max_tasks_per_child must be an integer"),
        ({"threads_per_worker": 0}, ValueError, "threads_per_worker must be at least 1"),
        ({"memory_limit": "much"}, ValueError, "memory_limit must be a size like"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make_config(**arguments)
    with pytest.raises(error, match=text):
        Executor(**arguments)


def test_forked_workers_cannot_be_replaced() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    with pytest.raises(ValueError, match="incompatible with the 'fork'"):
        make_config(mp_context=multiprocessing.get_context("fork"), max_tasks_per_child=1)
    make_config(mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no backend 'clouds'; choose 'processes'"):
        Executor(backend="clouds")


def test_the_environment_names_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    assert make_config().backend == "processes"
    monkeypatch.setenv(BACKEND_VARIABLE, "sync")
    assert make_config().backend == "sync"
    assert make_config(backend="threads").backend == "threads"  # an argument is stronger
    with Executor() as ex:
        assert ex.submit(os.getpid).result() == os.getpid()
    monkeypatch.setenv(BACKEND_VARIABLE, "")
    assert make_config().backend == "processes"


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    assert make_config().max_workers == usable_cores()
    assert make_config(backend="threads").max_workers == min(32, usable_cores() + 4)
    assert make_config(3).max_workers == 3
    monkeypatch.setattr(config, "usable_cores", lambda: 100)
    assert make_config(backend="threads").max_workers == 32


def test_the_pools_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, "sync")
    with ProcessPoolExecutor(1) as processes, ThreadPoolExecutor(1) as threads:
        assert processes.submit(os.getpid).result() != os.getpid()
        assert threads.submit(threading.get_ident).result() != threading.get_ident()


def cgroup(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    real = builtins.open

    def fake(path: Any, *args: Any, **kwargs: Any) -> Any:
        if str(path).startswith("/sys/fs/cgroup"):
            if path not in files:
                raise FileNotFoundError(path)
            return io.StringIO(files[path])
        return real(path, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", fake)


V1 = "/sys/fs/cgroup/cpu/cpu.cfs_"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu.max": "garbage"}, 8),
        ({V1 + "quota_us": "-1\n", V1 + "period_us": "100000\n"}, 8),
        ({V1 + "quota_us": "300000\n", V1 + "period_us": "100000\n"}, 3),
        ({V1 + "quota_us": "300000\n", V1 + "period_us": "0\n"}, 8),
        ({}, 8),
    ],
)
def test_the_quota_of_the_control_group(files: dict[str, str], cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    cgroup(monkeypatch, files)
    assert usable_cores() == cores


def test_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup(monkeypatch, {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_threads_of_numeric_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "usable_cores", lambda: 8)
    made = make_config(2, threads_per_worker=2)
    assert made.worker_environment == dict.fromkeys(THREAD_VARIABLES, "2")
    assert make_config(20).worker_environment == dict.fromkeys(THREAD_VARIABLES, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's own word is stronger
    assert "OMP_NUM_THREADS" not in make_config(2).worker_environment


def test_workers_see_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with Executor(1) as ex:
        seen = ex.submit(lambda: {name: os.environ.get(name) for name in THREAD_VARIABLES}).result(30)
    assert seen == {**dict.fromkeys(THREAD_VARIABLES, str(usable_cores())), "MKL_NUM_THREADS": "7"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_config_does_not_change() -> None:
    with pytest.raises(AttributeError):
        make_config().max_workers = 5  # type: ignore[misc]


def test_collections_are_copied() -> None:
    resources = {"GPU": 1.0}
    made = make_config(resources=resources, initargs=[1, 2])  # type: ignore[arg-type]
    resources["GPU"] = 5
    assert made.resources == {"GPU": 1.0} and made.initargs == (1, 2)


@pytest.mark.parametrize(("value", "debug"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_debug_mode(value: str | None, debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("FUTURES_CLUSTER_DEBUG", raising=False)
    else:
        monkeypatch.setenv("FUTURES_CLUSTER_DEBUG", value)
    assert make_config().debug is debug
