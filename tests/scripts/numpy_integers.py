"""Integers of numpy are accepted wherever an int is."""

# contexts: default fork
# needs: numpy

from concurrent.futures import ProcessPoolExecutor

import numpy as np

CONTEXT = None


def work(x):
    return x * 2


if __name__ == "__main__":
    with ProcessPoolExecutor(np.int64(2), mp_context=CONTEXT) as pool:
        print(pool.submit(work, np.int32(3)).result() == 6)
        print([int(x) for x in pool.map(work, np.arange(5), chunksize=np.int64(2))])
        print(list(pool.map(work, [1], timeout=np.float64(20))), pool.submit(work, 1).result(np.int64(20)))
        print(pool._max_workers == 2)
