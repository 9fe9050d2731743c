"""Functions and classes that the script makes by ``exec`` and ``eval`` in its own namespace."""

# contexts: default fork
# modes: file -c stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
exec(
    """
def made(x):
    return Made(x + base)
class Made:
    def __init__(self, x):
        self.x = x
base = 1
"""
)

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        item = pool.submit(made, 4).result()  # noqa: F821
        print(item.x, type(item) is Made)  # noqa: F821
