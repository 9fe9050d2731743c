"""Log records and warnings as opaque bytes, and back.

Covers: what of a record travels. Does not cover: the way (``log_forwarder``, ``log_relay``, ``log_receiver``).

The message of a record is formatted on the worker, its exception and stack are texts: what they were made of may not
pickle, or may have changed by the time it arrives. Each value given as ``extra`` is pickled alone: one that does not
pickle, or does not unpickle at the client, becomes a text, and the rest of the record is not affected.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
import warnings
from itertools import starmap
from types import FrameType
from typing import Any

from futures_cluster.services.common.worker_settings import PROCESS_NAME

#: Characters of a message, a traceback or a stack.
MAX_TEXT = 2**16
#: Bytes of one value given as ``extra``, pickled; values of one record.
MAX_EXTRA_BYTES = 2**14
MAX_EXTRAS = 50

_SMALL = frozenset((int, float, bool, type(None)))
_REPLACED = frozenset(("msg", "args", "exc_info"))
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) - _REPLACED
#: What does not travel; formatters leave the last two in a record.
_FORMATTED = _REPLACED | {"message", "asctime"}
_formatter = logging.Formatter()


def pack_record(record: logging.LogRecord) -> bytes:
    """Pack a log record.

    Raises
    ------
    Exception
        What formatting its message raises.
    """
    fields: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in record.__dict__.items():
        if name in _STANDARD:
            fields[name] = _plain(value)
        elif name not in _FORMATTED and len(extras) < MAX_EXTRAS:
            extras[str(name)] = _pack_extra(value)
    fields["msg"] = _short(record.getMessage())
    exc_info: Any = record.exc_info
    if exc_info and not record.exc_text:
        fields["exc_text"] = _short(_formatter.formatException(exc_info))
    return pickle.dumps(("record", fields, extras))


def _plain(value: Any) -> Any:
    """Return a small value, or its text."""
    if type(value) in _SMALL:
        return value
    try:
        return _short(value + "" if isinstance(value, str) else repr(value))
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {error!r}>"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT:,} characters more)"


def _pack_extra(value: Any) -> Any:
    """Return a plain value, or a pickle; its repr if it does not pickle, or is large."""
    if type(value) not in _SMALL and type(value) is not str:
        with contextlib.suppress(Exception):
            data = pickle.dumps(value)
            if len(data) <= MAX_EXTRA_BYTES:
                return data
    return _plain(value)


def pack_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int) -> bytes:
    """Pack a warning of ``warnings.showwarning``, called by our caller's function."""
    names = [(cls.__module__, cls.__qualname__) for cls in category.__mro__ if issubclass(cls, Warning)]
    module = _module_of(filename, lineno, sys._getframe(1))
    return pickle.dumps(("warning", _short(str(message)), names, str(filename), int(lineno), module))


def _module_of(filename: str, lineno: int, frame: FrameType | None) -> str | None:
    """Return the module of a warning, if its line is being executed."""
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            name = frame.f_globals.get("__name__")
            return name if isinstance(name, str) else None
        frame = frame.f_back
    return None


def handle(data: bytes, worker: str, key: str, registry: dict[Any, Any]) -> None:
    """Hand what was packed to this process's loggers and warnings.

    Parameters
    ----------
    registry : dict
        Where ``warnings`` remembers what it has shown.

    Raises
    ------
    BaseException
        What handlers raise.
    """
    kind, *values = pickle.loads(data)
    if kind == "warning":
        _warn(registry, *values)
        return
    fields, extras = values
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["levelno"]):
        logger.handle(_make_record(fields, extras, worker, key))


def _make_record(fields: dict[str, Any], extras: dict[str, Any], worker: str, key: str) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": "", "args": None, "exc_info": None})
    # Since this process has loaded logging, as in all its records; workers have loaded it at another time.
    since_ms = record.relativeCreated - (record.created - fields["created"]) * 1000
    record.__dict__.update(fields)
    record.relativeCreated = since_ms
    if not (name := logging.getLevelName(record.levelno)).startswith("Level "):
        record.levelname = name
    if (record.processName or "").startswith(PROCESS_NAME):  # which more than one program of a cluster may have
        record.processName = worker
    for name, value in extras.items():
        if type(value) is bytes:
            try:
                value = pickle.loads(value)
            except Exception as error:
                value = f"<did not unpickle: {error!r}>"
        record.__dict__[name] = value
    record.__dict__.setdefault("worker_name", worker)
    record.__dict__.setdefault("task_key", key)
    return record


def _warn(registry: Any, text: str, names: list[Any], filename: str, lineno: int, module: str | None) -> None:
    category = next(filter(None, starmap(find_category, names)), UserWarning)
    try:
        warnings.warn_explicit(text, category, filename, lineno, module, registry)
    except Warning as error:  # this process wants an error, but the task has gone on
        warnings.showwarning(error, type(error), filename, lineno)


def find_category(module: str, qualname: str) -> type[Warning] | None:
    """Return the class of warnings of this name, if its module is loaded."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None
