"""What the addresses of the status page answer.

Covers: the page and its files, ``/api/v1/...`` as JSON, the stream of events for the page, ``/metrics``. Does not
cover: HTTP (``http``), finding anything out (``Source``, which is ``services.observatory``).

One snapshot is made for all viewers, and not more often than twenty times what it costs: whoever looks at a large
cluster sees it change more slowly, and the scheduler keeps its time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, Protocol

from futures_cluster.status import profiles, prometheus
from futures_cluster.status.http import Request, Response

#: Files of the page, and what they are.
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
#: The files that hold nothing but what everybody may read.
PUBLIC = frozenset(path for path in FILES if path != "/")
#: Between two events, at least; and the share of the time that making them may take.
EVENT_S = 0.5
MOST_SHARE = 0.05

API = {
    "/api/v1/snapshot": "everything at a glance",
    "/api/v1/worker?name=NAME": "one worker in detail",
    "/api/v1/task?key=KEY": "the story of one task",
    "/api/v1/graph": "what is in flight and what it depends on",
    "/api/v1/stream?since=0": "what threads of workers did, while somebody looked",
    "/api/v1/profile?worker=NAME": "where tasks spent their time, as a tree; without a name on all workers",
    "/api/v1/profile.speedscope.json": "the same for https://www.speedscope.app",
    "/api/v1/events": "the snapshot and the stream again and again, as server-sent events",
    "/metrics": "for Prometheus",
}


class Source(Protocol):
    """Where the answers come from; called on the page's own thread."""

    def viewer(self, look: Any) -> AbstractContextManager[None]:
        """As long as somebody is in here, workers report."""

    async def refresh(self, worker: str = "") -> None:
        """Ask workers anew, if nobody looks."""

    def snapshot(self) -> dict[str, Any]: ...
    def stream(self, since: int = 0) -> dict[str, Any]: ...
    def worker(self, name: str) -> dict[str, Any]: ...
    def task(self, key: str) -> dict[str, Any]: ...
    def graph(self) -> dict[str, Any]: ...
    def profile(self, worker: str = "") -> profiles.Tree: ...
    def worker_metrics(self) -> dict[str, Any]: ...


def read_file(name: str) -> bytes:
    """A file of the page."""
    return (resources.files("futures_cluster.status") / name).read_bytes()


def to_json(value: Any) -> bytes:
    """JSON of plain values; what is none is named by its type, and never shown."""
    return json.dumps(_finite(value), separators=(",", ":"), default=lambda other: f"<{type(other).__name__}>").encode()


def _finite(value: Any) -> Any:
    """JSON has no infinity and no nan; looked for only where the quick way fails."""
    try:
        json.dumps(value, allow_nan=False, default=str, check_circular=False)
    except ValueError:
        return _replace(value)
    return value


def _replace(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _replace(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(item) for item in value]
    return value


def _event(name: str, body: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"


class Api:
    """Answers requests from a source.

    Parameters
    ----------
    make_look : callable
        ``make_look(worker)``: what ``Source.viewer`` takes.
    """

    def __init__(self, source: Source, make_look: Callable[[str], Any]) -> None:
        self._source = source
        self._make_look = make_look
        self._files: dict[str, bytes] = {}
        self._snapshot: tuple[float, bytes] = (float("-inf"), b"")
        self._cost_s = 0.0
        self._answers: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/api": self._index,
            "/api/v1": self._index,
            "/api/v1/snapshot": self._get_snapshot,
            "/api/v1/worker": self._get_worker,
            "/api/v1/task": self._get_task,
            "/api/v1/graph": self._get_graph,
            "/api/v1/stream": self._get_stream,
            "/api/v1/profile": self._get_profile,
            "/api/v1/profile.speedscope.json": self._get_speedscope,
            "/api/v1/events": self._get_events,
            "/metrics": self._get_metrics,
        }

    async def answer(self, request: Request) -> Response:
        """See ``http.HttpServer``."""
        path = request.path
        if path in FILES:
            name, kind = FILES[path]
            if path not in self._files:
                self._files[path] = read_file(name)
            return Response(self._files[path], kind)
        found = self._answers.get(path.rstrip("/"))
        if found is None:
            return Response(b"there is nothing here; /api lists what there is\n", status=404)
        return await found(request)

    async def _index(self, request: Request) -> Response:
        return _json({"version": 1, "addresses": API})

    def _fresh_snapshot(self) -> bytes:
        """One for all viewers."""
        made_at, body = self._snapshot
        now = time.monotonic()
        if now - made_at >= self._pause_s() * 0.9:
            body = to_json(self._source.snapshot())
            self._cost_s = time.monotonic() - now
            self._snapshot = (now, body)
        return body

    def _pause_s(self) -> float:
        return max(EVENT_S, self._cost_s / MOST_SHARE)

    async def _get_snapshot(self, request: Request) -> Response:
        await self._source.refresh()
        return _json(self._source.snapshot())

    async def _get_worker(self, request: Request) -> Response:
        name = request.query.get("name", "")
        await self._source.refresh(name)
        return _json(self._source.worker(name))

    async def _get_task(self, request: Request) -> Response:
        return _json(self._source.task(request.query.get("key", "")))

    async def _get_graph(self, request: Request) -> Response:
        return _json(self._source.graph())

    async def _get_stream(self, request: Request) -> Response:
        since = request.query.get("since", "0")
        return _json(self._source.stream(int(since) if since.isdecimal() else 0))

    async def _get_profile(self, request: Request) -> Response:
        return _json({"interval_s": profiles.INTERVAL_S, "tree": self._source.profile(request.query.get("worker", ""))})

    async def _get_speedscope(self, request: Request) -> Response:
        worker = request.query.get("worker", "")
        body = to_json(profiles.speedscope(self._source.profile(worker), worker or "all workers"))
        header = ("Content-Disposition", 'attachment; filename="profile.speedscope.json"')
        return Response(body, "application/json", headers=(header,))

    async def _get_metrics(self, request: Request) -> Response:
        await self._source.refresh()
        text = prometheus.render(self._source.snapshot(), self._source.worker_metrics())
        return Response(text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _get_events(self, request: Request) -> Response:
        return Response(kind="text/event-stream", events=self._events(request.query.get("worker", "")))

    async def _events(self, worker: str) -> AsyncIterator[bytes]:
        """The snapshot and the new rows of the stream, as long as somebody reads."""
        source = self._source
        with source.viewer(self._make_look(worker)):
            since = 0
            yield b"retry: 2000\n\n"
            while True:
                yield _event("snapshot", self._fresh_snapshot())
                stream = source.stream(since)
                if stream["chunks"]:
                    since = stream["last"]
                    yield _event("stream", to_json(stream))
                if worker:
                    yield _event("worker", to_json(source.worker(worker)))
                await asyncio.sleep(self._pause_s())


def _json(value: Any) -> Response:
    return Response(to_json(value), "application/json")
