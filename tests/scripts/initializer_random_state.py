"""An initializer prepares per-worker resources of several kinds: a random generator, a temporary folder, a table."""

# contexts: default fork spawn
# modes: file -c

import os
import random
import tempfile
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
generator = random.Random(0)
resources = {}


class Session:
    current = None

    def __init__(self, name):
        self.name = name
        self.calls = 0

    def __enter__(self):
        self.calls += 1
        return self

    def __exit__(self, *error):
        pass


def init(seed, name):
    generator.seed(seed)
    random.seed(seed)
    Session.current = Session(name)
    resources["folder"] = tempfile.gettempdir()
    os.environ["SESSION"] = name


def draw():
    with Session.current as session:
        return generator.randrange(1000), random.randrange(1000), session.name, session.calls


def check():
    return resources["folder"] == tempfile.gettempdir(), os.environ["SESSION"]


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT, initializer=init, initargs=(7, "s")) as pool:
        print(pool.submit(draw).result())
        print(pool.submit(draw).result())
        print(pool.submit(check).result())
    print(Session.current, resources)
