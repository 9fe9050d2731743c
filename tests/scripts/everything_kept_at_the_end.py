"""Futures, iterators and pools that are globals when the program ends: the interpreter takes modules apart quietly."""

# compare: stdout stderr exit
# modes: file stdin

import concurrent.futures

CONTEXT = None


def same(x):
    return x


def fail(x):
    raise ValueError(x)


if __name__ == "__main__":
    pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=CONTEXT)
    threads = concurrent.futures.ThreadPoolExecutor(2)
    kept = [pool.submit(same, i) for i in range(1200)]
    kept += [pool.submit(same, bytes(300_000)), pool.submit(fail, 1), threads.submit(same, 2)]
    kept += [pool.map(same, range(20)), threads.map(same, range(20)), iter(pool.map(fail, range(3)))]
    completed = concurrent.futures.as_completed(kept[:100])
    print(next(completed).result() in range(100))
    half = pool.map(same, range(50))
    print(next(half), next(half))
    print(sum(future.result() for future in kept[:1200]))
    print(concurrent.futures.InvalidStateError.__name__)
