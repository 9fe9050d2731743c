"""A file handler of the script: each record of a task is in the file once."""

# contexts: default fork
# modes: file stdin

import logging
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
logger = logging.getLogger("app")


def work(x):
    logger.info("value %s", x, extra={"unit": "m"})
    logger.debug("detail %s", x, extra={"unit": "m"})


if __name__ == "__main__":
    handler = logging.FileHandler("log.txt")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(unit)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    handler.addFilter(lambda record: "3" not in record.getMessage())
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        list(pool.map(work, range(4)))
    print(*sorted(open("log.txt").read().splitlines()), sep="\n")
