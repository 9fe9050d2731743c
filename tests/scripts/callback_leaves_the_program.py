"""A callback that raises ``SystemExit`` or ``KeyboardInterrupt`` is logged and ends no other task."""

# modes: file

import logging
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

records = []


class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)


def interrupt(future):
    raise KeyboardInterrupt


if __name__ == "__main__":
    logging.getLogger().addHandler(Handler())
    called = threading.Event()
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(abs, -1)
        first.add_done_callback(lambda future: sys.exit(3))
        first.add_done_callback(interrupt)
        first.add_done_callback(lambda future: 1 // 0)
        first.add_done_callback(lambda future: called.set())
        print(first.result(), called.wait(20))
        futures = [pool.submit(abs, -n) for n in range(20)]
        for future in futures:
            future.add_done_callback(lambda future: sys.exit(4))
        print(sum(future.result(20) for future in futures))
    kinds = {record.exc_info[0].__name__ for record in records if record.exc_info}
    print(sorted(kinds))

# expected:
# 1 True
# 190
# ['KeyboardInterrupt', 'SystemExit', 'ZeroDivisionError']
