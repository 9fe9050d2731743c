"""A cell that is run again with a changed function: the new one runs, also where other functions call it."""

# modes: ipython file

from concurrent.futures import ProcessPoolExecutor

pool = None


# %%
def step(x):
    return x + 1


def twice(x):
    return step(step(x))


def cached(x, store={}):  # noqa: B006
    return store.setdefault(x, twice(x))


calls = 0


def counted():
    global calls
    calls += 1
    return calls


# %%
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1)
    print(pool.submit(step, 1).result(), pool.submit(twice, 1).result(), pool.submit(cached, 1).result())
    print(pool.submit(counted).result())


# %%
def step(x):
    return x + 100


# %%
if __name__ == "__main__":
    print(pool.submit(twice, 1).result())
    print(pool.submit(step, 1).result(), list(pool.map(twice, [0])))
    print(pool.submit(cached, 1).result(), pool.submit(cached, 2).result())
    print(pool.submit(counted).result())


# %%
def twice(x):
    return "new", step(x)


# %%
if __name__ == "__main__":
    print(pool.submit(twice, 1).result(), pool.submit(counted).result())
    pool.shutdown()

# expected:
# 2 3 3
# 1
# 201
# 101 [200]
# 3 202
# 2
# ('new', 101) 3
