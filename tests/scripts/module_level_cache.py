"""Caches, counters and lists of the script that tasks fill stay filled on the worker."""

# contexts: default fork spawn forkserver tcp
# modes: file -c

from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
cache = {}
hits = Counter()
groups = defaultdict(list)
order = []


def slow_square(x):
    if x in cache:
        hits["hit"] += 1
    else:
        hits["miss"] += 1
        cache[x] = x * x
    order.append(x)
    groups[x % 2].append(x)
    return cache[x]


def statistics():
    return dict(hits), order, dict(groups), sorted(cache)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(slow_square, [1, 2, 1, 3, 1])))
        print(pool.submit(slow_square, 3).result())
        print(pool.submit(statistics).result())
    print(cache, hits)
