"""
Monte Carlo with a stopping rule
================================

How many random points does it take to know pi to three digits? The program adds batches while results arrive, and stops
when the estimate is accurate enough.
"""

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor, as_completed

POINTS = 20_000  # in each batch
WANTED = 0.002  # standard error


def hits(seed):
    """Return how many random points of the square lie in the circle."""
    x, y = np.random.default_rng(seed).random((2, POINTS))
    return int(np.count_nonzero(x * x + y * y < 1))


# %%
# Two batches for each worker are always under way: each result makes room for another batch. ``add`` takes the new
# future into the loop that is running.

estimates, errors = [], []
with Executor(2) as ex:
    running = as_completed(ex.submit(hits, seed) for seed in range(4))
    seed, inside = 4, 0
    for future in running:
        inside += future.result()
        share = inside / (POINTS * (len(estimates) + 1))
        estimates.append(4 * share)
        errors.append(4 * np.sqrt(share * (1 - share) / (POINTS * len(estimates))))
        if errors[-1] > WANTED:
            running.add(ex.submit(hits, seed))
            seed += 1
print(f"{len(estimates)} batches: {estimates[-1]:.4f} +- {errors[-1]:.4f}")

# %%
# The shaded band is two standard errors wide.

batches = np.arange(1, len(estimates) + 1)
low, high = np.array(estimates) - 2 * np.array(errors), np.array(estimates) + 2 * np.array(errors)
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.fill_between(batches, low, high, alpha=0.25, linewidth=0)
axes.plot(batches, estimates)
axes.axhline(np.pi, color="black", linewidth=0.8, linestyle="--")
axes.set(xlabel="batches", ylabel="estimate of pi")
plt.show()
