"""Versions: which differences matter, and what is said of them."""

from __future__ import annotations

import sys

import pytest

import futures_cluster
from futures_cluster import messages as m
from futures_cluster.wire import frames
from futures_cluster.wire.versions import compare, is_gil_enabled, own_versions

OURS = {"futures_cluster": "0.1.0", "python": "3.11", "cloudpickle": "3.1.2", "msgpack": "1.0.5"}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_build_that_can_do_without_the_gil_is_asked(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: enabled, raising=False)
    assert is_gil_enabled() is enabled


def test_before_python_3_13_there_is_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert is_gil_enabled()


def test_own_versions() -> None:
    versions = own_versions()
    assert versions["futures_cluster"] == futures_cluster.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:2]))
    assert versions["cloudpickle"] and versions["msgpack"]
    assert compare(versions, own_versions(), "itself") is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"python": "3.12"}, ["python is 3.11 here and 3.12 for the worker w"]),
        ({"python": "3.1"}, ["python is 3.11 here and 3.1 for"]),
        ({"cloudpickle": "2.9"}, ["cloudpickle is 3.1.2 here and 2.9"]),
        ({"cloudpickle": "3.9"}, []),
        ({"futures_cluster": "0.2.0"}, ["futures_cluster is 0.1.0 here and 0.2.0"]),
        ({"futures_cluster": "0.1.9"}, []),
        ({"msgpack": "2.0"}, []),
        ({"python": ""}, []),
        ({"python": "3.13", "cloudpickle": "4"}, ["python is", "cloudpickle is"]),
    ],
)
def test_differences(changed: dict[str, str], said: list[str]) -> None:
    text = compare(OURS, OURS | changed, "the worker w")
    if not said:
        assert text is None
        return
    assert text is not None and text.endswith("install the same versions on all machines")
    for part in said:
        assert part in text
    assert text.count("the worker w") == len(said)


def test_what_is_not_told_is_not_compared() -> None:
    assert compare(OURS, {}, "an old one") is None
    assert compare(OURS, {"numpy": "1"}, "another") is None


def test_hello_carries_them() -> None:
    hello = m.Hello("worker", "w", "tcp://h:1", 7, own_versions(), ["zlib"])
    head, _ = frames.pack([hello])
    ((back,),) = frames.FrameParser().feed(head)
    assert back == m.Hello("worker", "w", "tcp://h:1", 7, own_versions(), ("zlib",))  # type: ignore[arg-type]
