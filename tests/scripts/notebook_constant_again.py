"""A cell that is run again with another constant; the same cell run again unchanged resets what it assigns, no more."""

# modes: ipython stdin

from concurrent.futures import ProcessPoolExecutor

pool = None

# %%
RATE = 0.5
TABLE = {"a": 1}
history = []


# %%
def price(key):
    history.append(key)
    return RATE * TABLE[key], len(history)


def total():
    return sum(price(key)[0] for key in TABLE)


# %%
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1)
    print(pool.submit(price, "a").result(), pool.submit(total).result())

# %%
RATE = 2.0

# %%
if __name__ == "__main__":
    print(pool.submit(price, "a").result(), pool.submit(total).result())

# %%
TABLE = {"a": 10, "b": 20}
history = []

# %%
if __name__ == "__main__":
    print(pool.submit(price, "b").result(), pool.submit(total).result())
    pool.shutdown()

# expected:
# (0.5, 1) 0.5
# (2.0, 3) 2.0
# (40.0, 1) 60.0
