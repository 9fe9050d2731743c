"""The same under our own start: each new worker begins with what the script has, and with the initializer."""

# modes: file -c

from concurrent.futures import ProcessPoolExecutor

calls = 0


def init(n):
    global calls
    calls += n


def count():
    global calls
    calls += 1
    return calls


if __name__ == "__main__":
    with ProcessPoolExecutor(1, max_tasks_per_child=2, initializer=init, initargs=(10,)) as pool:
        print([pool.submit(count).result() for _ in range(5)])

# expected:
# [11, 12, 11, 12, 11]
