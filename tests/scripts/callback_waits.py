"""A callback that waits for another future, or sleeps, stops no task and no other future."""

import threading
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        go_on, answered = threading.Event(), threading.Event()
        answers = []

        def wait_for_another(future):
            answers.append(pool.submit(abs, -5).result(20))
            answered.set()

        pool.submit(abs, -1).add_done_callback(wait_for_another)
        print(answered.wait(20), answers)
        blocking = pool.submit(abs, -2)
        blocking.add_done_callback(lambda future: go_on.wait(20))
        print([pool.submit(abs, -n).result(20) for n in range(3)])
        go_on.set()

# expected:
# True [5]
# [0, 1, 2]
