"""What ``with_options`` can say.

Covers: the options, checking and changing them. Does not cover: what engines make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from futures_cluster import numbers
from futures_cluster.messages import DEFAULT_OPTIONS, Amounts, Key, TaskOptions

#: The default of what may also be None.
NOT_GIVEN: Any = object()


class SubmitOptions(NamedTuple):
    """All that ``with_options`` can say.

    Attributes
    ----------
    task : TaskOptions
        What concerns the scheduler.
    resolve : bool
        Whether futures in the arguments are replaced by their values.
    pure : bool
        Whether equal calls are one task.
    key : str or None
        The key of the task.
    """

    task: TaskOptions = DEFAULT_OPTIONS
    resolve: bool = True
    pure: bool = False
    key: Key | None = None


def changed(options: SubmitOptions, **given: Any) -> SubmitOptions:
    """Return the options with changes; see ``Executor.with_options``.

    What is ``NOT_GIVEN`` stays as it is.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range or has the wrong type.
    """
    task, others = {}, {}
    for name, value in given.items():
        if value is NOT_GIVEN:
            continue
        if name in _NUMBERS and numbers.is_bool(value):
            raise TypeError(f"{name} must be a number, got {value}")
        if name in _TASK_OPTIONS:
            field, check = _TASK_OPTIONS[name]
            task[field] = check(name, value)
        else:
            others[name] = _OTHERS[name](name, value)
    if task.get("backoff_s") and not task.get("retries", options.task.retries):
        backoff = numbers.shown(given["backoff"])
        raise ValueError(
            f"backoff={backoff} is the wait before a retry, and retries is 0; "
            f"write with_options(retries=3, backoff={backoff})"
        )
    if task:
        options = options._replace(task=_interned(options.task._replace(**task)))
    return options._replace(**others) if others else options


def _demand(name: str, amounts: dict[str, float] | None) -> Amounts:
    found = numbers.amounts(name, {} if amounts is None else amounts)
    return tuple(sorted(pair for pair in found.items() if pair[1]))  # 0 of something is no demand


def _names(name: str, workers: Any) -> tuple[str, ...]:
    """Return the names of workers; none if any worker will do."""
    if workers is None:
        return ()
    names = (workers,) if isinstance(workers, str) else tuple(workers) if isinstance(workers, Iterable) else (workers,)
    if not names:
        raise ValueError(f"workers must name one worker or more, or be None for any worker, got {workers!r}")
    for each in names:
        if not isinstance(each, str) or not each:
            raise TypeError(f"workers must be names of workers, as ex.workers() has them, got {numbers.shown(each)}")
    return tuple(map(str.__str__, names))


def _key(name: str, key: Any) -> Key | None:
    if key is None:
        return None
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    text = str.__str__(key)  # of a subclass, such as numpy's, the text
    if not text:
        raise ValueError("a key must not be empty; leave it out to have one made")
    return text


#: By their names in ``with_options``: the fields of ``TaskOptions``, and what checks a value.
_TASK_OPTIONS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "priority": ("priority", partial(numbers.whole, least=-numbers.MAX_PRIORITY, most=numbers.MAX_PRIORITY)),
    "retries": ("retries", partial(numbers.whole, least=0)),
    "backoff": ("backoff_s", partial(numbers.amount, most=numbers.MAX_BACKOFF_S)),
    "timeout": ("timeout_s", numbers.limit_s),
    "resources": ("resources", _demand),
    "limits": ("limits", _demand),
    "workers": ("workers", _names),
    "rerun": ("rerun", numbers.flag),
}
_NUMBERS = frozenset(("priority", "retries", "backoff", "timeout"))  # True is none
_OTHERS: dict[str, Callable[[str, Any], Any]] = {"pure": numbers.flag, "key": _key, "resolve": numbers.flag}


_interned_options: dict[TaskOptions, TaskOptions] = {}


def _interned(options: TaskOptions) -> TaskOptions:
    """Return one object for equal options, which can be compared by ``is``."""
    if len(_interned_options) > 10_000:
        _interned_options.clear()
    return _interned_options.setdefault(options, options)
