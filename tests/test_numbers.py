"""Numbers and names of other types than Python's own, numpy's above all, and numbers that are out of range.

Covers: every argument that is a number of something, seconds or a name, and the range of each. Does not cover: numbers
in messages (``services/test_links``, ``fuzz``).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from futures_cluster import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, numbers
from futures_cluster.cli import main
from futures_cluster.config import make_config
from futures_cluster.engines.options import SubmitOptions, changed

each_backend = pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
each_second = pytest.mark.parametrize("seconds", [np.float32(60), np.float64(60), np.int64(60), np.uint8(60)])


class Name(str):
    """What code that compares types does not know."""


@pytest.mark.parametrize("name", ["max_workers", "max_tasks_per_child", "threads_per_worker"])
def test_settings_are_whole_numbers(name: str) -> None:
    for number in (np.int64(2), np.uint8(2)):
        value = getattr(make_config(**{name: number}), name)
        assert value == 2 and type(value) is int
    assert getattr(make_config(**{name: True}), name) == 1  # as in the standard library
    for wrong in (2.0, np.float64(2), "2", np.array([1, 2])):
        with pytest.raises(TypeError, match=name):
            make_config(**{name: wrong})


@pytest.mark.parametrize("values", [["api"], "GPU", 3])
def test_amounts_come_by_name(values: Any) -> None:
    with pytest.raises(TypeError, match=r"limits must be a dict of amounts by name, got"):
        numbers.amounts("limits", values)


def test_amounts_become_floats() -> None:
    resources = make_config(resources={"GPU": np.float32(2)}).resources  # type: ignore[dict-item]
    assert resources == {"GPU": 2.0} and type(resources["GPU"]) is float
    assert type(make_config(memory_limit=np.float32(2e9)).memory_limit) is int  # type: ignore[arg-type]


def test_options_become_plain() -> None:
    task = changed(
        SubmitOptions(),
        priority=np.int8(3),  # type: ignore[arg-type]
        retries=np.int64(2),  # type: ignore[arg-type]
        timeout=np.float32(1.5),  # type: ignore[arg-type]
        resources={"GPU": np.int64(1)},  # type: ignore[dict-item]
        workers=[Name("a"), np.str_("b")],
    ).task
    assert [type(value) for value in (task.priority, task.retries, task.timeout_s)] == [int, int, float]
    assert [type(name) for name in task.workers] == [str, str]
    for options in ({"priority": 1.5}, {"retries": np.float64(1)}):
        with pytest.raises(TypeError, match="whole number"):
            changed(SubmitOptions(), **options)  # type: ignore[arg-type]


@each_backend
def test_executors_take_them(backend: str) -> None:
    with Executor(np.int64(1), backend=backend, resources={"GPU": np.int64(2)}) as ex:  # type: ignore[arg-type,dict-item]
        assert list(ex.map(abs, range(5), chunksize=np.int64(2))) == list(range(5))
        assert list(ex.map(abs, range(5), buffersize=np.int64(2))) == list(range(5))
        assert ex.with_options(priority=np.int64(1), retries=np.int64(1)).submit(abs, -1).result() == 1
        assert ex.with_options(resources={"GPU": np.int8(1)}).submit(abs, -1).result() == 1
        assert ex.scatter(1, replicas=np.int64(1)).result() == 1
        ex.channel("c", maxlen=np.int64(3)).put(1)
        if backend == "processes":
            ex.adapt(np.int64(1), np.int64(2))
            ex.scale(np.int64(1))


@each_backend
@each_second
def test_seconds(backend: str, seconds: Any) -> None:
    with Executor(1, backend=backend) as ex:
        assert ex.submit(abs, -1).result(seconds) == 1
        many = [ex.submit(abs, -1) for _ in range(50)]
        assert many[-1].result(seconds) == 1 and many[0].exception(seconds) is None
        assert list(ex.map(abs, range(5), timeout=seconds)) == list(range(5))
        assert len(list(as_completed(many, timeout=seconds))) == 50
        assert ex.with_options(timeout=seconds).submit(abs, -1).result() == 1
        channel = ex.channel(f"seconds {type(seconds).__name__}")
        channel.put(1)
        assert next(channel.reader(timeout=seconds)) == 1


@each_backend
@pytest.mark.parametrize("kind", [Name, np.str_])
def test_keys(backend: str, kind: type[str]) -> None:
    """A key of a subclass of ``str`` once stopped the client's mailbox, and with it every later task."""
    with Executor(1, backend=backend) as ex:
        assert ex.with_options(key=kind("mine")).submit(abs, -1).result() == 1
        assert ex.submit(abs, -2).result() == 2
        assert ex.channel(kind("c")).maxlen > 0


def test_pools() -> None:
    for pool in (ThreadPoolExecutor, ProcessPoolExecutor):
        with pool(np.int64(1)) as ex:  # type: ignore[arg-type]
            assert ex.submit(abs, -1).result() == 1


# ---------------------------------------------------------------- ranges

NAN, INF = float("nan"), float("inf")
HUGE = 10**5000
each_executor = pytest.mark.parametrize("backend", ["processes", "threads", "sync"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_workers": 0}, r"max_workers must be greater than 0 and at most \d+, got 0"),
        ({"max_workers": HUGE}, r"max_workers must be a?.* got <int>"),
        ({"max_workers": NAN}, r"max_workers must be a whole number or None \(from 1 to \d+\), got nan"),
        ({"max_tasks_per_child": -1}, r"max_tasks_per_child must be >= 1 and at most \d+, got -1"),
        ({"max_tasks_per_child": INF}, r"max_tasks_per_child must be an integer or None \(from 1 to \d+\), got inf"),
        ({"threads_per_worker": 0}, r"threads_per_worker must be at least 1 and at most \d+, got 0"),
        ({"threads_per_worker": 2**31}, r"threads_per_worker must be at least 1 and at most \d+, got 2147483648"),
        ({"memory_limit": NAN}, r"memory_limit must be at least one byte and at most 256 TiB, got nan"),
        ({"memory_limit": INF}, r"memory_limit must be at least one byte and at most 256 TiB, got inf"),
        ({"memory_limit": -1}, r"memory_limit must be at least one byte and at most 256 TiB, got -1"),
        ({"memory_limit": "9999999999999999999TB"}, r"memory_limit must be at least one byte and at most 256 TiB"),
        ({"memory_limit": "much"}, r"memory_limit must be a size like .*, got 'much'"),
        ({"resources": {"GPU": NAN}}, r"resources\['GPU'\] must be a number from 0 to \d+, got nan"),
        ({"resources": {"GPU": -1}}, r"resources\['GPU'\] must be a number from 0 to \d+, got -1"),
        ({"resources": {"GPU": HUGE}}, r"resources\['GPU'\] must be a number from 0 to \d+, got <int>"),
        ({"resources": {"GPU": "two"}}, r"resources\['GPU'\] must be a number from 0 to \d+, got 'two'"),
        ({"limits": {"api": 0}}, r"limits\['api'\] must be a number above 0 and up to \d+, got 0"),
        ({"limits": {"api": NAN}}, r"limits\['api'\] must be a number above 0 and up to \d+, got nan"),
        ({"limits": 0}, "limits must be a dict of amounts by name, got 0"),
        ({"memory_limit": []}, r"memory_limit must be a size like .* got \[\]"),
        ({"memory_limit": b"2GB"}, "memory_limit must be a size like .* got b'2GB'"),
        (
            {"mp_context": "fork"},
            r"mp_context must be a context such as multiprocessing.get_context\('fork'\), got 'fork'",
        ),
        ({"mp_context": 5}, "mp_context must be a context .* got 5"),
        ({"thread_name_prefix": 5}, "thread_name_prefix must be a str, got 5"),
        ({"memory_limit": True}, "memory_limit must be a size like .* got True"),
        ({"resolve": "no"}, "resolve must be True or False, got 'no'"),
    ],
)
def test_ranges_of_settings(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        make_config(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"timeout": NAN}, r"timeout must be a number of seconds above 0 and up to \d+, or None for no limit, got nan"),
        ({"timeout": INF}, r"timeout must be .* got inf"),
        ({"timeout": 0}, r"timeout must be .* got 0"),
        ({"timeout": -0.5}, r"timeout must be .* got -0.5"),
        ({"timeout": 1e300}, r"timeout must be .* got 1e\+300"),
        ({"timeout": HUGE}, r"timeout must be .* got <int>"),
        ({"timeout": "5"}, r"timeout must be .* got '5'"),
        ({"priority": 2**62 + 1}, r"priority must be a whole number from -\d+ to \d+, got 4611686018427387905"),
        ({"priority": NAN}, r"priority must be a whole number \(from -\d+ to \d+\), got nan"),
        ({"priority": -HUGE}, r"priority must be a whole number from -\d+ to \d+, got <int>"),
        ({"retries": -1}, r"retries must be a whole number from 0 to \d+, got -1"),
        ({"retries": 2**31}, r"retries must be a whole number from 0 to \d+, got 2147483648"),
        ({"resources": {"g": NAN}}, r"resources\['g'\] must be a number from 0 to \d+, got nan"),
        ({"resources": {"g": INF}}, r"resources\['g'\] must be a number from 0 to \d+, got inf"),
        ({"resources": {"g": -1.0}}, r"resources\['g'\] must be a number from 0 to \d+, got -1.0"),
        ({"limits": {"g": NAN}}, r"limits\['g'\] must be a number from 0 to .* got nan"),
        ({"limits": {"g": -1}}, r"limits\['g'\] must be a number from 0 to .* got -1"),
        ({"backoff": 1}, r"backoff=1 is the wait before a retry, and retries is 0; write with_options\(retries=3, b"),
        ({"backoff": 1, "retries": 0}, r"retries is 0"),
        ({"key": ""}, "a key must not be empty"),
        ({"workers": 0}, r"workers must be names of workers, .* got 0"),
        ({"workers": []}, r"workers must name one worker or more, or be None for any worker, got \[\]"),
        ({"workers": [1]}, r"workers must be names of workers, .* got 1"),
        ({"workers": ""}, r"workers must be names of workers, .* got ''"),
        ({"limits": 0}, "limits must be a dict of amounts by name, got 0"),
        ({"resources": False}, "resources must be a dict of amounts by name, got False"),
    ],
)
def test_ranges_of_options(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        changed(SubmitOptions(), **arguments)


@pytest.mark.parametrize("value", [True, False, np.True_])
@pytest.mark.parametrize("name", ["priority", "retries", "backoff", "timeout"])
def test_a_bool_is_no_number_of_an_option(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, got {value}"):
        changed(SubmitOptions(), **{name: value})


@pytest.mark.parametrize("value", ["no", 2, None, 0.5])
@pytest.mark.parametrize("name", ["rerun", "pure", "resolve"])
def test_a_switch_is_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be True or False, got"):
        changed(SubmitOptions(), **{name: value})
    for plain in (True, 1, np.True_):
        found = changed(SubmitOptions(), **{name: plain})  # type: ignore[arg-type]
        assert (found.task.rerun if name == "rerun" else getattr(found, name)) is True


@pytest.mark.parametrize("take", [make_config, lambda **options: changed(SubmitOptions(), **options)])
@pytest.mark.parametrize("what", ["limits", "resources"])
def test_names_of_amounts_are_text(take: Any, what: str) -> None:
    for amounts, text in [
        ({1: 2}, f"the names in {what} must be str, got 1"),
        ({None: 2}, f"the names in {what} must be str, got None"),
        ({"": 1}, f"the names in {what} must not be blank, got ''"),
        ({" ": 1}, f"the names in {what} must not be blank, got ' '"),
        ({"g": True}, rf"{what}\['g'\] must be a number, got True"),
    ]:
        with pytest.raises((TypeError, ValueError), match=text):
            take(**{what: amounts})
    take(**{what: {Name("g"): 1, np.str_("h"): 2}})


def test_the_wait_before_a_retry_may_be_given_where_there_are_retries() -> None:
    often = changed(SubmitOptions(), retries=3)
    patient = changed(often, backoff=1)
    assert patient.task.backoff_s == 1
    assert changed(patient, retries=0).task.retries == 0
    assert changed(SubmitOptions(), backoff=0).task.backoff_s == 0


@each_executor
def test_ranges_of_calls(backend: str) -> None:
    with Executor(1, backend=backend) as ex:
        future = ex.submit(abs, -1)
        calls: list[tuple[Any, str]] = [
            (lambda: ex.map(abs, [1], chunksize=0), r"chunksize must be >= 1 and at most \d+, got 0"),
            (lambda: ex.map(abs, [1], chunksize=NAN), r"chunksize must be a whole number \(from 1 to \d+\), got nan"),
            (lambda: ex.map(abs, [1], buffersize=0), r"buffersize must be None or > 0 and at most \d+, got 0"),
            (lambda: ex.map(abs, [1], buffersize=HUGE), r"buffersize must be None or > 0 and at most \d+, got <int>"),
            (lambda: ex.map(abs, [1], timeout=NAN), r"timeout must be a number of seconds up to \d+, .* got nan"),
            (lambda: ex.scatter(1, replicas=0), r"replicas must be a whole number from 1 to \d+, got 0"),
            (lambda: ex.channel("c", maxlen=0), r"maxlen must be a whole number or None from 1 to \d+, got 0"),
            (lambda: ex.channel("c").reader(NAN), r"timeout must be a number of seconds up to \d+, .* got nan"),
            (lambda: as_completed([future], timeout=NAN), r"timeout must be a number of seconds up to \d+, .* got nan"),
            (
                lambda: as_completed([future], timeout=1e10),
                r"timeout must be a number of seconds up to \d+, .* got 1000",
            ),
            (lambda: ex.scale(0), r"number must be a whole number of workers, at least one, from 1 to \d+, got 0"),
            (lambda: ex.progress(interval_s=NAN), r"interval_s must be a number from 0.001 to 3600, got nan"),
            (lambda: ex.adapt(0), r"minimum must be a whole number from 1 to \d+, got 0"),
            (lambda: ex.adapt(3, 2), r"maximum must be a whole number of at least `minimum`, from 3 to \d+, got 2"),
        ]
        for call, text in calls:
            with pytest.raises((TypeError, ValueError), match=text):
                call()
        assert future.result(60) == 1


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("timeout", [NAN, INF, "soon"])
def test_ranges_of_waits(backend: str, timeout: Any, tmp_path: Path) -> None:
    with Executor(1, backend=backend) as ex:
        future = ex.submit(wait_for_file, tmp_path / "go")
        for wait in (future.result, future.exception):
            with pytest.raises((TypeError, ValueError), match="timeout must be a number of seconds up to"):
                wait(timeout)
        (tmp_path / "go").touch()
        assert future.result(60) is None


def wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_nothing_of_a_resource_is_no_demand(backend: str) -> None:
    """Also of one that no worker offers."""
    with Executor(1, backend=backend) as ex:
        assert ex.with_options(resources={"GPU": 0}).submit(abs, -1).result(60) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["scheduler", "--silence", "nan"], "--silence: must be a number from 0.5 to 1000000, got nan"),
        (["scheduler", "--silence", "0"], "--silence: must be a number from 0.5 to 1000000, got 0.0"),
        (["scheduler", "--silence", "soon"], "--silence: must be a number from 0.5 to 1000000, got 'soon'"),
        (["scheduler", "--port", "65536"], "--port: must be a whole number from 0 to 65535, got 65536"),
        (["scheduler", "--port", "9" * 5000], "--port: must be a whole number (from 0 to 65535), got '999"),
        (["worker", "tcp://h:1", "--reconnect", "-1"], "--reconnect: must be a number from 0 to"),
        (["worker", "tcp://h:1", "--reconnect", "inf"], "--reconnect: must be a number from 0 to"),
        (["worker", "tcp://h:1", "--wait", "nan"], "--wait: must be a number from 0 to"),
        (["worker", "tcp://h:1", "--workers", "0"], "--workers: must be a whole number from 1 to 2147483647, got 0"),
        (["worker", "tcp://h:1", "--threads", "1.5"], "--threads: must be a whole number (from 1 to 2147483647)"),
        (["worker", "tcp://h:1", "--resources", "GPU=nan"], "--resources: ['GPU'] must be a number from 0 to"),
        (["worker", "tcp://h:1", "--resources", "GPU=-1"], "--resources: ['GPU'] must be a number from 0 to"),
        (["worker", "tcp://h:1", "--resources", "GPU=x"], "--resources: 'GPU=x' is not NAME=NUMBER"),
        (["worker", "tcp://h:1", "--resources", "GPU=1,GPU=2"], "--resources: 'GPU=1,GPU=2' has two numbers for 'GPU'"),
        (["scheduler", "--limit", "api=0"], "--limit: ['api'] must be a number above 0 and up to"),
        (["scheduler", "--limit", "api=nan"], "--limit: ['api'] must be a number above 0 and up to"),
        (["worker", "tcp://h:1", "--memory-limit", "0"], "--memory-limit: a size must be at least one byte"),
        (["status", "tcp://h:1", "--watch", "nan"], "--watch: must be a number from 0.05 to 1000000, got nan"),
        (["status", "tcp://h:1", "--watch", "--number", "0"], "--number: must be a whole number from 1 to"),
    ],
)
def test_ranges_on_the_command_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert text in " ".join(capsys.readouterr().err.split())
