"""What workers run of a Dask graph: a few of its tasks, one after the other.

Covers: executing steps, functions that pickle by value, the executor for what such a task computes itself.
Does not cover: making steps of a graph (``graph``).

A task of the scheduler is a list of steps. The values are numbered: first the inputs, then the result of each step. A
step is ``(function, arguments, places, drops, key)``: ``places`` are pairs of a position in the arguments and the
number of the value that belongs there, ``drops`` the numbers of values which no later step needs, ``key`` is the name
of the task in Dask's graph. The last value is the result. Dask itself is not needed to run them.

A large function travels once, as the result of another task. If steps call such functions, the task has a tuple: the
steps, and how many functions come behind the inputs. A step has then the function's number among these in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster import context
from futures_cluster.wire.codec import pickling

Step = tuple[Any, tuple[Any, ...], tuple[tuple[int, int], ...], tuple[int, ...], Any]

#: Functions by value that a process remembers.
MAX_FUNCTIONS = 1000


def run_steps(steps: Sequence[Any], *inputs: Any) -> Any:
    """Execute steps; the result of the last one.

    Raises
    ------
    BaseException
        What a step raised, with a note that names its key.

    Examples
    --------
    >>> run_steps([(pow, (3, 2), (), (), "square"), (max, (0, 5), ((0, 1),), (1,), "largest")], "not used")
    9
    """
    values = list(inputs)
    add = values.append
    value = None
    del inputs
    if type(steps) is tuple:
        steps = _with_functions(steps[0], steps[1], values)
    for function, args, places, drops, key in steps:
        if places:
            filled = list(args)
            for at, number in places:
                filled[at] = values[number]
            args = tuple(filled)
            del filled
        for number in drops:
            values[number] = None
        try:
            value = function(*args)
        except BaseException as error:
            error.add_note(f"in the task {key!r}")
            raise
        add(value)
        del args
    return value


def _with_functions(steps: list[Step], number: int, values: list[Any]) -> list[Step]:
    """Take functions from the end of the values, and put them into their steps."""
    functions = values[-number:]
    del values[-number:]
    return [(functions[step[0]], *step[1:]) if type(step[0]) is int else step for step in steps]


class Nested:
    """Dask's scheduler in a worker process: the executor that runs the task."""

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        if context.current_task() is None:
            from dask.threaded import get

            return get(graph, keys, **options)
        return context.current_executor()(graph, keys, **options)

    def persist(self, collections: Any, **options: Any) -> Any:
        """Persist collections; Dask calls this for ``persist``."""
        if context.current_task() is None:
            import dask

            return list(dask.persist(*collections, traverse=False, scheduler="threads", **options))
        return context.current_executor().persist(list(collections), **options)


def become_default() -> None:
    """Let Dask compute on the executor that runs the task, unless it is configured."""
    import dask

    if dask.config.get("scheduler", None) is None:
        dask.config.set(scheduler=Nested())


# ---------------------------------------------------------------- functions of steps


def call_with_keywords(function: Callable[..., Any], keywords: dict[str, Any], *args: Any) -> Any:
    """Call a function with keywords, as a step."""
    return function(*args, **keywords)


def call_node(node: Any, keys: tuple[Any, ...], *values: Any) -> Any:
    """Call a node that only Dask knows how to run, as a step."""
    return node(dict(zip(keys, values)))


def same(value: Any) -> Any:
    """Return data, as a step."""
    return value


def make_list(*items: Any) -> list[Any]:
    """Make a list in the arguments of a task, as a step."""
    return list(items)


def make_tuple(*items: Any) -> tuple[Any, ...]:
    """Make a tuple in the arguments of a task, as a step."""
    return items


def make_set(*items: Any) -> set[Any]:
    """Make a set in the arguments of a task, as a step."""
    return set(items)


def make_dict(*items: Any) -> dict[Any, Any]:
    """Make a dict of keys and values in turn, as a step."""
    return dict(zip(items[::2], items[1::2]))


# ---------------------------------------------------------------- functions by value


class ByValue:
    """A function in a pickle of its own, so that a process makes it once and not for each task."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return load_function, (self.data,)


_functions: dict[bytes, Callable[..., Any]] = {}


def load_function(data: bytes) -> Callable[..., Any]:
    """Return the function of such a pickle."""
    function = _functions.get(data)
    if function is None:
        function = pickling.loads(data)
        if len(_functions) >= MAX_FUNCTIONS:
            _functions.clear()
        _functions[data] = function
    return function
