"""At the normal end of a worker its ``atexit`` functions run, which not every version of multiprocessing does."""

# contexts: default spawn
# modes: file -c

import atexit
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def write(text):
    with open("log", "a") as file:
        print(text, file=file)


def leave_functions():
    atexit.register(write, "first")
    atexit.register(write, "second")


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        pool.submit(leave_functions).result()
    print(open("log").read().split())

# expected:
# ['second', 'first']
