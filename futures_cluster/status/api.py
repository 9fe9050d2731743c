"""What the addresses of the status page answer.

Covers: the page and its files, ``/api/v1/...`` as JSON, the stream of events for the page, ``/metrics``. Does not
cover: HTTP (``http``), finding anything out (``Source``, which is ``services.observe.monitor``).

One snapshot is made for all viewers, and so is all else that is read under the scheduler's lock (``sparing``): the
viewers of a large cluster see it change more slowly, and the scheduler keeps its time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, Protocol

from futures_cluster import clocks, numbers
from futures_cluster.status import profiles, prometheus
from futures_cluster.status.http import BadRequest, HttpRequest, Response
from futures_cluster.status.sparing import ThrottledCache

#: Files of the page, and what they are.
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
#: The files that every viewer may read.
PUBLIC = frozenset(path for path in FILES if path != "/")
#: Between two events, at least.
EVENT_S = 0.5
#: Who asks gets an answer that is younger, if making it does not cost too much.
MAX_ANSWER_AGE_S = 0.1
JSON = "application/json"

API = {
    "/api/v1/snapshot": "everything at a glance",
    "/api/v1/worker?name=NAME": "one worker in detail",
    "/api/v1/task?key=KEY": "the story of one task",
    "/api/v1/function?name=NAME": "some tasks of one function, in each state",
    "/api/v1/graph": "what is in flight and what it depends on",
    "/api/v1/stream?since=0": "what threads of workers did, while the page had a viewer",
    "/api/v1/profile?worker=NAME": "where tasks spent their time, as a tree; without a name on all workers",
    "/api/v1/profile.speedscope.json": "the same for https://www.speedscope.app",
    "/api/v1/events": "the snapshot and the stream again and again, as server-sent events",
    "/metrics": "for Prometheus",
}


class Source(Protocol):
    """Where the answers come from; called on the page's own thread."""

    def viewer(self, worker: str = "") -> AbstractContextManager[None]:
        """Let workers report as long as the block runs, this one in detail."""

    async def refresh(self, worker: str = "") -> None:
        """Ask workers again, if there are no viewers."""

    def snapshot(self) -> dict[str, Any]: ...
    def stream(self, since: int = 0) -> dict[str, Any]: ...
    def worker(self, name: str) -> dict[str, Any]: ...
    def task(self, key: str) -> dict[str, Any]: ...
    def function(self, name: str) -> dict[str, Any]: ...
    def graph(self) -> dict[str, Any]: ...
    def profile(self, worker: str = "") -> profiles.Tree: ...
    def worker_metrics(self) -> dict[str, Any]: ...


def read_file(name: str) -> bytes:
    """Return a file of the page."""
    return (resources.files("futures_cluster.status") / name).read_bytes()


def to_json(value: Any) -> bytes:
    """Return JSON of plain values; others appear by the names of their types.

    Half of a surrogate pair is shown as "?": browsers refuse to make addresses of such names.
    """
    try:
        text = _dumps(value)
    except ValueError:  # JSON has no infinity and no nan; looked for only where the quick way fails
        text = _dumps(_replace(value))
    return text.encode(errors="replace")


def _dumps(value: Any) -> str:
    return json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        default=lambda other: f"<{type(other).__name__}>",
    )


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
    clock : callable
        Seconds on a monotonic clock.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._source = source
        self._files: dict[str, bytes] = {}
        self._kept = ThrottledCache(clock)
        self._answers: dict[str, Callable[[HttpRequest], Awaitable[Response]]] = {
            "/api": self._index,
            "/api/v1": self._index,
            "/api/v1/snapshot": self._get_snapshot,
            "/api/v1/worker": self._get_worker,
            "/api/v1/task": self._get_task,
            "/api/v1/function": self._get_function,
            "/api/v1/graph": self._get_graph,
            "/api/v1/stream": self._get_stream,
            "/api/v1/profile": self._get_profile,
            "/api/v1/profile.speedscope.json": self._get_speedscope,
            "/api/v1/events": self._get_events,
            "/metrics": self._get_metrics,
        }

    async def answer(self, request: HttpRequest) -> Response:
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

    async def _index(self, request: HttpRequest) -> Response:
        return _json({"version": 1, "addresses": API})

    def _snapshot(self, age_s: float = MAX_ANSWER_AGE_S) -> tuple[dict[str, Any], bytes]:
        """Return one for all, as it is and as JSON."""

        def make() -> tuple[dict[str, Any], bytes]:
            found = self._source.snapshot()
            return found, to_json(found)

        made: tuple[dict[str, Any], bytes] = self._kept.get("snapshot", make, age_s)
        return made

    def _shared(self, kind: str, make: Callable[..., Any], *names: str) -> bytes:
        """Return another answer as JSON; equal requests share one."""
        body: bytes = self._kept.get("\n".join((kind, *names)), lambda: to_json(make(*names)), MAX_ANSWER_AGE_S)
        return body

    async def _get_snapshot(self, request: HttpRequest) -> Response:
        await self._source.refresh()
        return Response(self._snapshot()[1], JSON)

    async def _get_worker(self, request: HttpRequest) -> Response:
        name = request.query.get("name", "")
        await self._source.refresh(name)
        return Response(self._shared("worker", self._source.worker, name), JSON)

    async def _get_task(self, request: HttpRequest) -> Response:
        return Response(self._shared("task", self._source.task, request.query.get("key", "")), JSON)

    async def _get_function(self, request: HttpRequest) -> Response:
        return Response(self._shared("function", self._source.function, request.query.get("name", "")), JSON)

    async def _get_graph(self, request: HttpRequest) -> Response:
        return Response(self._shared("graph", self._source.graph), JSON)

    async def _get_stream(self, request: HttpRequest) -> Response:
        return _json(self._source.stream(_whole_number(request, "since")))

    async def _get_profile(self, request: HttpRequest) -> Response:
        def make(worker: str) -> dict[str, Any]:
            return {"interval_s": profiles.SAMPLE_INTERVAL_S, "tree": self._source.profile(worker)}

        return Response(self._shared("profile", make, request.query.get("worker", "")), JSON)

    async def _get_speedscope(self, request: HttpRequest) -> Response:
        worker = request.query.get("worker", "")
        body = to_json(profiles.speedscope(self._source.profile(worker), worker or "all workers"))
        header = ("Content-Disposition", 'attachment; filename="profile.speedscope.json"')
        return Response(body, JSON, headers=(header,))

    async def _get_metrics(self, request: HttpRequest) -> Response:
        await self._source.refresh()
        text = prometheus.render(self._snapshot()[0], self._source.worker_metrics())
        return Response(text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _get_events(self, request: HttpRequest) -> Response:
        return Response(kind="text/event-stream", events=self._events(request.query.get("worker", "")))

    async def _events(self, worker: str) -> AsyncGenerator[bytes, None]:
        """Yield the snapshot and new rows of the stream, while the browser reads."""
        source = self._source
        with source.viewer(worker):
            since = 0
            running: list[Any] = []
            yield b"retry: 2000\n\n"
            while True:
                yield _event("snapshot", self._snapshot(EVENT_S * 0.9)[1])
                stream = source.stream(since)
                if stream["chunks"] or stream["running"] != running:
                    since, running = stream["last"], stream["running"]
                    yield _event("stream", to_json(stream))
                if worker:
                    yield _event("worker", self._shared("worker", source.worker, worker))
                await asyncio.sleep(max(EVENT_S, self._kept.pause_s("snapshot")))


def _whole_number(request: HttpRequest, name: str) -> int:
    """Return a number of the query, 0 if it is not there.

    Raises
    ------
    BadRequest
        If it is no number that the page has ever said.
    """
    given = request.query.get(name, "0")
    if not given.isascii() or not given.isdecimal() or len(given) > 18:
        raise BadRequest(400, f"{name} must be a whole number of at most 18 digits, got {numbers.shown(given)}")
    return int(given)


def _json(value: Any) -> Response:
    return Response(to_json(value), JSON)
