"""``logging.exception`` and the functions of ``traceback`` work on the exceptions of tasks."""

# modes: file -c ipython

import io
import linecache
import logging
import traceback
from concurrent.futures import ProcessPoolExecutor

# %%
stream = io.StringIO()
logger = logging.getLogger("of the script")
logger.addHandler(logging.StreamHandler(stream))
logger.propagate = False


def broken(x):
    local = x
    return 1 // local


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(broken, 0).exception()
        try:
            raise error
        except ZeroDivisionError:
            logger.exception("failed")
        print("in broken" in stream.getvalue(), "ZeroDivisionError" in stream.getvalue())
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "broken"]
        print(len(frames), frames[0].lineno == broken.__code__.co_firstlineno + 2)
        print(frames[0].filename == broken.__code__.co_filename)
        text = traceback.TracebackException.from_exception(error, capture_locals=True)
        print("broken" in "".join(text.format()))
        walked = [(frame.f_code.co_name, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        print(("broken", frames[0].lineno) in walked)
        source = linecache.getline(broken.__code__.co_filename, frames[0].lineno)
        print(source.strip() in ("return 1 // local", ""))
        empty = [line for line in traceback.format_exception(error) if not line.strip()]
        print(empty, "^" in frames[0]._line if getattr(frames[0], "_line", None) else False)

# expected:
# True True
# 1 True
# True
# True
# True
# True
# [] False
