"""``logging.basicConfig(level=INFO)`` in the script: records of tasks appear, by level, logger and handler."""

# contexts: default fork
# modes: file -c module
# compare: stdout exit stderr

import logging
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
logger = logging.getLogger("app")
quiet = logging.getLogger("quiet")


def work(x):
    logger.debug("not shown %s", x)
    logger.info("working on %s", x)
    logging.warning("careful with %(x)s", {"x": x})
    quiet.info("not shown")
    quiet.error("shown by quiet")
    return x


def fail():
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("it failed")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(funcName)s: %(message)s")
    quiet.setLevel(logging.ERROR)
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(work, [1, 2])))
        pool.submit(fail).result()
    logger.info("the script")
