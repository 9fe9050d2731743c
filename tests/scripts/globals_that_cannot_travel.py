"""A global that cannot travel: the error names the function, the global, and the two ways out."""

# modes: file -c ipython

import multiprocessing
import os
import socket
import sqlite3
import tempfile
from concurrent.futures import ProcessPoolExecutor

# %%
stream = open(os.devnull)
database = sqlite3.connect(":memory:")
temporary = tempfile.TemporaryFile()
generator = (x for x in "ab")
mp_lock = multiprocessing.get_context("fork").Lock()
listener = socket.socket()


def read_stream():
    return stream.read()


def ask_database():
    return database.execute("select 1").fetchone()


def use_temporary():
    return temporary.name


def next_of_generator():
    return next(generator)


def take_lock():
    with mp_lock:
        return 1


def use_listener():
    return listener.fileno()


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        for function, name in (
            (read_stream, "stream"),
            (ask_database, "database"),
            (use_temporary, "temporary"),
            (next_of_generator, "generator"),
            (take_lock, "mp_lock"),
            (use_listener, "listener"),
        ):
            error = pool.submit(function).exception()
            text = str(error) + "".join(getattr(error, "__notes__", []))
            words = (function.__name__, name, "initializer", "mp_context")
            print(name, [word for word in words if word not in text])
        print(pool.submit(abs, -1).result())
    stream.close(), temporary.close(), listener.close()

# expected:
# stream []
# database []
# temporary []
# generator []
# mp_lock []
# listener []
# 1
