"""
Monte Carlo with a stopping rule
================================

How many random points does it take to know pi to four digits? The program adds batches while results arrive, and stops
when the estimate is accurate enough.
"""

import time
from itertools import count

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor, as_completed

POINTS = 2_000_000  # in each batch
WANTED = 0.00012  # standard error


def hits(seed):
    """Return how many random points of the square lie in the circle."""
    x, y = np.random.default_rng(seed).random((2, POINTS))
    return int(np.count_nonzero(x * x + y * y < 1))


# %%
# Two batches for each worker are always under way: each result makes room for another batch. ``add`` takes the new
# future into the loop that is running.


def estimate(workers):
    """Return the estimates of pi after each batch, and their standard errors."""
    estimates, errors, inside, seeds = [], [], 0, count()
    with Executor(workers) as ex:
        running = as_completed(ex.submit(hits, next(seeds)) for _ in range(2 * workers))
        for future in running:
            inside += future.result()
            points = POINTS * (len(estimates) + 1)
            share = inside / points
            estimates.append(4 * share)
            errors.append(4 * np.sqrt(share * (1 - share) / points))
            if errors[-1] > WANTED:
                running.add(ex.submit(hits, next(seeds)))
    return np.array(estimates), np.array(errors)


start = time.perf_counter()
estimate(1)
serial = time.perf_counter() - start
start = time.perf_counter()
estimates, errors = estimate(2)
parallel = time.perf_counter() - start
print(f"{len(estimates)} batches: {estimates[-1]:.5f} +- {errors[-1]:.5f}")
print(f"{serial:.1f} s with one worker, {parallel:.1f} s with two: {serial / parallel:.1f} times as fast")

# %%
# The estimate lies within two standard errors of pi most of the time, and the error shrinks with the square root of the
# number of points.

batches = np.arange(1, len(estimates) + 1)
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.fill_between(
    batches, estimates - 2 * errors, estimates + 2 * errors, alpha=0.25, linewidth=0, label="two standard errors"
)
axes.plot(batches, estimates, label="estimate")
axes.axhline(np.pi, color="black", linewidth=0.8, linestyle="--", label="pi")
axes.legend(frameon=False)
axes.set(xlabel="batches of two million points", ylabel="estimate of pi")
plt.show()
