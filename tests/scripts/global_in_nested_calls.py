"""``global`` in functions that a task calls, in inner functions and in methods."""

# contexts: default fork spawn tcp
# modes: file stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
log = ()
depth = 0


def note(text):
    global log
    log = (*log, text)


def outer(text):
    def inner():
        global depth
        depth += 1
        note(f"{text} at {depth}")

    inner()
    return log


class Writer:
    def write(self, text):
        global log
        log = (*log, text.upper())
        return outer(text)


def reset():
    global log, depth
    log, depth = (), 0


def look():
    return log, depth, sorted(name for name in globals() if name in ("log", "depth", "made_later"))


def make_later():
    globals()["made_later"] = True


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(outer, "a").result())
        print(pool.submit(outer, "b").result())
        print(pool.submit(Writer().write, "c").result())
        print(pool.submit(look).result())
        pool.submit(make_later).result()
        print(pool.submit(look).result())
        pool.submit(reset).result()
        print(pool.submit(outer, "d").result())
    print(log, depth)
