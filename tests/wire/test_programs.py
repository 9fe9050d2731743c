"""A program's definitions: what travels, what is written where they arrive, and what is left alone.

Two processes are played by two sets of programs: what is dumped here is loaded as if the sender were elsewhere.
"""

from __future__ import annotations

import builtins
import importlib
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster.wire.codec import main_modules, pickling, programs
from futures_cluster.wire.codec.main_modules import MAIN, MP_MAIN, MainModules
from futures_cluster.wire.codec.programs import Program


class Sender:
    """A script that runs here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.main = types.ModuleType(MAIN)
        monkeypatch.setitem(sys.modules, MAIN, self.main)

    def run(self, source: str) -> None:
        exec(compile(source, "script.py", "exec"), vars(self.main))

    def send(self, text: str) -> bytes:
        """A call's function, as it travels."""
        data: bytes = pickling.dump_function(eval(text, vars(self.main)))[0]
        return data


class Receiver:
    """A worker: loads what it gets into programs of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._programs: dict[str, Program] = {}

    def load(self, data: bytes) -> Any:
        with self._monkeypatch.context() as patched:
            patched.setattr(programs, "_programs", self._programs)
            return pickling.loads(data)

    def call(self, data: bytes, *args: Any) -> Any:
        return self.load(data)(*args)

    @property
    def space(self) -> dict[str, Any]:
        (program,) = self._programs.values()
        return program.spaces[MAIN]


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    known, homes = dict(programs._programs), dict(programs._homes)
    yield Sender(monkeypatch)
    programs._programs.clear()
    programs._programs.update(known)
    programs._homes.clear()
    programs._homes.update(homes)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    return Receiver(monkeypatch)


def test_a_global_that_a_task_sets_is_seen_by_later_ones(sender: Sender, receiver: Receiver) -> None:
    sender.run("n = 0\ndef bump():\n    global n\n    n += 1\n    return n\ndef read(): return n")
    assert [receiver.call(sender.send("bump")) for _ in range(3)] == [1, 2, 3]
    assert receiver.call(sender.send("read")) == 3
    assert receiver.call(sender.send("lambda: n")) == 3
    assert sender.main.n == 0


def test_only_what_the_client_binds_again_is_written(sender: Sender, receiver: Receiver) -> None:
    sender.run("n = 0\ndef bump():\n    global n\n    n += 1\n    return n")
    receiver.call(sender.send("bump"))
    sender.run("def other(): return n")  # a new function that refers to the same name
    assert receiver.call(sender.send("other")) == 1
    sender.run("n = 10")
    assert receiver.call(sender.send("bump")) == 11
    assert receiver.call(sender.send("other")) == 11


def test_what_an_initializer_sets_stays(sender: Sender, receiver: Receiver) -> None:
    sender.run("model = None\ndef init():\n    global model\n    model = 'loaded'\ndef use(): return model")
    receiver.call(sender.send("init"))
    assert receiver.call(sender.send("use")) == "loaded"


def test_a_name_that_a_task_made_is_replaced_by_what_the_client_binds_later(sender: Sender, receiver: Receiver) -> None:
    sender.run("def task():\n    global helper\n    helper = 1")
    receiver.call(sender.send("task"))
    sender.run("def helper(): return 'function'\ndef use(): return helper()")
    assert receiver.call(sender.send("use")) == "function"


def test_a_deleted_name_is_gone(sender: Sender, receiver: Receiver) -> None:
    sender.run("x = 1\ndef f(): return x")
    assert receiver.call(sender.send("f")) == 1
    del sender.main.x
    with pytest.raises(NameError):
        receiver.call(sender.send("f"))
    sender.main.x = 2
    assert receiver.call(sender.send("f")) == 2


def test_a_name_that_is_bound_after_its_function_has_travelled(sender: Sender, receiver: Receiver) -> None:
    sender.run("def f(): return later")
    with pytest.raises(NameError):
        receiver.call(sender.send("f"))
    sender.run("later = 1")
    assert receiver.call(sender.send("f")) == 1


@pytest.mark.parametrize("value", ["Thing()", "lambda: 1", "{1}", "[1]", "'text'"])
def test_a_name_that_is_bound_to_none(sender: Sender, receiver: Receiver, value: str) -> None:
    """Values are held weakly, and a reference to what is gone gives None as well."""
    sender.run(f"class Thing: pass\nx = {value}\ndef f(): return x is None\ndef g(): return f()")
    names, watched = ["f", "g"], pickling.dump_function(sender.main.g)[1]
    assert [receiver.call(sender.send(name)) for name in names] == [False, False]
    assert watched is not None and pickling.is_unchanged(watched)
    sender.run("x = None")
    assert not pickling.is_unchanged(watched)
    assert [receiver.call(sender.send(name)) for name in names] == [True, True]


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("def f(): return 1", False),
        ("def f(n=3): return n and f(n - 1)", True),
        ("def g(): return f\ndef f(): return g", True),
        ("def f(g=lambda: f): return g", True),
    ],
    ids=["alone", "recursive", "by way of another", "by way of a default"],
)
def test_a_pickle_depends_on_the_functions_own_name_only_if_it_is_read(
    sender: Sender, receiver: Receiver, source: str, changes: bool
) -> None:
    sender.run(source)
    former = sender.main.f
    data, watched = pickling.dump_function(former)
    assert watched is not None and pickling.is_unchanged(watched)
    sender.run("def f(): return 'another'")
    assert pickling.is_unchanged(watched) is not changes
    assert receiver.load(data).__code__.co_code == former.__code__.co_code


def test_a_function_that_is_bound_to_none(sender: Sender, receiver: Receiver) -> None:
    sender.run("hook = lambda: 1\ndef f(): return hook() if hook else 0")
    assert receiver.call(sender.send("f")) == 1
    sender.run("hook = None")
    assert receiver.call(sender.send("f")) == 0


def test_functions_that_share_a_variable_go_on_sharing_it(sender: Sender, receiver: Receiver) -> None:
    sender.run(
        "def make():\n    n = 0\n    def add(x):\n        nonlocal n\n        n += x\n    def get(): return n\n"
        "    return add, get\nadd, get = make()\nboth = dict(zip('ab', make()))"
    )
    receiver.call(sender.send("add"), 2)
    assert receiver.call(sender.send("get")) == 2
    shared = receiver.call(sender.send("lambda: both"))
    shared["a"](3)
    assert shared["b"]() == 3


def test_what_a_made_function_uses_comes_with_each_name_that_holds_it(sender: Sender, receiver: Receiver) -> None:
    sender.run(
        "k = 1\ndef make():\n    def f(self=None): return k\n    return f\nclass C:\n    go = make()\nf = make()"
    )
    sender.run("x = C()")
    sender.send("lambda: (x, f)")
    late = receiver  # gets only what the later ones need
    assert late.call(sender.send("lambda: C().go()")) == 1
    assert late.call(sender.send("f")) == 1


def test_a_recursive_closure(sender: Sender, receiver: Receiver) -> None:
    sender.run(
        "def make():\n    def even(n): return n == 0 or odd(n - 1)\n    def odd(n): return n != 0 and even(n - 1)\n"
        "    return even\neven = make()"
    )
    assert receiver.call(sender.send("even"), 10)


def test_subclasses_come_with_their_class(sender: Sender, receiver: Receiver) -> None:
    sender.run("class Base: pass\nclass A(Base): n = 1\nclass B(A): n = 2")
    assert receiver.call(sender.send("lambda: [c.n for c in Base.__subclasses__()]")) == [1]
    assert receiver.call(sender.send("lambda: [c.n for c in Base.__subclasses__()[0].__subclasses__()]")) == [2]


def test_names_in_annotations_that_are_texts(sender: Sender, receiver: Receiver) -> None:
    import typing

    sender.run("class X: pass\nclass D:\n    x: 'list[X]'\ndef f(a: 'X') -> 'D': return D")
    function = receiver.load(sender.send("f"))
    hints = typing.get_type_hints(function)
    assert hints == {"a": receiver.space["X"], "return": receiver.space["D"]}
    (hint,) = typing.get_type_hints(function(1), receiver.space).values()
    assert typing.get_args(hint) == (receiver.space["X"],)


def test_a_nested_class_keeps_its_qualified_name(sender: Sender, receiver: Receiver) -> None:
    sender.run("class Outer:\n    class Inner: pass")
    assert receiver.call(sender.send("lambda: Outer.Inner")).__qualname__ == "Outer.Inner"


def test_a_context_variable_has_its_value(sender: Sender, receiver: Receiver) -> None:
    sender.run("import contextvars\nv = contextvars.ContextVar('v')\nw = contextvars.ContextVar('w', default=1)")
    sender.run("v.set('set')\ndef f(): return v.get(), w.get()")
    assert receiver.call(sender.send("f")) == ("set", 1)


def test_objects_of_another_script(sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython's ``%run`` gives a script a ``__main__`` of its own, and copies its names afterwards."""
    script = types.ModuleType(MAIN)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, MAIN, script)
        exec("k = 5\ndef helper(): return k\nclass C:\n    def go(self): return helper()", vars(script))
        pickling.dump_function(script.C)
    vars(sender.main).update({name: vars(script)[name] for name in ("k", "helper", "C")})
    assert receiver.call(sender.send("lambda: C().go()")) == 5
    assert receiver.load(pickling.dumps(script.C())).go() == 5


def test_an_object_that_two_names_share_stays_one(sender: Sender, receiver: Receiver) -> None:
    """Within one batch, and between one that travelled before and a default, a closure or a class of a later one."""
    sender.run(
        "_MISSING = object()\ncache = {}\nalias = cache\ndef f(x=_MISSING): return x is _MISSING, alias is cache"
    )
    assert receiver.call(sender.send("f")) == (True, True)
    sender.run(
        "class C:\n    default = _MISSING\n    def ask(self, c=cache): return self.default is _MISSING, c is cache"
    )
    assert receiver.call(sender.send("lambda: C().ask()")) == (True, True)
    assert receiver.call(sender.send("lambda x=_MISSING, c=cache: (x is _MISSING, c is cache)")) == (True, True)
    assert receiver.call(sender.send("(lambda m: lambda: m is _MISSING)(_MISSING)")) is True


def test_an_argument_is_a_copy(sender: Sender, receiver: Receiver) -> None:
    sender.run("shared = [1]\ndef f(): return shared")
    kept = receiver.call(sender.send("f"))
    assert receiver.load(pickling.dumps(sender.main.shared)) is not kept


def test_old_tasks_run_the_old_function(sender: Sender, receiver: Receiver) -> None:
    """A worker that starts late gets tasks of a function that has been defined again meanwhile."""
    sender.run("def f(): return 'old'")
    old = sender.send("f")
    sender.run("def f(): return 'new'")
    new = sender.send("f")
    assert receiver.call(new) == "new"
    assert receiver.call(old) == "old"
    assert receiver.space["f"]() == "new"


def test_an_object_has_the_class_that_it_had_when_it_was_sent(sender: Sender, receiver: Receiver) -> None:
    sender.run("class C:\n    n = 1\nold = C()")
    first = pickling.dumps(sender.main.old)
    assert receiver.load(first).n == 1
    sender.run("class C:\n    n = 2")
    assert receiver.load(pickling.dumps(sender.main.C())).n == 2
    assert receiver.load(first).n == 1
    assert receiver.load(pickling.dumps(sender.main.old)).n == 1


def test_batches_come_in_any_order_and_more_than_once(sender: Sender, receiver: Receiver) -> None:
    sender.run("class Base:\n    def hi(self): return 'hi'\nk = 1\ndef f(): return k")
    first = sender.send("f")
    base = sender.send("lambda: Base()")
    sender.run("class Derived(Base): pass\nk = 2")
    derived, second = sender.send("lambda: Derived().hi()"), sender.send("f")
    assert receiver.call(second) == 2
    assert receiver.call(derived) == "hi"
    assert isinstance(receiver.call(sender.send("lambda: Derived()")), receiver.call(base).__class__)
    receiver.load(first)
    assert receiver.space["k"] == 2


def test_what_has_not_changed_is_not_captured_again(sender: Sender) -> None:
    sender.run("k = 1\ndef g(): return k\ndef f(): return g()")
    sender.send("f")
    program = programs.home()
    before = dict(program.batches)
    sender.send("f")
    sender.send("lambda: f()")
    assert program.batches == before
    sender.run("k = 2")
    sender.send("f")
    assert len(program.batches) == len(before) + 1


def test_batches_that_were_replaced_are_forgotten(sender: Sender) -> None:
    sender.run("def f(): return k")
    for number in range(50):
        sender.main.k = number
        sender.send("f")
    assert len(programs.home().batches) == 2


def test_only_what_is_read_travels(sender: Sender, receiver: Receiver) -> None:
    """Not what is set, and not what only has the name of an attribute."""
    with open("/dev/null") as file:
        sender.main.made = sender.main.item = file
        sender.run("def f(x):\n    global made\n    made = 1\n    return x.item")
        assert receiver.call(sender.send("f"), types.SimpleNamespace(item=5)) == 5


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Event", "Condition", "Semaphore", "local"])
def test_each_process_has_synchronization_of_its_own(sender: Sender, receiver: Receiver, kind: str) -> None:
    sender.run(f"import threading\nthing = threading.{kind}()\ndef f(): return thing")
    made = receiver.call(sender.send("f"))
    assert type(made) is type(sender.main.thing)
    assert made is not sender.main.thing
    assert receiver.call(sender.send("f")) is made


def test_a_lock_among_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="lock"):
        pickling.dumps(threading.Lock())


def test_a_global_that_cannot_travel_is_named(sender: Sender) -> None:
    sender.run("def inner(): return log\ndef f(): return inner()")
    with open("/dev/null") as sender.main.log:
        told = r"'inner' uses the global 'log' of __main__.*initializer.*mp_context"
        with pytest.raises(pickle.PicklingError, match=told):
            sender.send("f")
    sender.main.log = "text"
    assert sender.send("f")


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return x[..., 0]",
        "rest = ...\ndef f(x): return x[rest, 0]",
        "rest = NotImplemented\ndef f(x): return x[..., 0] if rest is NotImplemented else None",
        "def f(x, rest=..., other={1: (lambda: ...)}): return x[rest, 0]",
    ],
)
def test_constants_that_pickle_by_name_and_have_no_module(sender: Sender, receiver: Receiver, source: str) -> None:
    sender.run(source)
    assert receiver.call(sender.send("f"), {(..., 0): 5}) == 5


def test_a_partialmethod_in_a_class(sender: Sender, receiver: Receiver) -> None:
    sender.run(
        "import functools\n"
        "class C:\n"
        "    def add(self, a, b, *, c): return a, b, c\n"
        "    of_one = functools.partialmethod(add, 1, c=3)\n"
        "    def f(): return C().of_one(2)\n"
    )
    assert receiver.call(sender.send("C.f")) == (1, 2, 3)


@pytest.mark.skipif(not hasattr(builtins, "sentinel"), reason="needs Python 3.15")
def test_a_sentinel_stays_the_one_that_its_name_is_bound_to(sender: Sender, receiver: Receiver) -> None:
    sender.run("no = sentinel('no', repr='<no>')\ndef f(x=no): return x is no, repr(x), x.__module__, x.__name__")
    assert receiver.call(sender.send("f")) == (True, "<no>", MAIN, "no")


def test_what_is_imported_lazily_is_imported_when_a_task_uses_it(sender: Sender, receiver: Receiver) -> None:
    sender.run(
        "__lazy_modules__ = ['json', 'wsgiref.util', 'collections', 'no_such_module']\n"
        "import json, wsgiref.util\n"
        "from collections import OrderedDict\n"
        "if __import__('sys').version_info >= (3, 15):\n"
        "    import no_such_module\n"
        "def f(): return json.dumps(OrderedDict(a=1)), wsgiref.util.guess_scheme({})\n"
    )
    sent = sender.send("f")
    assert receiver.call(sent) == ('{"a": 1}', "http")
    receiver.call(sent)
    assert sender.send("f") == sent  # by then the names are bound as the program's own use would bind them


def test_a_closure_of_a_module_that_imports_lazily(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lazy_helpers.py").write_text(
        "__lazy_modules__ = ['json', 'wsgiref.util']\nimport json, wsgiref.util\n"
        "def make(): return lambda x: (json.dumps(x), wsgiref.util.guess_scheme({}))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lazy_helpers", raising=False)
    lazy_helpers = importlib.import_module("lazy_helpers")
    assert pickling.loads(pickling.dumps(lazy_helpers.make()))([1]) == ("[1]", "http")


def test_a_traceback_can_be_a_value() -> None:
    try:
        raise ValueError
    except ValueError as error:
        sent = error.__traceback__
    assert sent is not None
    back = pickling.loads(pickling.dumps({"traceback": sent}))["traceback"]
    assert (back.tb_lineno, back.tb_frame.f_code.co_filename) == (sent.tb_lineno, __file__)


def test_each_client_has_classes_of_its_own(sender: Sender, receiver: Receiver) -> None:
    sender.run("class C:\n    n = 0\ndef bump():\n    C.n += 1\n    return C.n")
    sent = [pickling.dump_function(sender.main.bump, pickling.Scope(name))[0] for name in ("one", "two", "one")]
    assert [receiver.call(data) for data in sent] == [1, 1, 2]


def test_standard_streams_are_those_of_the_other_process(sender: Sender, receiver: Receiver) -> None:
    sender.run("import sys\nout = sys.__stderr__\ndef f(): return out")
    assert receiver.call(sender.send("f")) is sys.__stderr__


def test_plain_pickle_finds_names(sender: Sender) -> None:
    sender.run("class Point:\n    def __init__(self, x): self.x = x")
    data = pickling.dumps(sender.main.Point(5))
    assert pickling.is_marked(data)
    assert type(pickling.loads(data)) is sender.main.Point  # at home it is the class itself


def test_by_reference_nothing_of_main_travels(sender: Sender) -> None:
    sender.run("k = 5\ndef f(): return k\nclass C: pass")
    data, watched = pickling.dump_function(sender.main.f, scope=pickling.Scope(by_reference=True))
    assert watched is None
    assert pickle.loads(data) is sender.main.f
    # A lambda travels by value, with the other process's globals.
    by_value = pickling.dump_function(
        eval("lambda: k + 1", vars(sender.main)), scope=pickling.Scope(by_reference=True)
    )[0]
    sender.main.k = 10
    assert pickle.loads(by_value)() == 11
    assert type(pickle.loads(pickling.dumps(sender.main.C(), scope=pickling.Scope(by_reference=True)))) is sender.main.C
    sender.run("def local():\n    class Local: pass\n    return Local()")
    assert pickle.loads(pickling.dumps(sender.main.local(), scope=pickling.Scope(by_reference=True)))


def test_code_keeps_the_name_of_its_file(sender: Sender, receiver: Receiver) -> None:
    sender.run("def f(): return 1")
    assert receiver.load(sender.send("f")).__code__.co_filename == "script.py"
    assert receiver.load(sender.send("lambda: 1")).__code__.co_filename == "<string>"


def test_source_that_is_in_no_file_travels(sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    import linecache

    monkeypatch.setitem(linecache.cache, "script.py", (18, None, ["def f(): return 1\n"], "script.py"))
    sender.run("def f(): return 1")
    data = sender.send("f")
    monkeypatch.delitem(linecache.cache, "script.py")
    receiver.load(data)
    assert linecache.getline("script.py", 1) == "def f(): return 1\n"
    del linecache.cache["script.py"]


class TestMainModules:
    """Whose ``__main__`` a thread of a worker sees."""

    @pytest.fixture
    def mains(self, monkeypatch: pytest.MonkeyPatch, sender: Sender) -> MainModules:
        mains = MainModules()
        for module in (main_modules, programs):
            monkeypatch.setattr(module, "mains", mains)
        monkeypatch.setitem(sys.modules, MAIN, types.ModuleType(MAIN))
        monkeypatch.setitem(sys.modules, MP_MAIN, types.ModuleType(MP_MAIN))
        return mains

    def test_a_worker_of_ours_belongs_to_the_first_program(self, mains: MainModules) -> None:
        mains.become_host()
        space = programs.get("a").space(MAIN)
        assert vars(sys.modules[MAIN]) is space
        assert sys.modules[MP_MAIN] is sys.modules[MAIN]
        assert not mains.is_per_thread

    def test_a_second_program_is_seen_by_its_own_tasks_only(self, mains: MainModules) -> None:
        mains.become_host()
        first, second = programs.get("a"), programs.get("b")
        first.space(MAIN)["who"], second.space(MAIN)["who"] = "a", "b"
        assert mains.is_per_thread
        seen: dict[Any, str] = {}

        def look(program: Program | None) -> None:
            mains.enter(program)
            seen[program] = sys.modules[MAIN].who
            mains.enter(None)  # as at the end of each task; the next thread may have the same identity

        for program in (first, second, None):
            thread = threading.Thread(target=look, args=(program,))
            thread.start()
            thread.join()
        assert seen == {first: "a", second: "b", None: "a"}

    def test_a_thread_that_a_task_starts_is_of_the_program_whose_tasks_run(self, mains: MainModules) -> None:
        mains.become_host()
        first, second = programs.get("a"), programs.get("b")
        first.space(MAIN)["who"], second.space(MAIN)["who"] = "a", "b"
        mains.enter(second)
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(sys.modules[MAIN].who))
        thread.start()
        thread.join()
        mains.enter(None)
        assert seen == ["b"]

    def test_programs_of_a_client_that_is_gone_are_dropped(self, mains: MainModules) -> None:
        mains.become_host()
        first, second = programs.get("a:one"), programs.get("b:two")
        first.space(MAIN)["who"], second.space(MAIN)["who"] = "a", "b"
        mains.enter(first)
        assert programs.forget("one") == []  # its task runs
        mains.enter(None)
        assert programs.forget("one") == [first]
        assert programs.get("a:one") is not first
        assert not hasattr(sys.modules[MAIN], "who")
        mains.enter(second)
        assert sys.modules[MAIN].who == "b"

    def test_in_another_engine_main_stays_what_it_was_outside_of_tasks(self, mains: MainModules) -> None:
        mains.become_host(guest=True)
        sys.modules[MAIN].who = "theirs"  # type: ignore[attr-defined]
        program = programs.get("a")
        program.space(MAIN)["who"] = "a"
        assert sys.modules[MAIN].who == "theirs"
        mains.enter(program)
        assert sys.modules[MAIN].who == "a"
        sys.modules[MAIN].more = 1  # type: ignore[attr-defined]
        assert program.spaces[MAIN]["more"] == 1
        mains.enter(None)
        assert not hasattr(sys.modules[MAIN], "more")
