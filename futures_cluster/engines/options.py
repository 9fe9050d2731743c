"""What ``with_options`` can say.

Covers: the options, checking and changing them. Does not cover: what engines make of them.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def changed(
    options: SubmitOptions,
    *,
    priority: int = NOT_GIVEN,
    retries: int = NOT_GIVEN,
    backoff: float = NOT_GIVEN,
    timeout: float | None = NOT_GIVEN,
    resources: dict[str, float] | None = NOT_GIVEN,
    limits: dict[str, float] | None = NOT_GIVEN,
    workers: str | Iterable[str] | None = NOT_GIVEN,
    rerun: bool = NOT_GIVEN,
    pure: bool = NOT_GIVEN,
    key: str | None = NOT_GIVEN,
    resolve: bool = NOT_GIVEN,
) -> SubmitOptions:
    """Return the options with changes; see ``Executor.with_options``.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range or has the wrong type.
    """
    changes: dict[str, Any] = {}
    for name, value in (("priority", priority), ("retries", retries), ("backoff", backoff), ("timeout", timeout)):
        if numbers.is_bool(value):
            raise TypeError(f"{name} must be a number, got {value}")
    if priority is not NOT_GIVEN:
        most = numbers.MAX_PRIORITY
        changes["priority"] = numbers.whole("priority", priority, -most, most)
    if retries is not NOT_GIVEN:
        changes["retries"] = numbers.whole("retries", retries, 0)
    if backoff is not NOT_GIVEN:
        changes["backoff_s"] = numbers.amount("backoff", backoff, most=numbers.MAX_BACKOFF_S)
        if changes["backoff_s"] and not changes.get("retries", options.task.retries):
            raise ValueError(
                f"backoff={numbers.shown(backoff)} is the wait before a retry, and retries is 0; "
                f"write with_options(retries=3, backoff={numbers.shown(backoff)})"
            )
    if timeout is not NOT_GIVEN:
        changes["timeout_s"] = numbers.limit_s("timeout", timeout)
    if resources is not NOT_GIVEN:
        changes["resources"] = _demand("resources", resources)
    if limits is not NOT_GIVEN:
        changes["limits"] = _demand("limits", limits)
    if workers is not NOT_GIVEN:
        changes["workers"] = _names(workers)
    if rerun is not NOT_GIVEN:
        changes["rerun"] = numbers.flag("rerun", rerun)
    if changes:
        options = options._replace(task=_interned(options.task._replace(**changes)))
    if pure is not NOT_GIVEN:
        options = options._replace(pure=numbers.flag("pure", pure))
    if key is not NOT_GIVEN:
        if key is not None and not isinstance(key, str):
            raise TypeError(f"a key is a str, not {type(key).__name__}")
        if key is not None:
            key = str.__str__(key)  # of a subclass, such as numpy's, the text
            if not key:
                raise ValueError("a key must not be empty; leave it out to have one made")
        options = options._replace(key=key)
    if resolve is not NOT_GIVEN:
        options = options._replace(resolve=numbers.flag("resolve", resolve))
    return options


def _demand(name: str, amounts: dict[str, float] | None) -> Amounts:
    found = numbers.amounts(name, {} if amounts is None else amounts)
    return tuple(sorted(pair for pair in found.items() if pair[1]))  # 0 of something is no demand


def _names(workers: Any) -> tuple[str, ...]:
    """Return the names of workers; none if any worker will do."""
    if workers is None:
        return ()
    names = (workers,) if isinstance(workers, str) else tuple(workers) if isinstance(workers, Iterable) else (workers,)
    if not names:
        raise ValueError(f"workers must name one worker or more, or be None for any worker, got {workers!r}")
    for name in names:
        if not isinstance(name, str) or not name:
            raise TypeError(f"workers must be names of workers, as ex.workers() has them, got {numbers.shown(name)}")
    return tuple(map(str.__str__, names))


_interned_options: dict[TaskOptions, TaskOptions] = {}


def _interned(options: TaskOptions) -> TaskOptions:
    """Return one object for equal options, which can be compared by ``is``."""
    if len(_interned_options) > 10_000:
        _interned_options.clear()
    return _interned_options.setdefault(options, options)
