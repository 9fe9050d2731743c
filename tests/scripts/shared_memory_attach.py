"""A task attaches to the caller's ``shared_memory``: the segment is there after the worker has ended."""

# contexts: default fork spawn forkserver
# modes: file
# compare: stdout exit stderr

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

CONTEXT = None


def increment(name):
    segment = shared_memory.SharedMemory(name)
    segment.buf[0] += 1
    segment.close()


def use(segment):
    segment.buf[1] = 9
    segment.close()


if __name__ == "__main__":
    segment = shared_memory.SharedMemory(create=True, size=100)
    for _ in range(2):
        with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
            pool.submit(increment, segment.name).result()
            pool.submit(increment, segment.name).result()
            pool.submit(use, segment).result()
    again = shared_memory.SharedMemory(segment.name)
    print(again.buf[0], again.buf[1])
    again.close()
    segment.close()
    segment.unlink()
