"""The text of a failed task's traceback: file, line, function and source of each frame of the script."""

# contexts: default fork spawn forkserver tcp
# modes: file module

import os
import traceback
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def parse(text):
    numbers = [int(part) for part in text.split()]
    return numbers


class Reader:
    def read(self, text):
        return parse(text)


def chained(text):
    try:
        parse(text)
    except ValueError as error:
        raise LookupError("no numbers") from error


def nested(text):
    def inner():
        return Reader().read(text)

    return inner()


def show(error):
    lines = "".join(traceback.format_exception(error)).splitlines()
    for line, source in zip(lines, [*lines[1:], ""], strict=True):
        if "File" in line and os.path.basename(__file__) in line and "<module>" not in line:
            print(line.strip())
            print(source.strip())
    print(lines[-1])


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        show(pool.submit(parse, "1 x").exception())
        show(pool.submit(Reader().read, "y").exception())
        show(pool.submit(chained, "z").exception())
        show(pool.submit(nested, "w").exception())
        try:
            list(pool.map(parse, ["1", "v"]))
        except ValueError as error:
            print(error)
