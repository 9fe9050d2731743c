"""``pdb.post_mortem`` and the frames of a failed task: file, line, text and names of the script."""

# modes: file module

import io
import pdb
from concurrent.futures import ProcessPoolExecutor


def inner(x):
    y = x + 1
    return [][y]


def outer(x):
    return inner(x)


if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(outer, 1).exception()
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("where\nup\nlist\nquit\n"), stdout=out)
    debugger.reset()
    debugger.interaction(None, error.__traceback__ if not hasattr(debugger, "_exception") else error)
    text = out.getvalue()
    print("return [][y]" in text, "return inner(x)" in text, "inner()" in text, "post_mortem.py(12)" in text)

# expected:
# True True True True
