"""At the normal end of a worker the threads that tasks have left are joined."""

# contexts: default fork spawn
# modes: file stdin

import threading
import time
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def leave_a_thread():
    def later():
        time.sleep(0.3)
        with open("log", "a") as file:
            print("thread", file=file)

    threading.Thread(target=later).start()


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        pool.submit(leave_a_thread).result()
    print(open("log").read().split())
