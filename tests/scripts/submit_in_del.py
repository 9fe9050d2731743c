"""``__del__`` that submits, also while the first worker starts, does not deadlock."""

# contexts: default fork

import gc
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Resource:
    def __init__(self):
        self.cycle = self

    def __del__(self):
        futures.append(pool.submit(abs, -len(futures)))


if __name__ == "__main__":
    futures = []
    pool = ProcessPoolExecutor(1, mp_context=CONTEXT)
    gc.set_threshold(3)
    for _ in range(20):
        Resource()
    print(pool.submit(abs, -100).result())
    gc.set_threshold(700)
    gc.collect()
    print([future.result() for future in futures] == list(range(len(futures))))
    pool.shutdown()

# The standard library's pool of Python 3.12.1 hangs here.
# expected:
# 100
# True
