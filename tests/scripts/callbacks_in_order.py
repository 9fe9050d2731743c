"""Callbacks of one future run in the order they were added, all before the pool is gone; they may submit."""

# contexts: default fork
# modes: file ipython

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
def double(x):
    return 2 * x


# %%
def hold(gate, x):
    """A future that is done calls back on the thread that adds the callback: the caller says when."""
    while not os.path.exists(gate):
        time.sleep(0.01)
    return 2 * x


def open_gate(gate):
    with open(gate, "x"):
        pass


# %%
if __name__ == "__main__":
    seen = []
    done = threading.Event()

    def go_on(future):
        seen.append(future.result())
        if future.result() < 100:
            pool.submit(double, future.result()).add_done_callback(go_on)
        else:
            done.set()

    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        future = pool.submit(hold, "first", 1)
        for n in range(5):
            future.add_done_callback(lambda future, n=n: seen.append((n, future.result())))
        open_gate("first")
        future.result(20)
        waiting = pool.submit(double, 2)
        waiting.add_done_callback(go_on)
        print(done.wait(20))
        future.add_done_callback(lambda future: seen.append("at once"))
        pool.submit(hold, "second", 1)
        last = [pool.submit(abs, -n) for n in range(5)]
        for future in last:
            future.add_done_callback(lambda future: seen.append(("last", future.result())))
        open_gate("second")
    print(seen)
