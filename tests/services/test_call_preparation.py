"""What the tasks of a task inherit from it, and the keys of pure calls."""

from __future__ import annotations

from futures_cluster.context import TaskContext
from futures_cluster.messages import TaskOptions
from futures_cluster.services.client.call_preparation import MAX_PRIORITY, inherit, pure_key


class _Host:
    """The worker of a parent; nothing asks it."""


def _parent(priority: int) -> TaskContext:
    return TaskContext(_Host(), "parent", 1, 0, priority)  # type: ignore[arg-type]


def test_priorities_count_from_the_parents() -> None:
    options = TaskOptions(priority=2, retries=3)
    assert inherit(options, _parent(5)) == TaskOptions(priority=7, retries=3)
    assert inherit(options, _parent(-5)).priority == -3
    assert inherit(TaskOptions(), _parent(-5)).priority == -5


def test_equal_options_stay_the_same_object() -> None:
    """Tasks that share their options are told by that, and sent in one message."""
    assert inherit(TaskOptions(retries=1), _parent(5)) is inherit(TaskOptions(retries=1), _parent(5))


def test_a_message_can_take_any_priority() -> None:
    assert inherit(TaskOptions(priority=MAX_PRIORITY), _parent(MAX_PRIORITY)).priority == MAX_PRIORITY
    assert inherit(TaskOptions(priority=-MAX_PRIORITY), _parent(-5)).priority == -MAX_PRIORITY


def test_names_without_an_encoding_have_keys() -> None:
    keys = [pure_key("f", f"call {name}@c", b"arguments", [name]) for name in ("f\ud800", "f\udfff")]
    assert None not in keys and len(set(keys)) == 2
