"""How an executor shows itself: its ``repr``, and a table in notebooks.

Facts that an engine cannot give just now are left out: showing an executor never raises, and never starts one that is
shut down.
"""

from __future__ import annotations

import contextlib
from typing import Any

from futures_cluster.engines.base import Engine, Observed
from futures_cluster.numbers import counted


class Display:
    """Part of ``Executor``: its ``repr``, and a table in notebooks."""

    _engine: Engine

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._engine.is_closed:
            return f"<{name}, shut down>"
        facts = [f"{name} with {counted(self._engine.max_workers, 'worker')}"]
        with contextlib.suppress(Exception):
            if left := self._engine.count_tasks()[1]:
                facts.append(counted(left, "unfinished task"))
        if isinstance(self._engine, Observed) and (url := self._engine.known_url):
            facts.append(url)
        return f"<{', '.join(facts)}>"

    def _repr_html_(self) -> str:
        """Return a table for notebooks, with a link to the status page."""
        from html import escape  # here: it takes 4 % of the time of ``import futures_cluster``

        engine = self._engine
        rows = {}
        if engine.is_closed:
            rows["State"] = "shut down"
        else:
            with contextlib.suppress(Exception):
                if engine.client is None:
                    rows["Workers"] = "none: each call runs at submit, in the calling thread"
                else:
                    workers, slots = engine.max_workers, engine.slots
                    if slots or not workers:  # else a task looks, which does not know them
                        rows["Workers"] = f"{workers:,}" + (
                            f" with {counted(slots, 'slot')}" if slots != workers else ""
                        )
            with contextlib.suppress(Exception):
                submitted, left = engine.count_tasks()
                rows["Tasks"] = f"{left:,} unfinished of {submitted:,} submitted here"
            with contextlib.suppress(Exception):
                if engine.client is not None:
                    rows["Memory"] = _memory(engine.workers())
            with contextlib.suppress(Exception):
                if isinstance(engine, Observed):
                    url = escape(engine.status_url())
                    rows["Status page"] = f'<a href="{url}" target="_blank" rel="noopener noreferrer">{url}</a>'
        cells = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows.items() if text)
        return f"<table><caption><code>{escape(type(self).__name__)}</code></caption>{cells}</table>"


def _memory(facts: dict[str, dict[str, Any]]) -> str:
    """Return the memory of the workers.

    The number is what they have reported, or that of processes of this machine.
    """
    sizes = []
    for worker in facts.values():
        size = worker.get("memory_bytes")
        if size is None and "host" not in worker and worker.get("pid"):
            import psutil

            size = psutil.Process(worker["pid"]).memory_info().rss
        if size is not None:
            sizes.append(int(size))
    return f"{sum(sizes) / 1e6:,.0f} MB in {counted(len(sizes), 'worker')}" if sizes else ""
