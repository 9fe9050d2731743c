"""A bar that shows how many tasks are done.

Covers: counting and drawing. Does not cover: anything else. (Filled in soon.)
"""

from __future__ import annotations

from typing import Any


class Progress:
    """Shows progress."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
