"""A sentinel object of the script, as a default argument and compared by ``is``."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin ipython

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
_MISSING = object()


# %%
def lookup(key, default=_MISSING):
    table = {"a": 1}
    value = table.get(key, default)
    if value is _MISSING:
        return "missing"
    return value


def keyword(*, value=_MISSING):
    return value is _MISSING


class Box:
    def __init__(self, value=_MISSING):
        self.value = value

    def is_empty(self):
        return self.value is _MISSING

    def compare(self, other=_MISSING):
        return other is _MISSING


def empty_box():
    return Box().is_empty(), Box(1).is_empty(), Box().compare(), Box().compare(1)


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(lookup, "a").result(), pool.submit(lookup, "b").result())
        print(pool.submit(lookup, "b", None).result())
        print(pool.submit(keyword).result(), pool.submit(keyword, value=1).result())
        print(pool.submit(empty_box).result())
        print(list(pool.map(lookup, "abc")))
