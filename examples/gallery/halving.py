"""
Hyperparameter search by successive halving
===========================================

The program tries 27 learning rates for a few steps each. Of three trials that are done the best goes on for three times
as long, at once: no trial waits for the slowest one of its rung.
"""

import os
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each worker has one thread of BLAS

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor, as_completed

STEPS = [6, 18, 54, 162]
RATES = np.random.default_rng(1).permutation(np.geomspace(0.001, 3.0, 27))


def train(data, rate, steps):
    """Return the loss after each step of gradient descent for a logistic regression."""
    X, y = data
    weights = np.zeros(X.shape[1])
    losses = []
    for _ in range(steps):
        margin = X @ weights
        losses.append(float(np.mean(np.logaddexp(0, margin) - y * margin)))
        weights -= rate * X.T @ (1 / (1 + np.exp(-margin)) - y) / len(y)
    return losses


# %%
# The data goes to the workers once. A trial that goes on starts again from the beginning, to keep the program short.


def search(workers):
    """Return the longest curve of losses of each rate, and the steps of all trials together."""
    curves, finished, promoted = {}, [[] for _ in STEPS], set()
    with Executor(workers) as ex:
        data = ex.scatter([(X, y)])[0]
        trials = {ex.submit(train, data, rate, STEPS[0]): (rate, 0) for rate in RATES}
        running = as_completed(trials)
        for future in running:
            rate, rung = trials[future]
            losses = future.result()
            curves[rate] = max(losses, curves.get(rate, []), key=len)
            finished[rung].append((losses[-1], rate))
            if rung + 1 < len(STEPS):
                for _, best in sorted(finished[rung])[: len(finished[rung]) // 3]:
                    if (best, rung) not in promoted:
                        promoted.add((best, rung))
                        trial = ex.submit(train, data, best, STEPS[rung + 1])
                        trials[trial] = (best, rung + 1)
                        running.add(trial)
    return curves, sum(STEPS[rung] for _, rung in trials.values())


rng = np.random.default_rng(0)
X = rng.normal(size=(40_000, 20)) * np.geomspace(0.3, 3, 20)
y = (X @ rng.normal(size=20) / 5 + rng.logistic(size=len(X)) > 0).astype(float)

start = time.perf_counter()
search(1)
serial = time.perf_counter() - start
start = time.perf_counter()
curves, steps = search(2)
parallel = time.perf_counter() - start
best = min((losses[-1], rate) for rate, losses in curves.items() if len(losses) == STEPS[-1])[1]
print(f"the best rate is {best:.2f}; {steps} steps, of {len(RATES) * STEPS[-1]} if all rates had the full time")
print(f"{serial:.1f} s with one worker, {parallel:.1f} s with two: {serial / parallel:.1f} times as fast")

# %%
# Bad rates end early.

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for losses in curves.values():
    axes.plot(range(1, len(losses) + 1), losses, color="0.7", linewidth=1)
axes.plot(range(1, STEPS[-1] + 1), curves[best], color="C3", linewidth=2, label=f"best rate: {best:.2f}")
axes.set(xlabel="steps", ylabel="loss", xscale="log", xticks=STEPS, xticklabels=STEPS, ylim=(0.5, 0.8))
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()
