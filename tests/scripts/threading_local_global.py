"""A ``threading.local`` of the script: each worker has one of its own, and keeps in it what tasks put there."""

# contexts: default fork spawn
# modes: file stdin

import threading
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
local = threading.local()


class Session(threading.local):
    def __init__(self):
        self.calls = 0


session = Session()


def put(value):
    before, local.value = getattr(local, "value", None), value
    return before


def count():
    session.calls += 1
    return session.calls


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(put, "abc")))
        print([pool.submit(count).result() for _ in range(3)])
    print(hasattr(local, "value"), session.calls)
