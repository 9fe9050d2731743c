"""A program whose modules can no longer be read once its executor has started, as after ``os.setuid``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from futures_cluster.services.launch import fork_server_process

pytestmark = pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")

#: After its first task this program can import nothing.
PROGRAM = """
import concurrent.futures, importlib.abc, multiprocessing, sys, time
{imports}
from futures_cluster import Executor, as_completed, wait

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        refused.append(name)
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

class Mistake(Exception):
    pass

def fail():
    raise Mistake("as planned")

LARGE = 2**20
DONE_WITHOUT = {{"crick", "cloudpickle", "cloudpickle.cloudpickle"}}  # a better sketch; is it importable?
refused = []
ex = Executor(2, mp_context={context})
first = ex.submit(abs, -1)
sys.meta_path.insert(0, Nothing())
assert first.result() == 1
assert len(ex.submit(bytes, LARGE).result()) == LARGE
assert ex.submit(len, bytes(LARGE)).result() == LARGE
assert ex.submit(len, ex.submit(bytes, LARGE)).result() == LARGE
assert ex.submit(len, ex.scatter(bytes(LARGE))).result() == LARGE
assert list(ex.map({function}, [1, -2], chunksize=2)) == [1, 2]
assert type(ex.submit(fail).exception()) is Mistake
futures = [ex.submit(bytes, LARGE) for _ in range(3)]
assert [len(future.result()) for future in as_completed(futures)] == 3 * [LARGE]
assert not wait([ex.submit(bytes, LARGE)]).not_done
called = concurrent.futures.Future()
ex.submit(bytes, LARGE).add_done_callback(lambda future: called.set_result(len(future.result())))
assert called.result() == LARGE
{extra}
assert type(ex.with_options(timeout=0.05).submit(time.sleep, 60).exception()).__name__ == "TaskTimeout"
assert ex.submit(abs, -1).result() == 1
last = ex.submit(bytes, LARGE)
ex.shutdown()
assert len(last.result()) == LARGE
print(sorted(set(refused) - DONE_WITHOUT))
"""
ARRAYS = """
assert ex.submit(numpy.sum, numpy.ones(LARGE)).result() == LARGE
assert ex.submit(numpy.ones, LARGE).result().sum() == LARGE
assert ex.submit(lambda array: array.sum(), ex.scatter(numpy.ones(LARGE))).result() == LARGE
"""


BY_VALUE, FORK = ("None", "lambda x: abs(x)"), ("multiprocessing.get_context('fork')", "abs")


@pytest.mark.parametrize(
    ("start", "imports", "extra"),
    [(BY_VALUE, "", ""), (BY_VALUE, "import numpy", ARRAYS), (FORK, "", "")],
    ids=["bytes", "arrays", "fork"],
)
def test_nothing_is_imported_once_the_executor_has_started(start: tuple[str, str], imports: str, extra: str) -> None:
    if imports:
        pytest.importorskip("numpy")
    context, function = start
    program = PROGRAM.format(imports=imports, extra=extra, context=context, function=function)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)
