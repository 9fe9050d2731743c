"""``Path`` objects and many entries in ``sys.path`` are no reason for workers not to start."""

# contexts: default fork

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

CONTEXT = None


def use():
    import of_a_path

    return of_a_path.value


if __name__ == "__main__":
    folder = Path("modules")
    folder.mkdir()
    (folder / "of_a_path.py").write_text("value = 3\n")
    sys.path.append(str(folder.absolute()))
    sys.path.append(folder)
    sys.path += [f"/nowhere/{'x' * 100}/{n}" for n in range(2000)]
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(use).result())
