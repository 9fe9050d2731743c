"""A callback that raises ``SystemExit`` or ``KeyboardInterrupt`` is logged and ends no other task."""

# modes: file

import logging
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

records = []


class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)


def interrupt(future):
    raise KeyboardInterrupt


def hold(gate):
    """A future that is done calls back on the thread that adds the callback: the caller says when."""
    while not os.path.exists(gate):
        time.sleep(0.01)


def open_gate(gate):
    with open(gate, "x"):
        pass


if __name__ == "__main__":
    logging.getLogger().addHandler(Handler())
    called = threading.Event()
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(hold, "first")
        first.add_done_callback(lambda future: sys.exit(3))
        first.add_done_callback(interrupt)
        first.add_done_callback(lambda future: 1 // 0)
        first.add_done_callback(lambda future: called.set())
        open_gate("first")
        print(first.result(20), called.wait(20))
        pool.submit(hold, "others")
        futures = [pool.submit(abs, -n) for n in range(20)]
        for future in futures:
            future.add_done_callback(lambda future: sys.exit(4))
        open_gate("others")
        print(sum(future.result(20) for future in futures))
    kinds = {record.exc_info[0].__name__ for record in records if record.exc_info}
    print(sorted(kinds))

# expected:
# None True
# 190
# ['KeyboardInterrupt', 'SystemExit', 'ZeroDivisionError']
