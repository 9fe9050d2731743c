"""Exceptions come back as they were: class, state, traceback, causes, contexts, notes and groups."""

from __future__ import annotations

import errno
import inspect
import io
import linecache
import ssl
import subprocess
import sys
import threading
import traceback
import types
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import pytest

from futures_cluster.errors import RemoteError
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.exceptions import MAX_LINKED, dump_error, load_error


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


class Counted(ExceptionGroup[Exception]):
    """Takes the members only; makes the message itself."""

    def __new__(cls, excs: list[Exception], *, code: int = 0) -> Counted:
        self = super().__new__(cls, f"{len(excs)} errors", excs)
        self.code = code
        return self

    def __init__(self, excs: list[Exception], *, code: int = 0) -> None:
        super().__init__(excs)

    def derive(self, excs: Any) -> Counted:
        return Counted(excs, code=self.code)


class OwnReduceGroup(ExceptionGroup[Exception]):
    def __reduce__(self) -> Any:
        return OwnReduceGroup, (self.message, self.exceptions)


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
    for cls in (OwnGroup, OwnReduceGroup):
        back = round_trip(cls("own", error.exceptions))
        assert type(back) is cls and back.message == "own"
        assert type(back.exceptions[0].__cause__) is ValueError
        assert frames_of(back.exceptions[0]) == frames_of(error.exceptions[0])
    assert type(round_trip(OwnGroup("own", error.exceptions)).subgroup(KeyError)) is OwnGroup


def test_groups_with_a_constructor_of_their_own() -> None:
    error = Counted([ValueError(threading.Lock()), KeyError("k")], code=5)
    back = round_trip(error)
    assert type(back) is Counted and back.message == "2 errors" and back.code == 5
    assert [type(one) for one in back.exceptions] == [RemoteError, KeyError]
    assert back.args == (list(back.exceptions),)
    assert type(back.subgroup(KeyError)) is Counted


def test_a_member_of_a_group_that_is_its_context() -> None:
    def fail() -> None:
        try:
            raise ExceptionGroup("several", [ValueError("first"), KeyError("second")])
        except* ValueError as group:
            raise group.exceptions[0] from None

    back = round_trip(caught(fail))
    found = back.exceptions[0] if isinstance(back, ExceptionGroup) else back
    assert found.args == ("first",)
    assert isinstance(found.__context__, ExceptionGroup)
    assert found.__context__.exceptions[0] is found


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


class OwnOSError(OSError):
    def __init__(self, path: str, *, attempts: int) -> None:
        super().__init__(errno.ENOENT, "not there", path)
        self.attempts = attempts


class SaysNothingToItsBase(OSError):
    def __init__(self, path: str, attempts: int) -> None:
        self.path = path
        self.attempts = attempts


class OwnImportError(ImportError):
    def __init__(self, module: str, hint: str) -> None:
        super().__init__(f"{module}: {hint}", name=module)
        self.hint = hint


class OwnUnicodeError(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "own reason")


class SecondBaseHasTheFields(ValueError, OSError):
    pass


class Slots(Exception):
    __slots__ = ("__private", "code", "missing")

    def __init__(self, code: int) -> None:
        super().__init__("slots")
        self.code = code
        self.__private = code + 1

    def private(self) -> int:
        return self.__private


class MoreSlots(Slots):
    __slots__ = ("more",)

    def __init__(self, more: int) -> None:
        super().__init__(more + 1)
        self.more = more
        self.in_dict = True


@dataclass
class Data(Exception):
    code: int
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FrozenData(Exception):
    code: int


@dataclass(frozen=True, slots=True)
class FrozenSlotsData(Exception):
    code: int
    name: str


class OwnState(Exception):
    """Drops what need not travel, and makes it again."""

    def __init__(self, code: int) -> None:
        super().__init__("state")
        self.code = code
        self.lock: Any = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"code": self.code}

    def __setstate__(self, state: Any) -> None:
        self.code = state["code"]
        self.lock = "made again"


class OnlyGetState(Exception):
    def __init__(self, code: int) -> None:
        super().__init__("state")
        self.code = code
        self.lock: Any = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"code": self.code, "lock": None}


class OnlySetState(Exception):
    def __init__(self, code: int) -> None:
        super().__init__("state")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state, restored=True)


class Validation(ValueError):
    """Made by a class method only, as pydantic's is."""

    def __new__(cls, *args: Any) -> Validation:
        raise TypeError("No constructor defined")

    @classmethod
    def from_errors(cls, title: str, errors: list[dict[str, Any]]) -> Validation:
        self = ValueError.__new__(cls, title)
        self.title, self.line_errors = title, errors
        return self

    def __str__(self) -> str:
        return f"{len(self.line_errors)} validation errors for {self.title}"

    title: str
    line_errors: list[dict[str, Any]]


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
        OwnOSError("/there", attempts=3),
        SaysNothingToItsBase("/there", 3),
        OwnImportError("numbers", "too few"),
        OwnUnicodeError(b"x"),
        SecondBaseHasTheFields(errno.ENOENT, "no", "file"),
        Slots(3),
        MoreSlots(3),
        Data(3, ["a"]),
        Data(code=3),
        FrozenData(3),
        FrozenSlotsData(3, name="n"),
        OnlySetState(3),
        Validation.from_errors("Model", [{"loc": ("a",), "msg": "missing"}]),
        OSError(errno.ENOENT, "no", "from", None, "to"),
        BlockingIOError(errno.EAGAIN, "no", 5),
        BlockingIOError(errno.EAGAIN, "no"),
        NameError("no", name="thing"),
        caught(lambda: thing_that_is_not_there),  # type: ignore[name-defined]  # noqa: F821
        caught(lambda: compile("a b", "file.py", "exec")),
        caught(open, "/no/such/file"),
        subprocess.CalledProcessError(2, ["a"], b"out", b"err"),
        urllib.error.HTTPError("http://x/", 404, "Not Found", Message(), None),
        ssl.SSLError(1, "why"),
        KeyError("k"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("again", [round_trip, copied])
def test_classes(error: BaseException, again: Callable[[BaseException], Any]) -> None:
    back = again(error)
    assert type(back) is type(error) and back is not error
    assert state_of(back) == state_of(error)
    if isinstance(back, urllib.error.HTTPError):
        back.close()  # from Python 3.14 on one that is dropped open warns


def state_of(error: BaseException) -> dict[str, Any]:
    """Everything that can be asked of an exception, as far as it can be compared."""
    state = {"str": str(error), **error.__dict__}
    state.pop("restored", None)
    for name in dir(type(error)):
        found = inspect.getattr_static(type(error), name)
        if isinstance(found, (types.MemberDescriptorType, types.GetSetDescriptorType)) and name not in LINKS:
            state[name] = getattr(error, name, "not set")
    return {name: value if isinstance(value, COMPARABLE) else type(value) for name, value in state.items()}


LINKS = ("__traceback__", "__cause__", "__context__", "__dict__", "__weakref__")
COMPARABLE = (int, str, bytes, tuple, list, type(None))


def test_fields_that_were_changed_after_the_constructor() -> None:
    for error, name, value in (
        (SystemExit(1), "code", 2),
        (StopIteration(1), "value", 2),
        (OSError(1, "a"), "filename", "later"),
        (UnicodeDecodeError("utf-8", b"xyz", 0, 1, "why"), "reason", "later"),
        (SyntaxError("bad"), "text", "later"),
    ):
        setattr(error, name, value)
        for back in (round_trip(error), copied(error)):
            assert getattr(back, name) == value and str(back) == str(error)


def test_the_object_of_an_attribute_error_does_not_travel() -> None:
    error = caught(lambda: threading.Lock().nothing)  # type: ignore[attr-defined]
    back = round_trip(error)
    assert type(back) is AttributeError and back.name == "nothing" and back.obj is None
    assert str(back) == str(error)
    again: Any = copied(error)
    assert isinstance(error, AttributeError) and again.obj is error.obj


def test_a_state_of_its_own() -> None:
    assert round_trip(OwnState(3)).__dict__ == {"code": 3, "lock": "made again"}
    assert round_trip(OnlyGetState(3)).__dict__ == {"code": 3, "lock": None}
    assert round_trip(OnlySetState(3)).__dict__ == {"code": 3, "restored": True}


def test_private_and_missing_slots() -> None:
    back = round_trip(MoreSlots(3))
    assert (back.private(), back.in_dict) == (5, True)
    assert not hasattr(back, "missing")


def test_an_http_error_whose_answer_comes_from_a_socket() -> None:
    headers = Message()
    headers["Retry-After"] = "5"
    body = io.BufferedReader(io.BytesIO(b"text"))  # type: ignore[arg-type]
    error = urllib.error.HTTPError("http://x/", 503, "Busy", headers, body)
    back = round_trip(error)
    assert type(back) is urllib.error.HTTPError
    assert (back.code, back.reason, back.url, str(back)) == (503, "Busy", "http://x/", "HTTP Error 503: Busy")
    assert back.headers["Retry-After"] == "5"
    assert back.__notes__[0].startswith("These attributes did not pickle and are None: fp, file")
    assert "HTTP Error 503: Busy" in "".join(traceback.format_exception(back))
    assert type(round_trip(back)) is urllib.error.HTTPError  # also of a task that passes it on
    error.close()


def test_a_class_that_forbids_to_set_attributes_has_links_and_notes() -> None:
    def fail() -> None:
        raise FrozenData(3) from KeyError("cause")

    error = caught(fail)
    object.__setattr__(error, "__notes__", ["a note"])
    for back in (round_trip(error), copied(error)):
        assert type(back.__cause__) is KeyError and back.__suppress_context__ and back.__notes__ == ["a note"]
        assert frames_of(back) == frames_of(error)


def test_a_class_with_state_in_c_is_left_to_its_own_pickling(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class InC(ValueError):
        pass

    monkeypatch.setattr(InC, "__init__", staticmethod(made.append))  # a callable without code of Python's
    assert type(round_trip(InC("a"))) is InC and made  # the class was called, as pickle does it


def test_a_copy_shares_nothing_that_raising_changes() -> None:
    error = caught(with_cause)
    error.add_note("a note")
    copy = copied(error)
    assert type(copy) is KeyError and copy is not error and copy.__cause__ is error.__cause__
    assert frames_of(copy) == frames_of(error)
    copy.add_note("another")
    assert error.__notes__ == ["a note"]
    with pytest.raises(KeyError):
        raise copy
    assert len(frames_of(error)) == 2


@pytest.mark.parametrize("cls", [BrokenOnArrival, NotAnErrorOnArrival])
def test_what_cannot_be_copied_is_shared(cls: type[Exception]) -> None:
    error = cls()
    assert copied(error) is error


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


def test_attributes_that_do_not_pickle_are_none() -> None:
    error = TwoArguments(1, "why")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    back = round_trip(error)
    assert type(back) is TwoArguments and str(back) == "1: why"
    assert back.code == 1 and back.lock is None
    assert back.__notes__ == ["These attributes did not pickle and are None: lock"]


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
    assert length == MAX_LINKED
    assert back.args == (5000 - MAX_LINKED,)


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
        "from futures_cluster.wire.codec.exceptions import dump_error\n"
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
