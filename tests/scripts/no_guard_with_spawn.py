"""A script without a guard and a context that imports it again: an error, as multiprocessing has one, and an end."""

# contexts: spawn forkserver

from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

CONTEXT = None


def work(x):
    return x


with open("starts", "a") as file:
    print(__name__, file=file)
if len(open("starts").readlines()) > 12:
    raise SystemExit("started again and again")
with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
    try:
        print(pool.submit(work, 1).result())
    except BrokenExecutor:
        print("broken")
