"""What is made of figures: JSON, the text for Prometheus, speedscope files, reports, the terminal's table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.status import api, profiles, prometheus, report, table

NAMES = st.text(st.characters(), max_size=12)  # with halves of surrogate pairs
LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | NAMES
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
TREES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 5).map(lambda n: [n, {}]),
    lambda inner: st.dictionaries(st.sampled_from("fgh"), inner, max_size=3).map(
        lambda children: [sum(child[0] for child in children.values()) + 1, children]
    ),
    max_leaves=12,
)


def snapshot(**changes: Any) -> dict[str, Any]:
    """A snapshot as ``/api/v1/snapshot`` has it, of one worker and one function."""
    worker = {
        "name": "w1", "host": "h", "slots": 2, "running": 1, "committed": 3, "results": 4, "held_bytes": 5,
        "memory_bytes": 6, "memory_limit": None, "spilled_bytes": 0, "cpu": 0.5, "received_bytes": 7, "sent_bytes": 8,
        "raised": 1, "status": "active", "silent_s": None,
    }  # fmt: skip
    row = {"name": 'f"\n', "finished": 9, "raised": 1, "duration_s": 0.25, "tasks": 3}
    found = {
        "time": 1e9, "tasks": {"queued": 2, "memory": 1, "total": 3}, "functions": [row], "workers": [worker],
        "clients": ["c"], "limits": [], "stealing": {"moved": 3}, "metrics": {"counts": {}, "timings": {}},
        "scheduler": {"cpu": 0.1, "memory_bytes": 10, "addresses": ["a"], "since": 0.0, "pid": 1},
    }  # fmt: skip
    return {**found, **changes}


@given(VALUES)
def test_json_is_json_whatever_is_in_it(value: Any) -> None:
    def plain(text: str) -> Any:
        raise AssertionError(f"{text} is no JSON")

    json.loads(api.to_json(value), parse_constant=plain)


def test_what_is_no_plain_value_is_not_shown() -> None:
    assert api.to_json({"payload": b"secret", "inf": float("inf")}) == b'{"payload":"<bytes>","inf":null}'


@given(st.text(max_size=40))
def test_nothing_in_a_report_ends_its_element(name: str) -> None:
    text = report.embed({"name": name, "<!--<script>": 1})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["name"] == name


def everything(name: str = "f") -> dict[str, Any]:
    return {
        "snapshot": snapshot(functions=[{"name": name}]),
        "stream": {"last": 0, "chunks": []},
        "profile": [0, {}],
        "graph": {"nodes": [], "edges": []},
        "workers": {},
    }


def test_a_report_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    report.write(path, everything("</script><script>alert(1)</script>"), "a <b> title")
    text = path.read_text()
    assert not re.search(r"<(script|link|img)[^>]* (src|href)=", text)
    assert "alert(1)</script>" not in text
    assert "<title>a &lt;b&gt; title" in text
    assert "default-src 'none'" in text
    (found,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    assert json.loads(found)["snapshot"]["functions"][0]["name"] == "</script><script>alert(1)</script>"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.html"]


def test_the_page_is_small_and_loads_nothing_from_elsewhere() -> None:
    files = {path: api.read_file(name).decode() for path, (name, _) in api.FILES.items()}
    assert sum(len(text.encode()) for text in files.values()) < 100_000
    for path, text in files.items():
        found = [url for url in re.findall(r"https?://[^\s\"'`)]*", text) if "w3.org" not in url]
        assert found == [], path
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text, path
    assert not re.search(r"<script>|\son\w+=|\sstyle=", files["/"])  # the policy would forbid it


# ---------------------------------------------------------------- Prometheus

LINE = re.compile(
    r'[a-zA-Z_][a-zA-Z0-9_]*(\{[a-z]+="(?:[^"\\\n]|\\[\\"n])*"(,[a-z]+="(?:[^"\\\n]|\\[\\"n])*")*\})? \S+'
)


def families(text: str) -> dict[str, list[str]]:
    """The samples of each family; fails where the format is wrong."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in found, f"{name} comes twice"
            found[name] = []
        elif not line.startswith("# TYPE "):
            assert LINE.fullmatch(line), line
            assert line.startswith(name), line
            found[name].append(line)
    return found


API = {"name": "api", "total": 3.0, "used": 0.1 + 0.2, "waiting": 12}


def test_limits_are_shown_where_there_are_any() -> None:
    quiet = snapshot(functions={}, workers=[])
    assert "limit" not in table.status(quiet, 1e9)
    assert table.status({**quiet, "limits": [API]}, 1e9).endswith(
        "\n\nlimit  in use    waiting\napi    0.3 of 3       12"
    )
    found = families(prometheus.render(snapshot(limits=[API]), {}))
    assert found["futures_cluster_limit_total"] == ['futures_cluster_limit_total{limit="api"} 3.0']
    assert found["futures_cluster_limit_waiting"] == ['futures_cluster_limit_waiting{limit="api"} 12']


def test_figures_for_prometheus() -> None:
    summary = {
        "counts": {"stolen things": {"minute": 1, "start": 5}},
        "timings": {
            "connect": {
                "minute": {"count": 2, "sum": 0.3, "max": 0.2, "p50": 0.1, "p90": 0.2, "p99": 0.2},
                "start": {"count": 4, "sum": 0.7, "max": 0.4, "p50": 0.1, "p90": 0.2, "p99": 0.3},
            }
        },
    }
    found = families(prometheus.render(snapshot(metrics=summary), {"w1": summary}))
    assert 'futures_cluster_tasks{state="queued"} 2' in found["futures_cluster_tasks"]
    assert found["futures_cluster_finished_total"] == [r'futures_cluster_finished_total{function="f\"\n"} 9']
    assert found["futures_cluster_worker_received_bytes_total"] == [
        'futures_cluster_worker_received_bytes_total{worker="w1"} 7'
    ]
    assert "futures_cluster_worker_memory_limit_bytes" not in found
    assert found["futures_cluster_stolen_things_total"] == [
        'futures_cluster_stolen_things_total{process="scheduler"} 5',
        'futures_cluster_stolen_things_total{process="w1"} 5',
    ]
    assert (
        'futures_cluster_connect_seconds{process="w1",quantile="0.9"} 0.2' in found["futures_cluster_connect_seconds"]
    )
    assert 'futures_cluster_connect_seconds_count{process="w1"} 4' in found["futures_cluster_connect_seconds"]


@given(NAMES, NAMES)
def test_any_name_can_be_a_label(function: str, worker: str) -> None:
    rows = [{"name": function, "finished": 1, "raised": 0, "duration_s": float("nan")}]
    text = prometheus.render(snapshot(functions=rows), {worker: {"counts": {function: {"start": 1}}}})
    # Prometheus splits lines at \n only.
    for line in text.split("\n")[:-1]:
        assert line.startswith("# ") or LINE.fullmatch(line), line


# ---------------------------------------------------------------- profiles


@given(TREES, TREES)
def test_merged_trees_have_all_samples(first: Any, second: Any) -> None:
    def flat(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
        found = {path: tree[0]}
        for name, child in tree[1].items():
            found |= flat(child, (*path, name))
        return found

    merged = profiles.copy(first)
    assert merged == first
    profiles.merge(merged, second)
    one, two, both = flat(first), flat(second), flat(merged)
    assert both == {path: one.get(path, 0) + two.get(path, 0) for path in [*one, *two]}


@given(TREES)
def test_speedscope_files_have_the_time_of_all_samples_in_tasks(tree: Any) -> None:
    made = profiles.speedscope(tree, "run")
    (profile,) = made["profiles"]
    own = sum(child[0] for child in tree[1].values())
    assert profile["endValue"] == pytest.approx(own * profiles.SAMPLE_INTERVAL_S)
    assert len(profile["samples"]) == len(profile["weights"])
    assert all(0 <= frame < len(made["shared"]["frames"]) for sample in profile["samples"] for frame in sample)


# ---------------------------------------------------------------- the terminal


def test_the_table_that_is_shown_again_and_again_has_a_rate() -> None:
    def seen(finished: int) -> dict[str, Any]:
        return snapshot(functions={"f": {"tasks": 1, "finished": finished, "duration_s": 0.1}})

    assert "rate" not in table.status(seen(10), 5.0)
    assert "rate       50 tasks a second" in table.status(seen(110), 5.0, seen(10), 2.0)
    assert "rate       0 tasks a second" in table.status(seen(0), 5.0, seen(10), 2.0)  # it was started again
