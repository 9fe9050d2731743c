"""Functions as their clients tell them to the scheduler: pickled once, named by their content.

Covers: deciding whether a function has to be pickled again, and forgetting those that no thread can submit again.
Does not cover: workers, which unpickle a function once for each id (``execution``).

A function of a module pickles by reference: once is enough. One that does not (of ``__main__``, a lambda, a closure)
is pickled again unless its code, its defaults, what its closure cells hold and the globals it refers to, directly or by
way of others, are the very same objects as last time; when it dies, the scheduler and the workers forget it. Any other
callable (a bound method, a partial) may change between two calls: it travels as an argument of each call (``call``).
"""

from __future__ import annotations

import hashlib
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster.messages import Payload
from futures_cluster.wire.codec import pickling, programs
from futures_cluster.wire.codec.main_modules import mains

if TYPE_CHECKING:
    from futures_cluster.services.client.module_news import ModuleNews

#: Between what a function is and whose tasks it runs, in its id.
OWNED_BY = "@"

News = tuple[str, str, Payload]


def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the function of every task whose callable travels as its first argument."""
    return fn(*args, **kwargs)


def function_name(fn: Callable[..., Any]) -> str:
    """Return a name for people and for the statistics of durations.

    Examples
    --------
    >>> function_name(len), function_name("".join)
    ('len', 'str.join')
    """
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if name is None:
        inner = getattr(fn, "func", None)  # a partial
        name = getattr(inner, "__name__", None) or type(fn).__name__
    return str(name).rpartition("<locals>.")[2]


class _ByValue:
    """A function that was pickled by value, and the objects of which the pickle was made.

    What its closure holds is held weakly, where that is possible: functions may refer back to this one, which must be
    able to die.
    """

    __slots__ = ("called", "function_id", "name", "ref", "traits", "watched")

    def __init__(
        self,
        fn: types.FunctionType,
        function_id: str,
        name: str,
        watched: list[pickling.Watched],
        seen: dict[types.FunctionType, None] | None = None,
    ) -> None:
        self.ref: Callable[[], Any] = weakref.ref(fn)
        self.function_id = function_id
        self.name = name
        self.traits = programs.traits(fn)
        self.watched = watched
        # Functions in the closure are in the pickle by value, and what their closures hold.
        seen = {} if seen is None else seen
        seen[fn] = None
        self.called: list[_ByValue] = []
        for value in map(programs.content, fn.__closure__ or ()):
            if type(value) is types.FunctionType and value.__module__ == fn.__module__ and value not in seen:
                self.called.append(_ByValue(value, "", "", [], seen))

    def is_current(self, fn: types.FunctionType | None) -> bool:
        """Return whether the function would pickle to the same again; cheap."""
        if fn is None or self.ref() is not fn or not programs.traits_are(self.traits, fn):
            return False
        if self.watched and not pickling.is_unchanged(self.watched):
            return False
        return not self.called or all(entry.is_current(entry.ref()) for entry in self.called)


class FunctionTable:
    """What one client has told the scheduler.

    Parameters
    ----------
    dump : callable
        From a function to its payload, and the names that this depends on; None if the function has a name of its own
        that can be imported (``pickling.dump_function``).
    scope : Scope
        Of the workers.
    on_dead : callable
        Called with the id of a function that no thread can submit again, at any time and in any thread.
    """

    def __init__(
        self,
        dump: Callable[[Callable[..., Any]], tuple[Payload, Any]],
        on_dead: Callable[[str], None],
        scope: pickling.Scope = pickling.HERE,
    ) -> None:
        self._dump = dump
        self._on_dead = on_dead
        self._scope = scope
        self._by_reference: dict[Any, tuple[str, str]] = {}
        self._by_value: dict[int, _ByValue] = {}  # by id of the function
        self._registered: dict[str, None] = {}
        self._alive: dict[str, int] = {}  # functions by value for each id
        self.modules: ModuleNews | None = None  # of a program that tells workers which modules it has loaded

    def look_up(self, fn: Callable[..., Any]) -> tuple[str, str, News | None, bool]:
        """Return the id of a function.

        Returns
        -------
        function : str
            Its id.
        name : str
            For people.
        news : tuple or None
            ``(id, name, payload)`` to tell the scheduler before the first task that uses it. The caller calls
            ``mark_registered`` then, and not before: another thread could submit the function in between.
        as_argument : bool
            Whether ``fn`` is to be the first argument of the call.

        Raises
        ------
        Exception
            When the function does not pickle.
        """
        by_value = self._by_value.get(id(fn))
        if by_value is not None and by_value.function_id in self._registered and by_value.is_current(fn):  # type: ignore[arg-type]
            return by_value.function_id, by_value.name, None, False
        kind = type(fn)
        if kind is types.FunctionType or kind is types.BuiltinFunctionType or kind is type:
            known = self._by_reference.get((fn, pickling.owner(self._scope)) if mains.is_host else fn)
            if known is not None and known[0] in self._registered:
                return known[0], known[1], None, False
            found = self._look_up_function(fn, kind)
            if found is not None:
                return found
        name = function_name(fn)
        function_id = f"call {name}{OWNED_BY}{pickling.owner(self._scope)}"
        is_registered = function_id in self._registered
        if self.modules is not None and (self.modules.is_behind or not is_registered):
            self.modules.look(fn)
        news = None if is_registered else (function_id, name, self._dump(call)[0])
        return function_id, name, news, True

    def named(self, fn: Callable[..., Any], name: str) -> tuple[str, News | None]:
        """Return id and news of a function that pickles by reference, by task name."""
        function_id = f"{name} by {fn.__name__}{OWNED_BY}{pickling.owner(self._scope)}"
        if function_id in self._registered:
            return function_id, None
        if self.modules is not None:
            self.modules.look(fn)
        return function_id, (function_id, name, self._dump(fn)[0])

    def _look_up_function(self, fn: Callable[..., Any], kind: type) -> tuple[str, str, News | None, bool] | None:
        if kind is types.BuiltinFunctionType and not isinstance(getattr(fn, "__self__", None), types.ModuleType | None):
            return None  # a method of an object
        payload, watched = self._dump(fn)
        if self.modules is not None:
            self.modules.look(fn)
        name = function_name(fn)
        content = payload if watched is not None else pickling.without_head(payload)
        function_id = hashlib.sha1(content, usedforsecurity=False).hexdigest()[:20]
        if watched is not None:
            if kind is not types.FunctionType:
                return None  # a class by value: it is an argument, so that nothing has to remember it
            self._register_by_value(fn, function_id, name, watched)
        else:
            owner = pickling.owner(self._scope)
            function_id += f"{OWNED_BY}{owner}"
            self._by_reference[(fn, owner) if mains.is_host else fn] = (function_id, name)
        news = None if function_id in self._registered else (function_id, name, payload)
        return function_id, name, news, False

    def mark_registered(self, function_id: str) -> None:
        """Take note that the scheduler gets the function before later tasks."""
        self._registered[function_id] = None

    def forget(self, scope: str) -> None:
        """Drop the functions of a client that is gone."""
        end = f":{scope}"
        for key, (function_id, _) in list(self._by_reference.items()):
            if function_id.endswith(end):
                self._by_reference.pop(key, None)
        for function_id in list(self._registered):
            if function_id.endswith(end) and self._registered.pop(function_id, self) is None:
                self._on_dead(function_id)

    def _register_by_value(self, fn: Any, function_id: str, name: str, watched: list[pickling.Watched]) -> None:
        before = self._by_value.get(id(fn))
        self._by_value[id(fn)] = _ByValue(fn, function_id, name, watched)
        self._alive[function_id] = self._alive.get(function_id, 0) + 1
        if before is not None and before.ref() is fn:  # its finalizer is there; it has changed since
            self._not_used(before.function_id)
        else:
            weakref.finalize(fn, self._died, id(fn)).atexit = False

    def _died(self, identity: int) -> None:
        entry = self._by_value.pop(identity, None)
        if entry is not None:
            self._not_used(entry.function_id)

    def _not_used(self, function_id: str) -> None:
        left = self._alive.get(function_id, 0) - 1
        if left > 0:
            self._alive[function_id] = left
            return
        self._alive.pop(function_id, None)
        if self._registered.pop(function_id, self) is None:
            self._on_dead(function_id)
