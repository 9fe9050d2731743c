"""Clocks that the script has stopped (as ``freezegun`` does) do not stop the pool."""

# contexts: default fork

import time
from concurrent.futures import ProcessPoolExecutor, as_completed, wait

CONTEXT = None


def work(x):
    return x + 1


def stopped():
    return 1.5


if __name__ == "__main__":
    time.time = time.monotonic = time.perf_counter = stopped
    time.time_ns = time.monotonic_ns = lambda: 1_500_000_000
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        print(list(pool.map(work, range(5))), list(pool.map(work, range(5), timeout=20, chunksize=2)))
        futures = [pool.submit(work, x) for x in range(3)]
        print(sorted(future.result() for future in as_completed(futures, timeout=20)))
        print(len(wait(futures, timeout=20).done), futures[0].result(timeout=20))

# expected:
# [1, 2, 3, 4, 5] [1, 2, 3, 4, 5]
# [1, 2, 3]
# 3 1
