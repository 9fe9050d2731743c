"""A worker that is replaced starts with the script's globals and runs the initializer again."""

# contexts: spawn forkserver

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
calls = 0


def init(n):
    global calls
    calls += n


def count():
    global calls
    calls += 1
    return calls


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT, max_tasks_per_child=2, initializer=init, initargs=(10,)) as pool:
        print([pool.submit(count).result() for _ in range(5)])
