"""Scripts print on our pool what they print on the standard library's, whichever way they and the workers start.

Covers: everything that lives in the script itself (functions, classes, globals, errors), which importable modules never
show. Does not cover: how a script is run (``harness``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from foreign_clusters import Clusters
from harness import Run, Script

from futures_cluster.testing.real_cluster import Cluster


def cases() -> list[object]:
    """One for each script and way; those beyond two a script are slow."""
    made = []
    for script in harness.all_scripts():
        quick = script.quick_variants()
        for pair in script.variants():
            marks = [] if pair in quick else [pytest.mark.slow]
            made.append(pytest.param(script, *pair, pair[0], marks=marks, id=f"{script.name}-{pair[0]}-{pair[1]}"))
    return made


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a script needs to find a cluster with one worker, so that all tasks of a client share one process."""
    if request.param not in harness.CLUSTERS:
        yield {}
    elif request.param == "tcp":
        with Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True) as cluster:
            cluster.add_worker()
            yield {**cluster.environment, "FUTURES_CLUSTER_BACKEND": cluster.address}
    else:
        pytest.importorskip(harness.CLUSTERS[request.param])
        with contextlib.closing(Clusters(request.param)) as clusters:
            if request.param == "dask":
                address = clusters.address(n_workers=1, threads_per_worker=1, processes=True)
                yield {"FUTURES_CLUSTER_BACKEND": f"dask://{address.partition('://')[2]}"}
            else:
                address = clusters.address(num_cpus=1)
                yield {"FUTURES_CLUSTER_BACKEND": "ray", "RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"}


@pytest.mark.parametrize(("script", "context", "mode", "environment"), cases(), indirect=["environment"])
def test_same_output(script: Script, context: str, mode: str, environment: dict[str, str], tmp_path: Path) -> None:
    if (reason := script.why_not(mode)) is not None:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        ours = Run(harness.for_ours(script, context), script.name, mode, tmp_path / "ours", environment)
        stack.enter_context(ours)
        if script.expected is not None:
            outcome = ours.finish()
            assert outcome.exit == script.exit, outcome.stderr
            assert outcome.stdout + outcome.file == script.expected, outcome.stderr
            return
        # In IPython the cells are those of a script, so a plain run of it says what they print.
        text, standard_mode = harness.for_standard_library(script, context), "file" if mode == "ipython" else mode
        standard = stack.enter_context(Run(text, script.name, standard_mode, tmp_path / "standard", {}))
        wanted = standard.finish()
        assert wanted.exit == script.exit, f"the script is wrong: {wanted.stderr}"
        outcome = ours.finish()
    for part in script.compare:
        assert outcome.shown(part) == wanted.shown(part), f"{part}:\n{outcome.stderr}\nstandard:\n{wanted.stderr}"


def test_there_are_enough_scripts() -> None:
    scripts = harness.all_scripts()
    assert len(scripts) >= 60
    assert sum("ipython" in script.modes for script in scripts) >= 10
