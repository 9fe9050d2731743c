"""``pickle``, ``copy.deepcopy`` and ``shelve`` of objects and functions of the script, inside a task."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin module ipython

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
class Record:
    def __init__(self, values):
        self.values = values

    def total(self):
        return sum(self.values)


class Custom:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        return rebuild, (self.n + 1,)


def rebuild(n):
    return Custom(n)


RECORD = Record([7])


def round_trip(record):
    again = pickle.loads(pickle.dumps(record))
    return type(again) is Record, type(again) is type(record), again.total()


def by_name():
    found = pickle.loads(pickle.dumps((round_trip, Record, Record.total)))
    return found[0] is round_trip, found[1] is Record, found[2] is Record.total


def deep():
    record = copy.deepcopy(RECORD)
    record.values.append(1)
    return RECORD.values, record.values, copy.copy(Custom(1)).n, type(copy.deepcopy(record)) is Record


def dumped():
    return pickle.dumps(Record([1, 2]), 2), pickle.dumps(round_trip, 2)


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(round_trip, Record([1, 2])).result())
        print(pool.submit(round_trip, RECORD).result())
        print(pool.submit(by_name).result())
        print(pool.submit(deep).result())
        record, function = map(pickle.loads, pool.submit(dumped).result())
        print(type(record) is Record, function is round_trip)
        print(pool.submit(pickle.loads, pickle.dumps(Record([4]))).result().total())
        print(pool.submit(Custom, 1).result().n)
