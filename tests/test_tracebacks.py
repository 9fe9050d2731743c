"""What users and their tools see of a task's traceback: what they would see of the direct call.

Covers: the standard library's formatting, ``logging``, ``pdb``, ``inspect``, pytest, rich, stack_data. Does not
cover: IPython and Jupyter (``test_notebooks``), the exceptions themselves (``wire/test_exceptions``).
"""

from __future__ import annotations

import inspect
import io
import json
import linecache
import logging
import os
import pdb
import re
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

import futures_cluster
from futures_cluster import Executor, as_completed
from futures_cluster.wire.codec.exceptions import dump_error, load_error
from futures_cluster.wire.codec.tracebacks import call_detached, pack, unpack

LIMIT_S = 30


class Account:
    def withdraw(self, data: dict[str, Any]) -> int:
        def check(amount: int) -> float:
            return (
                amount  # the statement has several lines
                / data["größe"]["rate"]
            )

        return int(sum(check(each) for each in data["amounts"]))


def divide() -> int:
    return Account().withdraw({"amounts": [1], "größe": {"rate": 0}})


def parse() -> Any:
    return json.loads("{")


def name_error() -> Any:
    return pritn("typo")  # type: ignore[name-defined]  # noqa: F821


def chained() -> Any:
    try:
        parse()
    except ValueError as error:
        raise LookupError("no document") from error


def grouped() -> Any:
    found = []
    for function in (divide, parse):
        try:
            function()
        except Exception as error:
            found.append(error)
    raise ExceptionGroup("several", found)


def endless(number: int = 0) -> int:
    return endless(number + 1)


FAILING = [divide, parse, name_error, chained, grouped]


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError("nothing was raised")


def rebuilt(function: Callable[[], Any]) -> BaseException:
    return load_error(dump_error(caught(function)))


def formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def entries(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def with_path(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


@pytest.fixture(scope="module", params=["sync", "threads", "processes"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with Executor(1, backend=request.param) as ex:
        ex.run(int)
        yield ex


# ---------------------------------------------------------------- the standard library


@pytest.mark.parametrize("function", FAILING)
def test_the_text_is_that_of_the_direct_call(ex: Executor, function: Callable[[], Any]) -> None:
    error = ex.submit(function).exception(LIMIT_S)
    assert error is not None
    text = formatted(error)
    assert text == formatted(caught(function))
    assert "^^^" in text  # what failed is marked
    assert "\n\n" not in text.replace("exception:\n\n", "").replace("\n\nThe above", "")


def test_the_text_of_endless_recursion_is_short() -> None:
    text = formatted(rebuilt(endless))
    assert "frames are left out" in text and "RecursionError" in text
    assert text.count("\n") < 50


def test_code_without_columns_has_no_marks(tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text("def fail(x):\n    return 1 + x['key']\n")
    program = (
        "import sys, bare\n"
        "from futures_cluster.wire.codec.exceptions import dump_error\n"
        "try:\n    bare.fail({})\n"
        "except KeyError as error:\n    sys.stdout.buffer.write(dump_error(error))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", program],
        cwd=tmp_path,
        env=with_path(tmp_path),
        capture_output=True,
        check=True,
        timeout=60,
    )
    linecache.checkcache()
    text = formatted(load_error(answer.stdout))
    assert f"  File \"{script}\", line 2, in fail\n    return 1 + x['key']\nKeyError" in text


def test_a_traceback_whose_lines_were_changed_has_no_marks() -> None:
    error = caught(parse)
    tb = error.__traceback__
    assert tb is not None
    changed = TracebackType(None, tb.tb_frame, tb.tb_lasti, tb.tb_lineno + 1)
    assert pack(changed)[0][-1] == (tb.tb_lineno + 1, None, None, None)
    without = TracebackType(None, tb.tb_frame, -1, tb.tb_lineno)
    assert pack(without)[0][-1] == (tb.tb_lineno, None, None, None)
    for each in (changed, without):
        assert "^" not in "".join(traceback.format_tb(unpack(pack(each))))


def test_frames_are_like_the_original_ones() -> None:
    pairs = list(zip(entries(caught(divide).__traceback__), entries(rebuilt(divide).__traceback__), strict=True))
    for theirs, ours in pairs:
        for name in ("co_filename", "co_name", "co_qualname", "co_firstlineno"):
            assert getattr(ours.tb_frame.f_code, name) == getattr(theirs.tb_frame.f_code, name)
        assert ours.tb_lineno == theirs.tb_lineno == ours.tb_frame.f_lineno
        assert positions(ours) == positions(theirs)
        assert ours.tb_frame.f_globals["__name__"] == __name__
        assert ours.tb_lasti == ours.tb_frame.f_lasti >= 0
        assert ours.tb_frame.f_locals == {}
    assert len(pairs) >= 4


def positions(tb: TracebackType) -> Any:
    return list(tb.tb_frame.f_code.co_positions())[tb.tb_lasti // 2]


def test_rebuilt_twice() -> None:
    """A task that fails because of another one's error, which travels once more."""
    once = rebuilt(chained)
    assert formatted(load_error(dump_error(once))) == formatted(once)


def test_stack_summaries_and_traceback_exceptions() -> None:
    error = rebuilt(chained)
    for capture_locals in (False, True):
        exception = traceback.TracebackException.from_exception(error, capture_locals=capture_locals)
        assert "".join(exception.format()) == formatted(error)
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["chained"]
    traceback.clear_frames(error.__traceback__)
    assert "LookupError: no document" in formatted(error)


def test_logging_of_an_exception(ex: Executor) -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    try:
        ex.submit(divide).result(LIMIT_S)
    except ZeroDivisionError:
        logger.exception("it failed")
    text = stream.getvalue()
    assert text.startswith("it failed\nTraceback (most recent call last):\n")
    assert text.endswith("".join(traceback.format_exception(caught(divide))[1:]))


def test_inspect_of_frames() -> None:
    error = rebuilt(divide)
    infos = inspect.getinnerframes(error.__traceback__)  # type: ignore[arg-type]
    assert infos[-1].function == "check" and infos[-1].code_context is not None
    assert 'data["größe"]["rate"]' in "".join(inspect.getinnerframes(error.__traceback__, 5)[-1].code_context or [])  # type: ignore[arg-type]


def test_source_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "library.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("module_in_archive.py", "def fail():\n    raise KeyError('in the archive')\n")
    monkeypatch.syspath_prepend(str(archive))
    import module_in_archive

    error = rebuilt(module_in_archive.fail)
    linecache.clearcache()
    assert "    raise KeyError('in the archive')\n" in formatted(error)
    monkeypatch.delitem(sys.modules, "module_in_archive")


# ---------------------------------------------------------------- frames without callers


def test_rebuilt_frames_keep_no_frame_of_those_who_load_the_error() -> None:
    for tb in entries(rebuilt(divide).__traceback__):
        callers = 0
        frame: FrameType | None = tb.tb_frame.f_back
        while frame is not None:
            assert frame.f_code.co_filename.endswith("tracebacks.py") and not frame.f_locals
            callers += 1
            frame = frame.f_back
        assert callers == 1


def test_a_detached_call_can_make_another() -> None:
    def nested(depth: int, *, width: int) -> Any:
        if not depth:
            raise KeyError(width)
        value, error = call_detached(nested, depth - 1, width=width)
        assert value is None and error is not None
        raise error

    value, error = call_detached(nested, 3, width=5)
    assert value is None and isinstance(error, KeyError) and error.args == (5,)
    assert call_detached(pow, 2, 3) == (8, None)
    assert isinstance(call_detached(next, iter(()))[1], StopIteration)


# ---------------------------------------------------------------- debuggers


@pytest.mark.parametrize("function", [*FAILING, endless])
def test_post_mortem(function: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    error = rebuilt(function)
    monkeypatch.setattr(
        sys, "stdin", io.StringIO("where\nlist\nargs\np 1 + 1\np locals()\nup\nwhere\ndown\nlonglist\nq\n")
    )
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    pdb.post_mortem(error.__traceback__)
    monkeypatch.undo()
    text = output.getvalue()
    assert type(error) is RecursionError or traceback.extract_tb(error.__traceback__)[-1].line in text  # type: ignore[operator]
    assert "(Pdb) 2\n(Pdb) {}\n" in text
    assert "*** " not in re.sub(r"\*{3} (Oldest|Newest) frame", "", text)


# ---------------------------------------------------------------- other libraries


def test_pytest_shows_the_source_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("def fail(x):\n    y = x + 1\n    return (\n        y / 0\n    )\n")
    (tmp_path / "test_it.py").write_text(
        "from futures_cluster import Executor\n"
        "from tasks import fail\n"
        "def test_it():\n"
        "    with Executor(1) as ex:\n"
        "        ex.submit(fail, 1).result()\n"
    )
    outputs = {}
    for style in ("long", "short", "native"):
        answer = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--tb={style}", "--showlocals", "test_it.py"],
            cwd=tmp_path,
            env=with_path(tmp_path),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert answer.returncode == 1, answer.stdout + answer.stderr
        outputs[style] = answer.stdout
    assert "    def fail(x):\n        y = x + 1\n        return (\n>           y / 0\n" in outputs["long"]
    assert "tasks.py:4: ZeroDivisionError" in outputs["long"]
    assert "tasks.py:4: in fail\n    y / 0\n" in outputs["short"]
    assert "ZeroDivisionError: division by zero" in outputs["native"]


def test_rich() -> None:
    console = pytest.importorskip("rich.console")
    rich_traceback = pytest.importorskip("rich.traceback")
    for function in (*FAILING, endless):
        error = rebuilt(function)
        output = io.StringIO()
        found = rich_traceback.Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        console.Console(file=output, width=120).print(found)
        assert type(error).__name__ in output.getvalue() and "test_tracebacks.py" in output.getvalue()


def test_stack_data_and_executing() -> None:
    stack_data = pytest.importorskip("stack_data")
    for function in (*FAILING, endless):
        text = "".join(stack_data.Formatter(show_executing_node=True).format_exception(rebuilt(function)))
        assert "-->" in text and type(rebuilt(function)).__name__ in text
        for info in stack_data.FrameInfo.stack_data(rebuilt(function).__traceback__):
            assert isinstance(info, stack_data.RepeatedFrames) or info.executing.code_qualname()
    names = [info.executing.code_qualname() for info in stack_data.FrameInfo.stack_data(rebuilt(divide).__traceback__)]
    assert names[1] == "Account.withdraw" and names[-1] == "Account.withdraw.<locals>.check"


CALLS: dict[str, Callable[[Executor], object]] = {
    "result": lambda ex: ex.submit(divide).result(),
    "map": lambda ex: list(ex.map(lambda _: divide(), [1])),
    "gather": lambda ex: ex.gather({"a": [ex.submit(divide)]}),
    "run": lambda ex: ex.run(divide),
    "as_completed": lambda ex: list(as_completed([ex.submit(divide)], with_results=True)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_ipython_and_pytest_show_few_frames_between_the_callers_and_the_tasks(
    backend: str, call: Callable[[Executor], object]
) -> None:
    """The standard library shows two for ``result``, and four for ``map``."""
    with Executor(1, backend=backend) as ex, pytest.raises(ZeroDivisionError) as caught:
        call(ex)
    package = os.path.dirname(futures_cluster.__file__)
    shown = [
        frame.f_code.co_qualname
        for frame, _ in traceback.walk_tb(caught.tb)
        if frame.f_code.co_filename.startswith(package) and not frame.f_locals.get("__tracebackhide__")
    ]
    assert len(shown) <= 2 and shown[-1] == "Future.result", shown
