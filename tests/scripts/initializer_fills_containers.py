"""An initializer changes module-level containers and class attributes in place."""

# contexts: default fork spawn forkserver
# modes: file -c

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
SETTINGS = {"unit": "m"}
HANDLERS = []


class Registry:
    known = {}
    default = None


def init():
    SETTINGS["unit"] = "km"
    HANDLERS.append(len)
    HANDLERS.append(convert)
    Registry.known["km"] = 1000
    Registry.default = "km"


def convert(text):
    return f"{text} {SETTINGS['unit']}"


def handle(text):
    return [handler(text) for handler in HANDLERS], Registry.known, Registry.default


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT, initializer=init) as pool:
        print(pool.submit(handle, "ab").result())
        print(pool.submit(convert, "cd").result())
    print(SETTINGS, HANDLERS, Registry.known, Registry.default)
