"""
A factorization as a graph of tasks
===================================

The Cholesky factorization of a matrix in tiles has many small steps that depend on each other. Futures as arguments are
all that it takes: each step starts when its inputs are done, and steps that do not depend on each other run at the same
time.
"""

import os
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each worker has one thread of BLAS

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

TILES, SIZE = 8, 600


def step(function, *inputs):
    """Call a function with tiles, and return its tile with when and where it ran."""
    start = time.time()
    value = function(*[tile for tile, *_ in inputs])
    return value, function.__name__, os.getpid(), start, time.time()


def factor(tile):
    return np.linalg.cholesky(tile)


def solve(diagonal, tile):
    return np.linalg.solve(diagonal, tile.T).T


def update(tile, left, right):
    return tile - left @ right.T


# %%
# The loops are those of the textbook, with a task in the place of each operation on tiles. With ``backend="sync"`` the
# same program runs serially.


def factorize(matrix, backend):
    """Return the tiles of the factor, and what ran where and when."""
    tiles, steps = {}, []
    for i in range(TILES):
        for j in range(i + 1):
            tiles[i, j] = (matrix[i * SIZE : (i + 1) * SIZE, j * SIZE : (j + 1) * SIZE],)
    with Executor(2, backend=backend) as ex:

        def replace(place, function, *others):
            tiles[place] = ex.submit(step, function, *[tiles[other] for other in others])
            steps.append(tiles[place])

        for k in range(TILES):
            replace((k, k), factor, (k, k))
            for i in range(k + 1, TILES):
                replace((i, k), solve, (k, k), (i, k))
            for i in range(k + 1, TILES):
                for j in range(k + 1, i + 1):
                    replace((i, j), update, (i, j), (i, k), (j, k))
        return {place: future.result()[0] for place, future in tiles.items()}, [f.result()[1:] for f in steps]


x, y = np.random.default_rng(0).random((2, TILES * SIZE))
distances = np.hypot(x[:, None] - x, y[:, None] - y)
matrix = np.exp(-distances / 0.1) + 0.01 * np.eye(len(x))  # the covariance of a Gaussian process at random points

start = time.perf_counter()
factorize(matrix, "sync")
serial = time.perf_counter() - start
start = time.perf_counter()
tiles, runs = factorize(matrix, "processes")
parallel = time.perf_counter() - start
lower = np.tril(np.block([[tiles.get((i, j), np.zeros((SIZE, SIZE))) for j in range(TILES)] for i in range(TILES)]))
vector = np.ones(len(matrix))
error = abs(lower @ (lower.T @ vector) - matrix @ vector).max()
print(f"{len(runs)} steps, largest error {error:.0e}")
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")

# %%
# Each bar is a step, in the row of the worker that ran it.

workers = sorted({pid for _, pid, _, _ in runs})
begin = min(start for _, _, start, _ in runs)
colours = {"factor": "C3", "solve": "C1", "update": "C0"}
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
for name, colour in colours.items():
    chosen = [run for run in runs if run[0] == name]
    axes.barh(
        [workers.index(pid) for _, pid, _, _ in chosen],
        [end - start for _, _, start, end in chosen],
        left=[start - begin for _, _, start, _ in chosen],
        color=colour,
        edgecolor="white",
        linewidth=0.5,
        label=name,
    )
axes.set(xlabel="seconds", yticks=range(len(workers)), yticklabels=[f"worker {n}" for n in range(len(workers))])
axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.25), frameon=False)
plt.show()
