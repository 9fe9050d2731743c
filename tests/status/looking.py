"""Helpers: reading a status page as programs do, and waiting until it shows something."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

TIMEOUT_S = 30.0


def read(url: str, path: str, **parameters: str) -> bytes:
    """What an address of a page answers; the token of the page's address is kept."""
    parts = urllib.parse.urlsplit(url)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **parameters}
    target = f"{parts.scheme}://{parts.netloc}/{path}"
    with urllib.request.urlopen(target + ("?" + urllib.parse.urlencode(query) if query else ""), timeout=20) as answer:
        body: bytes = answer.read()
        return body


def refusal(url: str, path: str) -> int:
    """The status by which a page refuses an address."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        read(url, path)
    with caught.value as error:  # has the connection
        return error.code


def ask(url: str, path: str, **parameters: str) -> Any:
    """The JSON that ``/api/v1/...`` answers."""
    return json.loads(read(url, "api/v1/" + path, **parameters))


def eventually(look: Callable[[], Any]) -> Any:
    """What ``look`` returns, as soon as that is true; it looks again and again."""
    end = time.monotonic() + TIMEOUT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


class Events:
    """Reads a page's events as a browser does."""

    def __init__(self, url: str, **parameters: str) -> None:
        query = urllib.parse.urlencode(parameters)
        self._answer = urllib.request.urlopen(f"{url}api/v1/events?{query}", timeout=20)

    def next(self, name: str) -> Any:
        """The next event of this name."""
        kind = ""
        for raw in self._answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == name:
                return json.loads(line[6:])
        raise AssertionError(f"the events ended without a {name}")

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *exc: object) -> None:
        self._answer.close()
