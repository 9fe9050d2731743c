"""What workers run of a Dask graph: a task of ours is a few tasks of Dask, its *steps*, one after the other.

Covers: executing steps, functions that pickle by value, Dask's scheduler inside of tasks. Does not cover: making steps
of a graph (``graph``). Workers need no Dask for steps whose functions need none.

A large function travels once, as the result of another task. If steps call such functions, these come behind the inputs
of the task; the task has a tuple of its steps and the number of such functions, and a step has the index of its
function among them in place of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster import context
from futures_cluster.wire.codec import pickling

#: ``(function, arguments, places, drops, key)``. The values of a task are numbered: its inputs, then the result of each
#: step. ``places`` are pairs of a position in the arguments and the number of the value that belongs there, ``drops``
#: the numbers of values that no later step needs; ``key`` names the task in Dask's graph. (A plain tuple pickles
#: fastest.)
Step = tuple[Any, tuple[Any, ...], tuple[tuple[int, int], ...], tuple[int, ...], Any]

#: Number of unpickled functions that a process keeps (``PickledFunction``).
MAX_FUNCTIONS = 1000


def run_steps(steps: Sequence[Any], *inputs: Any) -> Any:
    """Execute steps: the function of each task that ``submit`` makes of a graph.

    Returns
    -------
    object
        The result of the last step.

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
        steps = _insert_functions(steps[0], steps[1], values)
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


def _insert_functions(steps: list[Step], number: int, values: list[Any]) -> list[Step]:
    """Take functions from the end of the values, and put them into their steps."""
    functions = values[-number:]
    del values[-number:]
    return [(functions[step[0]], *step[1:]) if type(step[0]) is int else step for step in steps]


class NestedScheduler:
    """Dask's scheduler in a worker process: the executor that runs the present task.

    In a thread that belongs to no task it computes with threads.
    """

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
    """Make ``NestedScheduler`` Dask's scheduler, unless one is configured."""
    import dask

    if dask.config.get("scheduler", None) is None:
        dask.config.set(scheduler=NestedScheduler())


# ---------------------------------------------------------------- functions of steps


def call_with_keywords(function: Callable[..., Any], keywords: dict[str, Any], *args: Any) -> Any:
    """Call a function with keyword arguments."""
    return function(*args, **keywords)


def call_node(node: Any, keys: tuple[Any, ...], *values: Any) -> Any:
    """Call a node of Dask's graph that is no ``Task``: only Dask knows how to run it."""
    return node(dict(zip(keys, values)))


def identity(value: Any) -> Any:
    """Return the value: the step of data, and of aliases."""
    return value


def make_list(*items: Any) -> list[Any]:
    """Make a list that is an argument of a task."""
    return list(items)


def make_tuple(*items: Any) -> tuple[Any, ...]:
    """Make a tuple that is an argument of a task."""
    return items


def make_set(*items: Any) -> set[Any]:
    """Make a set that is an argument of a task."""
    return set(items)


def make_dict(*items: Any) -> dict[Any, Any]:
    """Make a dict of alternating keys and values that is an argument of a task."""
    return dict(zip(items[::2], items[1::2]))


# ---------------------------------------------------------------- functions by value


class PickledFunction:
    """The pickle of a function that a graph calls; unpickles as the function.

    The scheduler and the pickles of tasks hold bytes, and a process unpickles these once, not for each task.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return load_function, (self.data,)


_functions: dict[bytes, Callable[..., Any]] = {}


def load_function(data: bytes) -> Callable[..., Any]:
    """Return the function of a pickle, one for all tasks of this process."""
    function = _functions.get(data)
    if function is None:
        function = pickling.loads(data)
        if len(_functions) >= MAX_FUNCTIONS:
            _functions.clear()
        _functions[data] = function
    return function
