"""A mutable default argument keeps what calls on the same worker have put in."""

# contexts: default fork spawn tcp
# modes: file -c

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def append(x, into=[]):  # noqa: B006
    into.append(x)
    return list(into)


def append_also(x):
    return append(x)


class Memo:
    def put(self, key, store={}):  # noqa: B006
        store[key] = len(store)
        return dict(store)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print([pool.submit(append, x).result() for x in range(3)])
        print(pool.submit(append_also, 9).result())
        print(pool.submit(append, 10).result())
        print([pool.submit(Memo().put, key).result() for key in "ab"])
    print(append("here"))
