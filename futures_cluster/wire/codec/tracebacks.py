"""Tracebacks as plain rows, and rows as tracebacks that Python and its tools treat like any other.

A row says what the standard library prints of a frame: the file, the function, and the positions of the instruction
that failed, which become the ``^^^^`` below the line. Variables do not travel.

A rebuilt frame is a frame of code made for it, whose one statement, with the positions of the original, raises. So
its instruction offset is valid: debuggers and IPython look the positions up by it.

A frame keeps its caller's frame alive, and through it all callers with their variables, among them the future that
the exception belongs to. ``call_detached`` ends that chain.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Generator
from types import CodeType, FunctionType, TracebackType
from typing import Any

from futures_cluster.wire.codec.exception_state import members_of

#: Number of frames of a traceback that are kept at its beginning and at its end.
FIRST_FRAMES, LAST_FRAMES = 100, 400

#: The last and first line, and the columns in bytes; None where the code has none.
_Positions = tuple[int, int | None, int | None, int | None]
#: File, function, its qualified name, its first line, module, positions.
Frame = tuple[str, str, str, int, str, _Positions]


def pack(tb: TracebackType | None) -> list[Frame]:
    """Turn a traceback into rows, from the outermost frame to the innermost."""
    frames: list[Frame] = []
    while tb is not None:
        code = tb.tb_frame.f_code
        module = tb.tb_frame.f_globals.get("__name__", "")
        if type(module) is not str:
            module = ""
        frames.append(
            (code.co_filename, code.co_name, code.co_qualname, code.co_firstlineno, module, _positions(code, tb))
        )
        tb = tb.tb_next
    if len(frames) > FIRST_FRAMES + LAST_FRAMES:
        left_out = len(frames) - FIRST_FRAMES - LAST_FRAMES
        gap: Frame = (f"<{left_out} frames are left out>", "...", "...", 0, "", (0, None, None, None))
        frames[FIRST_FRAMES:-LAST_FRAMES] = [gap]
    return frames


def unpack(frames: list[Frame]) -> TracebackType | None:
    """Build the traceback of ``pack``'s rows."""
    tb: TracebackType | None = None
    for frame in reversed(frames):
        *_, module, positions = frame
        names: dict[str, Any] = {"__name__": module}
        spec: Any = getattr(sys.modules.get(module), "__spec__", None)
        if getattr(spec, "loader", None) is not None:  # by which the source of modules in archives is read
            names.update(__loader__=spec.loader, __spec__=spec)
        _, error = call_detached(FunctionType(_failing_code(frame), names))
        assert error is not None
        if type(error) is not StopIteration:
            raise error  # Ctrl-C, or no stack is left
        made = error.__traceback__
        assert made is not None
        tb = TracebackType(tb, made.tb_frame, made.tb_lasti, positions[0])
    return tb


def detach(error: BaseException) -> BaseException:
    """Give a caught exception rebuilt frames in the place of real ones.

    So a program that keeps the exception does not keep the variables of the functions that raised and caught it. The
    exception that the caller handles at this moment stays as it is. In the ``except`` clause of the exception itself
    all contexts stay, because the caller's caller may handle one of them.
    """
    handled = sys.exception()
    seen = {id(None)} if handled is error else {id(None), id(handled)}
    todo = [error]
    while todo:
        one: Any = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.with_traceback(unpack(pack(one.__traceback__)))
            todo += [one.__cause__, *members_of(one)]
            if handled is not error:
                todo.append(one.__context__)
    return error


def without_caller(error: BaseException) -> BaseException:
    """Let the traceback begin in the called function, not in its caller."""
    tb = error.__traceback__
    if tb is not None and tb.tb_next is not None:
        error.with_traceback(tb.tb_next)  # not by assignment, which a class may forbid
    return error


def call_detached(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> tuple[Any, BaseException | None]:
    """Call a function; what it returned, and what it raised if it did.

    The frames in that exception's traceback do not keep the frames of this function's callers alive: the function is
    called by a generator, which has no caller while it is suspended.
    """
    try:
        caller = _idle_callers.pop()
    except IndexError:
        caller = _calls()
        next(caller)
    outcome: list[Any] = []
    caller.send((function, args, kwargs, outcome))
    _idle_callers.append(caller)  # never ended: a generator's end would join the frames to those of its caller
    value, error = outcome
    return value, error


# ---------------------------------------------------------------- packing


def _positions(code: CodeType, tb: TracebackType) -> _Positions:
    line: int = tb.tb_lineno or 0
    if tb.tb_lasti >= 0:
        positions = next(itertools.islice(code.co_positions(), tb.tb_lasti // 2, None), (None,) * 4)
        first, last, start, end = (-1 if each is None else each for each in positions)
        # Another first line: other code has changed the line number of the traceback.
        if first == line and min(last, start, end) >= 0 and (first, start) <= (last, end):
            return line, last, start, end
    return line, None, None, None


# ---------------------------------------------------------------- unpacking


@functools.lru_cache(1000)
def _failing_code(frame: Frame) -> CodeType:
    """Compile a function that raises an exception at these positions."""
    file, name, qualname, first_line, _, (line, end_line, column, end_column) = frame
    import ast

    tree = ast.parse("def frame(): raise StopIteration")
    function: Any = tree.body[0]
    function.lineno, function.end_lineno = first_line, max(first_line, end_line or line)
    for node in ast.walk(function.body[0]):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.lineno, node.end_lineno = line, end_line or line
            node.col_offset = -1 if column is None else column  # -1 is written as "no column"
            node.end_col_offset = -1 if end_column is None else end_column
    module = compile(tree, file, "exec", dont_inherit=True)
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    return code.replace(co_name=name, co_qualname=qualname)


# ---------------------------------------------------------------- detached calls

_Caller = Generator[None, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Any]], None]

_idle_callers: list[_Caller] = []


def _calls() -> _Caller:
    while True:
        function, args, kwargs, outcome = yield
        try:
            outcome += function(*args, **kwargs), None
        except BaseException as error:
            tb = error.__traceback__
            outcome += None, error if tb is None else error.with_traceback(tb.tb_next)
            del tb
        del function, args, kwargs, outcome
