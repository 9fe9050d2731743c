"""
Accident rates from a Poisson regression
========================================

An insurer sets prices by how often customers have accidents, given their age, car and region. The policies are in
blocks on the workers, and a Poisson regression passes over them a few times. Each policy counts with its exposure, the
part of the year for which it was in force.
"""

import os
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each worker has one thread of BLAS

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from futures_cluster import Executor
from futures_cluster.glm import PoissonRegressor

BLOCKS, ROWS = 8, 300_000
# Accidents as multiples of those of the first level.
FACTORS = {
    "age": {"30-59": 1.0, "18-21": 2.4, "22-29": 1.5, "60-74": 0.9, "75+": 1.3},
    "car": {"medium": 1.0, "small": 0.85, "sports": 1.4},
    "region": {"village": 1.0, "town": 1.3},
}


def make_policies(seed):
    """Return a block of policies; stands in for reading a file."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.choice(list(levels), ROWS) for name, levels in FACTORS.items()})
    table["years"] = rng.uniform(0.05, 1, ROWS)
    rate = 0.06 * np.prod([table[name].map(levels) for name, levels in FACTORS.items()], axis=0)
    return table.assign(accidents=rng.poisson(rate * table.years))


# %%
# ``fit`` takes the futures of the blocks. The workers encode the categories, and compute gradients and Hessians where
# the rows are. The first level of a category gets no coefficient: the others compare with it. The time covers
# everything from the start of the workers, which import pandas and scikit-learn.

LEVELS = {name: list(levels) for name, levels in FACTORS.items()}


def fit(workers):
    """Make the policies on the workers, fit the model, and return its table."""
    with Executor(workers) as ex:
        policies = [ex.submit(make_policies, seed) for seed in range(BLOCKS)]
        model = PoissonRegressor(alpha=0, executor=ex)
        model.fit(policies, "accidents", exposure="years", categories=LEVELS, drop_first=True)
        return model.summary()


start = time.perf_counter()
fit(1)
serial = time.perf_counter() - start
start = time.perf_counter()
summary = fit(2)
parallel = time.perf_counter() - start
print(f"{serial:.1f} s with one worker, {parallel:.1f} s with two: {serial / parallel:.1f} times as fast")
print(summary)

# %%
# The exponential of a coefficient is a ratio of accident rates. Red lines are the ratios with which the policies were
# made.

names = summary.names[1:]
truth = {f"{factor}_{level}": value for factor, levels in FACTORS.items() for level, value in levels.items()}
ratios, low, high = np.exp([summary.coef, *summary.intervals.T])[:, 1:]
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.errorbar(ratios, range(len(names)), xerr=[ratios - low, high - ratios], fmt="o", label="estimate, 95% interval")
axes.plot([truth[name] for name in names], range(len(names)), "|", color="C3", markersize=16, label="truth")
axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
axes.set(xlabel="accidents compared with the first level", yticks=range(len(names)), yticklabels=names, xscale="log")
axes.set(xticks=(0.8, 1, 1.5, 2, 2.5), xticklabels=(0.8, 1, 1.5, 2, 2.5), ylim=(len(names) - 0.5, -0.5))
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()
