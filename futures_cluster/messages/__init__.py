"""The vocabulary: what clients, the scheduler and the workers say to each other.

Covers: one class a message; the same objects are the events and the commands of the pure machines and,
packed as ``[code, fields...]``, the messages on the wire (see ``wire.frames``). ``Reference`` is the base of
``Future``: a key that stands for a result.
Does not cover: how messages travel, and what they do to the state of a machine. One module has those between two
parties; all names are to be had from here.

The way of a task: ``SubmitTasks`` (client to scheduler) -> ``RunTasks`` (scheduler to worker) ->
``TasksStarted``, ``TasksFinished`` (worker to scheduler) -> ``TasksDone`` (scheduler to client) ->
``ReleaseKeys`` (client to scheduler) -> ``DropData`` (scheduler to worker).

Hot messages carry batches, and inside them plain tuples instead of objects (their layout is named beside
each field), because making and packing an object for each task would cost more than scheduling it.

A *payload* is opaque to both machines. Between processes it is ``bytes`` (a pickle) or a list
``[pickle, buffers]`` (see ``wire.serialize``); inside one process it is the object itself.
"""

from __future__ import annotations

from dataclasses import fields

from futures_cluster.messages.basics import (
    CANCELLED,
    DEFAULT_OPTIONS,
    FAILED,
    FINISHED,
    SCATTERED_OPTIONS,
    Key,
    Message,
    Payload,
    PlainValue,
    Reference,
    TaskOptions,
)
from futures_cluster.messages.clients import (
    AskShared,
    CancelTasks,
    ClientJoined,
    ClientLeft,
    ReleaseFunctions,
    ReleaseKeys,
    ReportMissing,
    RetireWorkers,
    ScatterData,
    SharedReply,
    SharedTaken,
    SubmitTasks,
    TasksDone,
    TasksRecomputing,
    TasksRunning,
    WithdrawShared,
)
from futures_cluster.messages.cluster import (
    Answer,
    AskScheduler,
    Heartbeat,
    Observe,
    PeersLost,
    ShareCode,
    WorkerEnded,
    WorkerReport,
)
from futures_cluster.messages.local import (
    DataFetched,
    DataPut,
    ExecuteRuns,
    FetchData,
    PayloadsFreed,
    Retire,
    RunsEnded,
    RunWaits,
    Tick,
    ToClient,
    ToWorker,
)
from futures_cluster.messages.peers import Data, GetData, Hello, PutData, SegmentsMapped
from futures_cluster.messages.workers import (
    KEEP,
    REPORT_START,
    CopyData,
    DataAdded,
    DropData,
    ForgetFunctions,
    ReturnTasks,
    RunTasks,
    SlotsChanged,
    StopWorker,
    TasksFinished,
    TasksReturned,
    TasksStarted,
    WorkerJoined,
    WorkerLost,
    WorkerRetiring,
    WorkersBroken,
)

__all__ = [
    "Answer",
    "AskScheduler",
    "AskShared",
    "CANCELLED",
    "CancelTasks",
    "ClientJoined",
    "ClientLeft",
    "CopyData",
    "DEFAULT_OPTIONS",
    "Data",
    "DataAdded",
    "DataFetched",
    "DataPut",
    "DropData",
    "ExecuteRuns",
    "FAILED",
    "FINISHED",
    "FetchData",
    "ForgetFunctions",
    "GetData",
    "Heartbeat",
    "Hello",
    "KEEP",
    "Key",
    "Message",
    "Observe",
    "Payload",
    "PayloadsFreed",
    "PeersLost",
    "PlainValue",
    "PutData",
    "REPORT_START",
    "Reference",
    "ReleaseFunctions",
    "ReleaseKeys",
    "ReportMissing",
    "Retire",
    "RetireWorkers",
    "ReturnTasks",
    "RunTasks",
    "RunWaits",
    "RunsEnded",
    "SCATTERED_OPTIONS",
    "ScatterData",
    "SegmentsMapped",
    "ShareCode",
    "SharedReply",
    "SharedTaken",
    "SlotsChanged",
    "StopWorker",
    "SubmitTasks",
    "TaskOptions",
    "TasksDone",
    "TasksFinished",
    "TasksRecomputing",
    "TasksReturned",
    "TasksRunning",
    "TasksStarted",
    "Tick",
    "ToClient",
    "ToWorker",
    "WithdrawShared",
    "WorkerEnded",
    "WorkerJoined",
    "WorkerLost",
    "WorkerReport",
    "WorkerRetiring",
    "WorkersBroken",
    "WIRE_MESSAGES",
    "field_names",
]


WIRE_MESSAGES: tuple[type[Message], ...] = (
    Hello,
    ClientJoined,
    ClientLeft,
    SubmitTasks,
    CancelTasks,
    ReleaseKeys,
    ReleaseFunctions,
    ReportMissing,
    WorkerJoined,
    WorkerLost,
    WorkerRetiring,
    WorkersBroken,
    SlotsChanged,
    TasksStarted,
    TasksFinished,
    TasksReturned,
    DataAdded,
    RunTasks,
    ReturnTasks,
    DropData,
    ForgetFunctions,
    StopWorker,
    TasksRunning,
    TasksDone,
    TasksRecomputing,
    GetData,
    Data,
    SegmentsMapped,
    Heartbeat,
    WorkerEnded,
    PeersLost,
    ShareCode,
    AskScheduler,
    Answer,
    ScatterData,
    RetireWorkers,
    CopyData,
    PutData,
    AskShared,
    WithdrawShared,
    SharedTaken,
    SharedReply,
    Observe,
    WorkerReport,
)


def field_names(message: type[Message]) -> tuple[str, ...]:
    """The fields of a message class, in the order in which they are packed."""
    return tuple(f.name for f in fields(message))  # type: ignore[arg-type]
