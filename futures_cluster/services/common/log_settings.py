"""The levels of the client's loggers and its filters of warnings, on the workers.

Covers: noticing that they have changed (``LogSettingsWatch``), several clients' together (``merge``), setting them on a
worker (``LogSettingsOnWorker``). Does not cover: the records (``log_forwarder``).

A disabled level must cost a task nothing, so the levels are those of the worker's own loggers. A level
that an initializer or a task sets stays. A level that a module sets at its import gives way to the client's level of
that logger, because the client imported the module before.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from futures_cluster import messages as m
from futures_cluster.services.common.log_records import find_category

#: Python's own default for the root logger.
DEFAULT_LEVEL = logging.WARNING


class LogSettingsWatch:
    """What a client's logging tree asks of the workers.

    Parameters
    ----------
    client : str
        Name of the client.
    everything : bool
        Whether records are wanted that a handler on the worker has taken.
    filters : bool
        Whether workers are to have the client's filters of warnings.
    """

    def __init__(self, client: str, everything: bool, filters: bool) -> None:
        self._client = client
        self._everything = everything
        self._has_filters = filters
        self._mark: Any = object()
        self._filters: list[Any] = []
        self.current = self._collect()

    def news(self) -> m.LogSettings | None:
        """Return the settings if they have changed; looks only at a mark.

        Each logger caches which levels are enabled, and logging empties all these caches when any level changes.
        """
        if self._mark in self._cache() and (not self._has_filters or warnings.filters == self._filters):
            return None
        before, self.current = self.current, self._collect()
        return self.current if self.current != before else None

    @staticmethod
    def _cache() -> Any:
        return getattr(logging.root, "_cache", {})

    def _collect(self) -> m.LogSettings:
        self._cache()[self._mark] = True  # first: what changes while this looks is seen the next time
        manager = logging.root.manager
        levels = [("", _small(logging.root.level))]
        for name, logger in list(manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and logger.level:
                levels.append((name, _small(logger.level)))
        filters = None
        if self._has_filters:
            self._filters = list(warnings.filters)
            rows: list[Any] = []
            for row in self._filters:
                with contextlib.suppress(Exception):  # put there by other means than the functions of ``warnings``
                    rows.append(_plain_filter(*row))
            filters = pickle.dumps(rows)
        return m.LogSettings(self._client, levels, _small(manager.disable), self._everything, filters)


def _small(level: int) -> int:
    return max(0, min(int(level), 2**31))


def merge(settings: Iterable[m.LogSettings]) -> m.LogSettings:
    """Return settings by which each of several clients gets all it wants."""
    every = list(settings)
    if len(every) == 1:
        return every[0]
    trees = [dict(each.levels) for each in every]
    names = dict.fromkeys(name for tree in trees for name in tree)
    levels = [(name, min(_effective(tree, name) for tree in trees)) for name in names]
    disabled = min((each.disabled for each in every), default=0)
    return m.LogSettings("", levels, disabled, any(each.everything for each in every))


def _effective(tree: dict[str, int], name: str) -> int:
    while name and not tree.get(name):
        name = name.rpartition(".")[0]
    return tree.get(name, DEFAULT_LEVEL)


class LogSettingsOnWorker:
    """The levels of this process's loggers, and its filters of warnings, as clients have said last."""

    def __init__(self) -> None:
        self._levels: dict[str, int] = {"": DEFAULT_LEVEL}
        self._loggers: list[logging.Logger] = []  # whose levels the client has told
        self._disabled = 0
        self._filters: list[Any] = list(warnings.filters)

    def apply(self, settings: m.LogSettings) -> None:
        """Set what is new; not where code of this process has set something else."""
        levels = dict(settings.levels) or {"": DEFAULT_LEVEL}
        for name in levels | self._levels:
            logger = logging.getLogger(name or None)
            level = levels.get(name, logging.NOTSET)
            if logger.level == self._levels.get(name, logging.NOTSET) and logger.level != level:
                logger.setLevel(level)
        self._levels = levels
        self._loggers = [logging.getLogger(name or None) for name in levels]
        if logging.root.manager.disable == self._disabled != settings.disabled:
            logging.disable(settings.disabled)
        self._disabled = settings.disabled
        if settings.filters is not None and warnings.filters == self._filters:
            _set_filters(pickle.loads(settings.filters))
            self._filters = list(warnings.filters)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the levels of loggers while loading functions imports modules.

        Filters of warnings that modules add are not kept from them, and do not keep the client from changing its own.
        """
        before = [(logger, logger.level) for logger in self._loggers]
        follows_client = warnings.filters == self._filters
        try:
            yield
        finally:
            for logger, level in before:
                if logger.level != level:
                    logger.setLevel(level)
            if follows_client:
                self._filters = list(warnings.filters)


def _plain_filter(action: str, message: Any, category: type, module: Any, lineno: int) -> tuple[Any, ...]:
    return action, _pattern(message), (category.__module__, category.__qualname__), _pattern(module), lineno


def _pattern(text: Any) -> str:
    """Return the pattern of a filter's message or module, or an exact name."""
    if text is None:
        return ""
    return re.escape(text) + r"\Z" if isinstance(text, str) else str(text.pattern)


def _set_filters(rows: list[Any]) -> None:
    warnings.resetwarnings()
    for action, message, name, module, lineno in rows:
        # Nothing is imported for a filter: before its module is loaded nothing raises a warning of this class.
        category = find_category(*name)
        if category is not None:
            with contextlib.suppress(Exception):  # as above
                warnings.filterwarnings(action, message, category, module, lineno, append=True)
