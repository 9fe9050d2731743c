"""The search for the best of many settings of a small model, by ``as_completed`` and ``add``.

Covers: the settings, arrays of each partition (``prepare``), the small matrices that are made next to them (``gram``),
their error on held-out rows, and the search. Does not cover: reading (``flights``), progress (``report``).
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from futures_cluster import Executor, as_completed
from futures_cluster.demo.flights import CHUNK, ORIGINS, WEEKDAYS, Frame, weekdays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What is searched: a ridge regression of the arrival delay on what is known when the plane takes off.

    `knots` bend the effect of the departure delay (`spread` > 1 puts more of them at short delays), `waves`
    are harmonics of the time of day, and 10 ** `log_alpha` is the penalty on the standardised features.
    """

    log_alpha: float = 0.0
    knots: int = 0
    spread: float = 1.0
    waves: int = 0

    def __str__(self) -> str:
        bends = f"knots {self.knots}, spread {self.spread:.2f}, waves {self.waves}"
        return f"{bends}, log10(alpha) {self.log_alpha:.2f}"


def random_setting(rng: random.Random) -> Setting:
    return Setting(round(rng.uniform(-1, 4), 2), rng.randint(0, 8), round(rng.uniform(0.5, 3), 2), rng.randint(0, 4))


def near(best: Setting, rng: random.Random) -> Setting:
    """Return a setting a small step away from `best`."""
    return Setting(
        log_alpha=round(min(4.0, max(-1.0, best.log_alpha + rng.gauss(0, 0.6))), 2),
        knots=min(16, max(0, best.knots + rng.randint(-2, 2))),
        spread=round(min(4.0, max(0.3, best.spread * math.exp(rng.gauss(0, 0.25)))), 2),
        waves=min(8, max(0, best.waves + rng.randint(-1, 1))),
    )


@dataclass(frozen=True)
class Block:
    """The flights of one partition that arrived, as arrays: what no setting changes is made once."""

    delay: Matrix  # at departure, in hours
    phase: Matrix  # planned time of departure, as an angle
    fixed: Matrix  # one, distance, carrier, airport, day of the week
    target: Matrix  # delay at arrival, in minutes


def prepare(flights: Frame, carriers: Sequence[str]) -> Block:
    """Return the arrays of one partition, with the same columns for all partitions."""
    import numpy as np

    flown = flights[flights["dep_delay"].notna() & flights["arr_delay"].notna()]
    distance = flown["distance"].to_numpy(dtype=float) / 1000
    columns = [np.ones(len(flown)), distance, np.sqrt(distance)]
    columns += [(flown["carrier"] == carrier).to_numpy(dtype=float) for carrier in carriers]
    columns += [(flown["origin"] == origin).to_numpy(dtype=float) for origin in ORIGINS]
    day = weekdays(flown).to_numpy()
    columns += [(day == number).astype(float) for number in range(len(WEEKDAYS))]
    return Block(
        delay=flown["dep_delay"].to_numpy(dtype=float) / 60,
        phase=(flown["hour"] * 60 + flown["minute"]).to_numpy(dtype=float) * (2 * math.pi / 1440),
        fixed=np.column_stack(columns),
        target=flown["arr_delay"].to_numpy(dtype=float),
    )


def gram(block: Block, setting: Setting) -> Matrix:
    """Return the products of columns of (one, features, target), summed over a block."""
    import numpy as np

    def table(rows: slice) -> Matrix:
        delay, phase = block.delay[rows], block.phase[rows]
        columns = [block.fixed[rows], delay[:, None]]
        for number in range(1, setting.knots + 1):
            knot = -0.25 + 3.25 * (number / (setting.knots + 1)) ** setting.spread
            columns.append(np.maximum(delay - knot, 0.0)[:, None])
        for wave in range(1, setting.waves + 1):
            columns += [np.cos(wave * phase)[:, None], np.sin(wave * phase)[:, None]]
        return np.hstack([*columns, block.target[rows, None]])

    total: Matrix = np.zeros(())
    for start in range(0, max(1, len(block.target)), CHUNK):  # small enough to stay in the cache
        chunk = table(slice(start, start + CHUNK))
        total = total + chunk.T @ chunk
    return total


def held_out_error(grams: Sequence[Matrix], log_alpha: float) -> float:
    """Return the error in minutes on each partition, of a model fitted on the others."""
    import numpy as np

    total = np.sum(grams, axis=0)
    squares = 0.0
    for held_out in grams:
        train = total - held_out
        mean = train[0, 1:] / train[0, 0]
        centred = train[1:, 1:] - train[0, 0] * np.outer(mean, mean)
        # constant: such as a carrier that no other partition has
        constant = np.diag(centred) <= 1e-9 * np.diag(train)[1:]
        spread = np.where(constant, 1.0, np.sqrt(np.abs(np.diag(centred)) / train[0, 0]))[:-1]
        features, target = centred[:-1, :-1] / np.outer(spread, spread), centred[:-1, -1] / spread
        features[constant[:-1], :] = features[:, constant[:-1]] = target[constant[:-1]] = 0.0
        features[np.diag_indices_from(features)] += 10.0**log_alpha
        slopes = np.linalg.solve(features, target) / spread
        residual = np.concatenate([[mean[-1] - mean[:-1] @ slopes], slopes, [-1.0]])
        squares += float(residual @ held_out @ residual)
    return math.sqrt(squares / float(total[0, 0]))


def search(
    ex: Executor,
    blocks: Sequence[Future[Block]],
    count: int,
    in_flight: int,
    report: Callable[[int, float], None] = lambda done, best: None,
) -> dict[Setting, float]:
    """Return the errors of `count` settings, each new one near the best so far."""
    rng = random.Random(2013)
    running: dict[Future[float], Setting] = {}
    tried: set[Setting] = set()
    errors: dict[Setting, float] = {}

    def start(setting: Setting) -> Future[float]:
        tried.add(setting)
        grams = [ex.submit(gram, block, setting) for block in blocks]
        future: Future[float] = ex.submit(held_out_error, grams, setting.log_alpha)
        running[future] = setting
        return future

    def fresh(propose: Callable[[], Setting]) -> Setting:
        return next(setting for setting in iter(propose, None) if setting not in tried)

    first = [start(Setting())]  # straight lines only: what the others are compared with
    while len(first) < min(count, in_flight):
        first.append(start(fresh(functools.partial(random_setting, rng))))
    completed = as_completed(first)
    for future in completed:
        errors[running.pop(future)] = future.result()
        best = best_setting(errors)
        report(len(errors), errors[best])
        if len(tried) < count:
            completed.add(start(fresh(functools.partial(near, best, rng))))
    return errors


def best_setting(errors: Mapping[Setting, float]) -> Setting:
    return min(errors, key=lambda setting: (errors[setting], str(setting)))
