"""With the fork context the globals of a worker are the fork's: any object is there, and later changes are not."""

# contexts: fork
# modes: file -c stdin ipython

import threading
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
value = "before"
numbers = iter([1, 2, 3])
stream = open("/dev/null")
lock = threading.Lock()
opened = stream.fileno()


def read():
    with lock:
        return value, next(numbers), stream.fileno() == opened


def get_value():
    return value


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(read).result())
        value = "after"
        print(pool.submit(read).result())
        print(pool.submit(get_value).result())
    print(value, next(numbers))
    stream.close()
