"""Text that has no encoding (half of a surrogate pair, as in names of files that are not UTF-8), wherever users put it.

Covers: functions, errors, keys, options, log records, output and the names of workers; on threads, on processes and on
a cluster. A task with such a text behaves as any other, and tasks beside it get their results.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import LIMIT_S

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster

BAD = "caf\udce9"
INNOCENT = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True) as cluster:
        cluster.add_worker("--workers", "2", "--resources", f"{BAD}=1")
        yield cluster


@pytest.fixture(params=["threads", "processes", "tcp"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param != "tcp":
        with Executor(2, backend=request.param, resources={BAD: 1}) as ex:
            yield ex
    else:
        with request.getfixturevalue("cluster").executor(forward_logs=True) as ex:
            yield ex


def check_beside(ex: Executor, *bad: Any, **options: Any) -> Any:
    """Submit a call between others, in one burst; its future."""
    before = [ex.submit(abs, -number) for number in range(INNOCENT)]
    future = ex.with_options(**options).submit(*bad)
    after = [ex.submit(abs, -number) for number in range(INNOCENT)]
    assert [each.result(LIMIT_S) for each in before + after] == 2 * list(range(INNOCENT))
    return future


def fail(text: str) -> None:
    error = ValueError(text)
    error.add_note(text)
    raise error


def keywords(**values: Any) -> dict[str, Any]:
    return values


def say(text: str) -> str:
    logging.getLogger(f"app.{text}").warning("%s", text)
    return text


def named(value: int) -> int:
    return value + 1


named.__qualname__ = named.__name__ = BAD


def test_everywhere_in_a_call(ex: Executor) -> None:
    def function(value: int) -> int:
        return value + 1

    function.__qualname__ = function.__name__ = BAD
    assert check_beside(ex, function, 1).result(LIMIT_S) == 2
    assert list(ex.map(function, range(INNOCENT))) == list(range(1, INNOCENT + 1))
    failed = check_beside(ex, fail, BAD)
    with pytest.raises(ValueError) as caught:
        failed.result(LIMIT_S)
    assert (caught.value.args, caught.value.__notes__) == ((BAD,), [BAD])
    assert ex.submit(keywords, **{BAD: 1}).result(LIMIT_S) == {BAD: 1}


def test_everywhere_in_options(ex: Executor) -> None:
    assert check_beside(ex, abs, -1, key=BAD).key == BAD
    pure = ex.with_options(pure=True)
    assert pure.submit(abs, ex.with_options(key=f"{BAD}-2").submit(abs, -5)).result(LIMIT_S) == 5
    assert check_beside(ex, abs, -1, resources={BAD: 1}).result(LIMIT_S) == 1


def test_channels_and_scattered_data(ex: Executor) -> None:
    channel = ex.channel(BAD)
    channel.put(BAD)
    assert next(channel.reader(timeout=LIMIT_S)) == BAD
    assert ex.submit(len, ex.scatter([BAD])).result(LIMIT_S) == 1


def test_log_records(ex: Executor, caplog: pytest.LogCaptureFixture) -> None:
    assert check_beside(ex, say, BAD).result(LIMIT_S) == BAD
    ex.shutdown()
    assert (f"app.{BAD}", logging.WARNING, BAD) in caplog.record_tuples


def test_what_people_see(ex: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    function = lambda: print(BAD)  # noqa: E731
    function.__qualname__ = BAD
    report = tmp_path / "report.html"
    with ex.report(report, title=BAD), ex.output():
        ex.submit(function).exception(LIMIT_S)
        held = ex.with_options(key=BAD).submit(abs, -1)
        held.result(LIMIT_S)
        assert ex.explain(held)
    figures = report.read_text().partition('id="report">')[2].partition("</script>")[0]
    json.loads(figures)["snapshot"]["functions"]
    figures.encode()


def test_what_a_task_prints_is_its_own_affair() -> None:
    with Executor(1) as ex:
        error = check_beside(ex, print, BAD).exception(LIMIT_S)
        assert error is None or type(error) is UnicodeEncodeError  # as the locale says


def test_names_of_workers(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.add_worker("--name", BAD)
        with cluster.executor() as ex:
            assert check_beside(ex, abs, -3, workers=BAD).result(LIMIT_S) == 3
        assert "caf\\udce9" in cluster.run("status", cluster.address)
