"""A search for the strength of a penalty by asynchronous successive halving.

Many strengths are tried on few rows. Whenever enough of a rung are done, the best of them go on to the next, with three
times the rows, at once: no rung waits for its last fit, because `as_completed.add` takes new futures while it runs.

    python examples/halving.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from futures_cluster import Executor, as_completed

REDUCTION = 3  # of three fits one goes on, with three times the rows
RUNGS = (300, 900, 2_700, 8_100)  # rows


def make_data(rows: int = 12_000, columns: int = 60) -> tuple[Any, Any]:
    """Few of the columns matter, so a penalty helps."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns))
    y = X[:, :5].sum(axis=1) + 2 * rng.logistic(size=rows) > 0
    return X, y


def fit_and_score(X: Any, y: Any, C: float, rows: int) -> float:
    """One trial: fitted on the first rows, scored on the last quarter. Runs on a worker."""
    from futures_cluster.glm import LogisticRegression

    held_out = 3 * len(y) // 4
    model = LogisticRegression(C=C, l1_ratio=1.0, tol=1e-6).fit(X[:rows], y[:rows])
    probabilities = model.predict_proba(X[held_out:])
    right = probabilities[np.arange(len(probabilities)), y[held_out:].astype(int)]
    return float(np.log(np.maximum(right, 1e-12)).mean())


def search(ex: Executor, strengths: list[float]) -> tuple[float, list[list[tuple[float, float]]]]:
    """The best strength, and what was tried on each rung: pairs of score and strength."""
    X, y = ex.scatter(list(make_data()))  # once; the trials get it where they run
    trials = {ex.submit(fit_and_score, X, y, C, RUNGS[0]): (C, 0) for C in strengths}
    done: list[list[tuple[float, float]]] = [[] for _ in RUNGS]
    promoted: list[set[float]] = [set() for _ in RUNGS]
    running = as_completed(list(trials))
    for future in running:
        C, rung = trials.pop(future)
        done[rung].append((future.result(), C))
        if rung + 1 == len(RUNGS):
            continue
        best = sorted(done[rung], reverse=True)[: len(done[rung]) // REDUCTION]
        for _, chosen in best:
            if chosen not in promoted[rung]:
                promoted[rung].add(chosen)
                another = ex.submit(fit_and_score, X, y, chosen, RUNGS[rung + 1])
                trials[another] = (chosen, rung + 1)
                running.add(another)
    last = next(rung for rung in reversed(done) if rung)
    return max(last)[1], done


if __name__ == "__main__":
    with Executor() as ex:
        best, done = search(ex, [float(C) for C in np.logspace(-3, 2, 27)])
        for rows, rung in zip(RUNGS, done):
            scores = ", ".join(f"C={C:.3g}: {score:.4f}" for score, C in sorted(rung, reverse=True)[:3])
            print(f"{rows:5} rows, {len(rung):2} fits; best {scores}")
        print(f"best C: {best:.3g}")
