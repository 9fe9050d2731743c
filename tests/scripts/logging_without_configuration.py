"""Without any configuration warnings of tasks go to stderr, and INFO does not."""

# contexts: default fork
# compare: stdout exit stderr

import logging
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def work(x):
    logging.getLogger("app").info("not shown")
    logging.getLogger("app").warning("shown %s", x)
    return logging.getLogger("app").isEnabledFor(logging.INFO)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(work, 1).result())
