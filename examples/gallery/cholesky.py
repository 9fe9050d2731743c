"""
A factorization as a graph of tasks
===================================

The Cholesky factorization of a matrix in tiles has many small steps that depend on each other. Futures as arguments are
all that it takes: each step starts when its inputs are done, and steps that do not depend on each other run at the same
time.
"""

import os
import time

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

TILES, SIZE = 6, 250


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
# The loops are those of the textbook, with ``submit`` in the place of each operation on tiles.

rng = np.random.default_rng(0)
half = rng.normal(size=(TILES * SIZE, TILES * SIZE)) / np.sqrt(TILES * SIZE)
matrix = half @ half.T + np.eye(TILES * SIZE)
tiles = {
    (i, j): (matrix[i * SIZE : (i + 1) * SIZE, j * SIZE : (j + 1) * SIZE],) for i in range(TILES) for j in range(i + 1)
}

steps = []
with Executor(2) as ex:
    for k in range(TILES):
        tiles[k, k] = ex.submit(step, factor, tiles[k, k])
        steps.append(tiles[k, k])
        for i in range(k + 1, TILES):
            tiles[i, k] = ex.submit(step, solve, tiles[k, k], tiles[i, k])
            steps.append(tiles[i, k])
        for i in range(k + 1, TILES):
            for j in range(k + 1, i + 1):
                tiles[i, j] = ex.submit(step, update, tiles[i, j], tiles[i, k], tiles[j, k])
                steps.append(tiles[i, j])
    results = {place: future.result()[0] for place, future in tiles.items()}
    runs = [future.result()[1:] for future in steps]

lower = np.block([[results.get((i, j), np.zeros((SIZE, SIZE))) for j in range(TILES)] for i in range(TILES)])
lower = np.tril(lower)
print(f"{len(steps)} steps; largest error {abs(lower @ lower.T - matrix).max():.0e}")

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
        [1000 * (end - start) for _, _, start, end in chosen],
        left=[1000 * (start - begin) for _, _, start, _ in chosen],
        color=colour,
        edgecolor="white",
        linewidth=0.5,
        label=name,
    )
axes.set(xlabel="milliseconds", yticks=range(len(workers)), yticklabels=[f"worker {n}" for n in range(len(workers))])
axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.25), frameon=False)
plt.show()
