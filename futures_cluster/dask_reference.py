"""What a future is to Dask: a reference to a task, as Dask's arguments have to be.

Covers: saying so once Dask is loaded. Does not cover: graphs (``adapters``).
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from futures_cluster.messages import Key

#: Futures that Dask has asked what they are, by key.
seen_by_dask: weakref.WeakValueDictionary[Key, Any] = weakref.WeakValueDictionary()


class DaskTaskRef:
    """Part of ``Future``: what Dask asks it."""

    if TYPE_CHECKING:
        key: Key
    else:

        @property
        def __class__(self) -> type:
            """To ``isinstance``, where Dask is loaded, also a reference to a task."""
            spec = sys.modules.get("dask._task_spec")
            if spec is None or not hasattr(spec, "TaskRef") or not self.key:
                return type(self)
            seen_by_dask[self.key] = self  # in its graphs there will only be the key
            return _reference_class(type(self), spec.TaskRef)

    def substitute(self, subs: dict[Any, Any], key: Any = None) -> Any:
        """Return what this argument is to Dask when keys get other names."""
        return sys.modules["dask._task_spec"].TaskRef.substitute(self, subs, key)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "futures_cluster.Future", self.key


@functools.cache
def _reference_class(cls: type, task_ref: Any) -> type:
    """Return the class that Dask sees; no object is of it, and people read its name."""
    return type("Future", (cls, task_ref), {"__module__": cls.__module__})
