"""``cancel``, ``shutdown(cancel_futures=True)``, results after the ``with`` block, submits after the end."""

# contexts: default fork
# modes: file -c

import os
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor

CONTEXT = None


def block(path):
    with open(path, "w"):
        pass
    while not os.path.exists("go"):
        time.sleep(0.01)
    return "went"


def work(x):
    return x


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=CONTEXT)
    running = pool.submit(block, "started")
    wait_for("started")
    queued = [pool.submit(work, x) for x in range(8)]
    print(queued[-1].cancel(), queued[-1].cancelled(), queued[-1].done())
    try:
        queued[-1].result()
    except CancelledError:
        print("cancelled")
    pool.shutdown(wait=False, cancel_futures=True)
    with open("go", "w"):
        pass
    print(running.result(), sum(future.cancelled() for future in queued[2:]))
    try:
        pool.submit(work, 1)
    except RuntimeError as error:
        print(error)
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        late = [pool.submit(work, x) for x in range(3)]
        results = pool.map(work, range(3))
    print([future.result() for future in late], list(results))
