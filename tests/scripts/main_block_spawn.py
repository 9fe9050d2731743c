"""With contexts that import the script again, what is under the guard is not there, and imports run once a worker."""

# contexts: spawn forkserver

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
with open("imported", "a") as file:
    print(__name__, file=file)


def look():
    return __name__, "late" in globals(), "pool" in globals(), look.__module__


if __name__ == "__main__":
    late = 5
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(look).result())
        print(pool.submit(look).result())
    print(sorted(open("imported").read().split()))
