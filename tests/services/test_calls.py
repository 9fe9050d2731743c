"""What the tasks of a task inherit from it, and the keys of pure calls."""

from __future__ import annotations

from futures_cluster.messages import TaskOptions
from futures_cluster.services.client.task_keys import MAX_PRIORITY, inherit, pure_key


def test_priorities_count_from_the_parents() -> None:
    options = TaskOptions(priority=2, retries=3)
    assert inherit(options, 5) == TaskOptions(priority=7, retries=3)
    assert inherit(options, -5).priority == -3
    assert inherit(TaskOptions(), -5).priority == -5


def test_equal_options_stay_the_same_object() -> None:
    """Tasks that share their options are told by that, and sent in one message."""
    assert inherit(TaskOptions(retries=1), 5) is inherit(TaskOptions(retries=1), 5)


def test_a_message_can_take_any_priority() -> None:
    assert inherit(TaskOptions(priority=MAX_PRIORITY), MAX_PRIORITY).priority == MAX_PRIORITY
    assert inherit(TaskOptions(priority=-MAX_PRIORITY), -5).priority == -MAX_PRIORITY


def test_names_without_an_encoding_have_keys() -> None:
    keys = [pure_key("f", f"call {name}@c", b"arguments", [name]) for name in ("f\ud800", "f\udfff")]
    assert None not in keys and len(set(keys)) == 2
