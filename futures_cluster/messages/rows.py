"""The rows of batches: what each tuple inside of a message consists of.

Covers: the layout of each kind of row, once for the messages, for the code that packs and unpacks rows, and for the
check of frames, which takes their lengths from here. Does not cover: the range of each value (``wire.contents``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from futures_cluster.messages.basics import Key, Payload, TaskOptions

FunctionId: TypeAlias = str  # the digest of a function's pickle
Holder: TypeAlias = tuple[str, str]  # a worker that has data, its address
Priority: TypeAlias = tuple[int, ...]  # the levels, and the number of the assignment, so that workers keep the order

# ---------------------------------------------------------------- tasks

TaskRow: TypeAlias = tuple[Key, FunctionId, Payload, Sequence[Key]]  # ..., arguments, dependencies
FunctionRow: TypeAlias = tuple[FunctionId, str, Payload]  # ..., its name, its pickle
OptionsRow: TypeAlias = tuple[Key, TaskOptions]
CallRow: TypeAlias = tuple[Key, str]  # ..., digest of function, arguments and inputs
#: ..., FINISHED or FAILED or CANCELLED, payload or None, size_bytes, ...
DoneRow: TypeAlias = tuple[Key, str, Payload, int, Sequence[Holder]]

# ---------------------------------------------------------------- runs: attempts of workers at tasks

AttemptRow: TypeAlias = tuple[Key, int]  # ..., attempt
InputRow: TypeAlias = tuple[Key, int, Payload, Sequence[Holder]]  # ..., size_bytes, payload or None, ...
#: ..., attempt, function, arguments, priority, inputs, flags
RunRow: TypeAlias = tuple[Key, int, FunctionId, Payload, Priority, Sequence[InputRow], int]
#: ..., attempt, payload or None if the result stays on the worker, size_bytes, duration_s
FinishedRow: TypeAlias = tuple[Key, int, Payload, int, float]
FailedRow: TypeAlias = tuple[Key, int, Payload, float]  # ..., attempt, payload of the error, duration_s

# ---------------------------------------------------------------- data

DataRow: TypeAlias = tuple[Key, Payload]
SizeRow: TypeAlias = tuple[Key, int]  # ..., size_bytes
ScatterRow: TypeAlias = tuple[Key, int, str]  # ..., size_bytes, worker that has it
CopyRow: TypeAlias = tuple[Key, int, Sequence[Holder]]  # ..., size_bytes, ...
MissingRow: TypeAlias = tuple[Key, str]  # ..., worker that was said to have it

# ---------------------------------------------------------------- modules and logs

FileRow: TypeAlias = tuple[str, bytes]  # its name, its content
VersionRow: TypeAlias = tuple[str, str, int, int, str]  # module, file, changed_ns, size, digest
LevelRow: TypeAlias = tuple[str, int]  # name of a logger, level
LogRow: TypeAlias = tuple[Key, bytes]  # of the task or "", a record: see services.common.log_records
