"""Exceptions come back as they were: class, state, traceback, causes, contexts, notes and groups."""

from __future__ import annotations

import errno
import linecache
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from futures_cluster.errors import RemoteError
from futures_cluster.wire.exceptions import MOST_LINKED, dump_error, load_error


def caught(function: Callable[..., Any], *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def round_trip(error: BaseException) -> Any:
    return load_error(dump_error(error))


def frames_of(error: BaseException) -> list[tuple[str, str, int | None]]:
    return [(frame.filename, frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]


def inner(value: Any) -> None:
    raise ValueError("bad", value)


def outer(value: Any) -> None:
    inner(value)


def with_cause() -> None:
    try:
        inner(1)
    except ValueError as error:
        raise KeyError("cause") from error


def with_context() -> None:
    try:
        inner(2)
    except ValueError:
        {}["context"]


def with_suppressed_context() -> None:
    try:
        inner(3)
    except ValueError:
        raise KeyError("alone") from None


def test_class_arguments_and_traceback() -> None:
    error = caught(outer, {"x": 1})
    back = round_trip(error)
    assert type(back) is ValueError and back.args == ("bad", {"x": 1})
    assert frames_of(back) == frames_of(error)
    assert [name for _, name, _ in frames_of(back)] == ["caught", "outer", "inner"]


def test_the_printed_traceback_is_the_remote_one() -> None:
    error = caught(with_cause)
    printed = "".join(traceback.format_exception(round_trip(error)))
    assert "direct cause of the following exception" in printed
    assert printed == "".join(traceback.format_exception(error))


def test_an_error_raised_again_keeps_its_remote_frames() -> None:
    def again() -> None:
        raise round_trip(caught(outer, 1))

    assert [name for _, name, _ in frames_of(caught(again))][-4:] == ["again", "caught", "outer", "inner"]


def test_cause() -> None:
    error = caught(with_cause)
    back = round_trip(error)
    assert type(back) is KeyError
    assert type(back.__cause__) is ValueError and back.__cause__ is back.__context__
    assert back.__suppress_context__
    assert error.__cause__ is not None
    assert frames_of(back.__cause__) == frames_of(error.__cause__)


def test_context() -> None:
    back = round_trip(caught(with_context))
    assert back.__cause__ is None and not back.__suppress_context__
    assert back.__context__.args == ("bad", 2)


def test_suppressed_context() -> None:
    back = round_trip(caught(with_suppressed_context))
    assert back.__suppress_context__ and back.__context__.args == ("bad", 3)


def test_notes_are_there_once() -> None:
    error = ValueError("x")
    error.add_note("first")
    error.add_note("second")
    assert round_trip(round_trip(error)).__notes__ == ["first", "second"]


def test_notes_of_an_error_that_does_not_pickle() -> None:
    error = ValueError(threading.Lock())
    error.add_note("a note")
    assert round_trip(error).__notes__ == ["a note"]


def test_strange_notes() -> None:
    error = ValueError("x")
    error.__notes__ = 5  # type: ignore[assignment]
    assert round_trip(error).args == ("x",)
    error.__notes__ = ["good", threading.Lock()]  # type: ignore[list-item]
    assert round_trip(error).__notes__ == ["good"]


# ---------------------------------------------------------------- groups


def raise_group() -> None:
    parts: list[Exception] = []
    for function in (with_cause, with_context):
        try:
            function()
        except Exception as error:
            parts.append(error)
    raise ExceptionGroup("several", [*parts, ExceptionGroup("inside", [TypeError("deep")])])


class OwnGroup(ExceptionGroup[Exception]):
    def derive(self, excs: Any) -> OwnGroup:
        return OwnGroup(self.message, excs)


def test_groups() -> None:
    error = caught(raise_group)
    assert isinstance(error, ExceptionGroup)
    back = round_trip(error)
    assert type(back) is ExceptionGroup and back.message == "several"
    assert frames_of(back) == frames_of(error)
    first, second, third = back.exceptions
    assert type(first.__cause__) is ValueError
    assert second.__context__.args == ("bad", 2)
    assert frames_of(first) == frames_of(error.exceptions[0])
    assert [type(one) for one in third.exceptions] == [TypeError]


def test_a_group_with_a_member_that_does_not_pickle() -> None:
    back = round_trip(ExceptionGroup("g", [ValueError(threading.Lock()), KeyError("k")]))
    assert type(back) is ExceptionGroup
    assert [type(one) for one in back.exceptions] == [RemoteError, KeyError]


def test_groups_of_base_exceptions() -> None:
    back = round_trip(BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError()]))
    assert type(back) is BaseExceptionGroup
    assert [type(one) for one in back.exceptions] == [KeyboardInterrupt, ValueError]


def test_groups_of_a_class_of_their_own() -> None:
    error = caught(raise_group)
    assert isinstance(error, ExceptionGroup)
    back = round_trip(OwnGroup("own", error.exceptions))
    assert type(back) is OwnGroup and back.message == "own"
    assert type(back.exceptions[0].__cause__) is ValueError
    assert frames_of(back.exceptions[0]) == frames_of(error.exceptions[0])


# ---------------------------------------------------------------- classes of all kinds


class TwoArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Prefixes(ValueError):
    """Calling it with its own args would add the prefix again."""

    def __init__(self, text: str) -> None:
        super().__init__(f"prefix {text}")


class NeedsKeyword(KeyError):
    def __init__(self, *, name: str) -> None:
        super().__init__(name)
        self.name = name


class OwnNew(Exception):
    def __new__(cls, first: int, second: int) -> OwnNew:
        return super().__new__(cls, first)


class ForgetsSuper(Exception):
    def __init__(self, a: int) -> None:
        self.a = a


class Stops(StopIteration):
    def __init__(self, value: int, extra: int) -> None:
        super().__init__(value)
        self.extra = extra


class OwnReduce(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("text")
        self.a = a
        self.b = b

    def __reduce__(self) -> Any:
        return OwnReduce, (self.a, self.b)


class BrokenOnArrival(Exception):
    def __reduce__(self) -> Any:
        return int, ("not a number",)


class NotAnErrorOnArrival(Exception):
    def __reduce__(self) -> Any:
        return int, ("5",)


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __init__(self) -> None:
        super().__init__(threading.Lock())


@pytest.mark.parametrize(
    "error",
    [
        TwoArguments(404, "not found"),
        Prefixes("once"),
        NeedsKeyword(name="n"),
        OwnNew(1, 2),
        ForgetsSuper(3),
        Stops(1, 2),
        OwnReduce(1, 2),
        OSError(errno.ENOENT, "no", "file"),
        FileNotFoundError(errno.ENOENT, "no", "file"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        SyntaxError("bad", ("file.py", 1, 2, "text", 1, 3)),
        ImportError("m", name="n", path="p"),
        StopIteration(7),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        Exception(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_classes(error: BaseException) -> None:
    back = round_trip(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert back.__dict__ == error.__dict__
    assert str(back) == str(error)
    for name in ("errno", "filename", "value", "code", "reason", "lineno", "name", "path"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_local_classes_with_their_own_init() -> None:
    class Local(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__("local")
            self.b = b

    back = round_trip(Local(1, 2))
    assert type(back) is Local and back.b == 2 and back.args == ("local",)


@pytest.mark.parametrize("cls", [BrokenOnArrival, NotAnErrorOnArrival, NoText])
def test_what_does_not_survive_is_told_in_words(cls: type[Exception]) -> None:
    def fail() -> None:
        raise cls() from KeyError("cause")

    error = caught(fail)
    back = round_trip(error)
    assert type(back) is RemoteError
    assert f"{cls.__name__}, which does not pickle" in str(back)
    assert "in fail" in str(back)
    assert frames_of(back) == frames_of(error)
    assert type(back.__cause__) is KeyError


def test_a_remote_error_has_text_and_traceback() -> None:
    def fail() -> None:
        raise ValueError("the text", threading.Lock())

    text = str(round_trip(caught(fail)))
    assert text.startswith("ValueError, which does not pickle:\nTraceback (most recent call last):\n")
    assert 'raise ValueError("the text", threading.Lock())' in text
    assert "ValueError: ('the text', <unlocked" in text


def test_attributes_that_do_not_pickle() -> None:
    error = TwoArguments(1, "why")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    back = round_trip(error)
    assert type(back) is RemoteError and "TwoArguments: 1: why" in str(back)


# ---------------------------------------------------------------- sizes and shapes


def recurse(n: int) -> int:
    return recurse(n + 1)


def test_the_thousand_frames_of_endless_recursion() -> None:
    error = caught(recurse, 0)
    back = round_trip(error)
    assert type(back) is RecursionError
    frames = frames_of(back)
    assert frames[0] == frames_of(error)[0] and frames[-1] == frames_of(error)[-1]
    assert len(frames) == 501
    assert "frames are left out" in frames[100][0]


def test_an_error_near_the_limit_of_recursion() -> None:
    """A task that catches its own RecursionError deep down and raises something else."""
    done = []

    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        else:
            done.append(round_trip(caught(inner, n)))

    deep(sys.getrecursionlimit() - 300)
    assert type(done[0]) is ValueError


def test_a_long_chain() -> None:
    error: BaseException = ValueError(0)
    for number in range(1, 5000):
        following = ValueError(number)
        following.__context__ = error
        error = following
    back = round_trip(error)
    length = 1
    while back.__context__ is not None:
        back = back.__context__
        length += 1
    assert length == MOST_LINKED
    assert back.args == (5000 - MOST_LINKED,)


def test_a_circle_of_causes() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    back = round_trip(first)
    assert back.args == ("first",) and back.__cause__.args == ("second",)
    assert back.__cause__.__cause__ is back


def test_without_traceback() -> None:
    back = round_trip(ValueError("never raised"))
    assert back.__traceback__ is None


def test_frames_of_another_process_have_its_files_and_lines(tmp_path: Any) -> None:
    script = tmp_path / "elsewhere.py"
    script.write_text(
        "import sys\n"
        "from futures_cluster.wire.exceptions import dump_error\n"
        "class OnlyThere(Exception):\n"
        "    def __init__(self, a, b): super().__init__(a + b)\n"
        "def fails():\n"
        "    raise OnlyThere('a', 'b')\n"
        "try:\n"
        "    fails()\n"
        "except Exception as error:\n"
        "    sys.stdout.buffer.write(dump_error(error))\n"
    )
    data = subprocess.run([sys.executable, str(script)], capture_output=True, check=True, timeout=60).stdout
    back = load_error(data)
    assert type(back).__name__ == "OnlyThere" and back.args == ("ab",)
    assert frames_of(back) == [(str(script), "<module>", 8), (str(script), "fails", 6)]
    linecache.checkcache()
    assert "raise OnlyThere('a', 'b')" in "".join(traceback.format_exception(back))


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(4), UnicodeDecodeError("utf-8", b"x", 0, 1, "why")])
def test_tblib_s_own_pickling_is_left_alone(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """distributed installs it for all classes of exceptions, in whatever process imports it."""
    import copyreg

    from tblib import pickling_support

    monkeypatch.setitem(copyreg.dispatch_table, type(error), pickling_support.pickle_exception)
    again = load_error(dump_error(error))
    assert type(again) is type(error) and again.args == error.args and str(again) == str(error)
