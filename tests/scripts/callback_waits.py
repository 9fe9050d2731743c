"""A callback that waits for another future, or sleeps, stops no task and no other future."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor


def hold(gate):
    """A future that is done calls back on the thread that adds the callback: the caller says when."""
    while not os.path.exists(gate):
        time.sleep(0.01)


def open_gate(gate):
    with open(gate, "x"):
        pass


if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        go_on, answered = threading.Event(), threading.Event()
        answers = []

        def wait_for_another(future):
            answers.append(pool.submit(abs, -5).result(20))
            answered.set()

        pool.submit(hold, "first").add_done_callback(wait_for_another)
        open_gate("first")
        print(answered.wait(20), answers)
        blocking = pool.submit(hold, "second")
        blocking.add_done_callback(lambda future: go_on.wait(20))
        open_gate("second")
        print([pool.submit(abs, -n).result(20) for n in range(3)])
        go_on.set()

# expected:
# True [5]
# [0, 1, 2]
