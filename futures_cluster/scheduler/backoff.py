"""The wait between two tries of a task that raised.

Covers: its length, as a pure function of the task's options and a seed. Does not cover: waiting
(``scheduler.machine``, ``engines.inprocess``).

Each wait is twice as long as the one before. A part of it is random: tasks that failed together, because a server was
overloaded, would otherwise ask that server again all at the same time.
"""

from __future__ import annotations

import zlib

from futures_cluster.messages import Key, TaskOptions
from futures_cluster.numbers import MAX_BACKOFF_S


def backoff_s(options: TaskOptions, key: Key, retry: int, seed: str) -> float:
    """Return the seconds before a repetition.

    They are between half of the full wait and all of it.

    Parameters
    ----------
    options : TaskOptions
        Options of the task.
    key : str
        Key of the task.
    retry : int
        Number of the repetition, from 1.
    seed : str
        Differs between the schedulers whose tasks should not wait for equal times.

    Examples
    --------
    >>> options = TaskOptions(retries=9, backoff_s=1.0)
    >>> [round(backoff_s(options, "key", retry, "seed"), 1) for retry in (1, 2, 3, 20)]
    [0.6, 1.0, 2.5, 231.5]
    """
    if not options.backoff_s:
        return 0.0
    full_s = min(MAX_BACKOFF_S, options.backoff_s * 2.0 ** min(retry - 1, 60))
    fraction = zlib.crc32(f"{seed} {retry} {key}".encode(errors="surrogatepass")) / 2**32
    return full_s * (1 + fraction) / 2
