"""The vocabulary: what clients, the scheduler and the workers say to each other.

Covers: one class a message; the same objects are the events and the commands of the pure machines and,
packed as ``[code, fields...]``, the messages on the wire (see ``wire.frames``). ``Reference`` is the base of
``Future``: a key that stands for a result.
Does not cover: how messages travel, and what they do to the state of a machine. One module has those between two
parties; this package exports all names of all of them, as its users need them side by side.

The way of a task: ``SubmitTasks`` (client to scheduler) -> ``RunTasks`` (scheduler to worker) ->
``TasksStarted``, ``TasksFinished`` (worker to scheduler) -> ``TasksDone`` (scheduler to client) ->
``ReleaseKeys`` (client to scheduler) -> ``DropData`` (scheduler to worker).

Hot messages carry batches, and inside them plain tuples instead of objects (``rows`` names their layouts), because
making and packing an object for each task would cost more than scheduling it.

A *payload* is opaque to both machines. Between processes it is ``bytes`` (a pickle) or a list
``[pickle, buffers]`` (see ``wire.codec.payloads``); inside one process it is the object itself.
"""

# ruff: noqa: F403, F405  (mypy knows the names)

from __future__ import annotations

from futures_cluster.messages.basics import *
from futures_cluster.messages.clients import *
from futures_cluster.messages.cluster import *
from futures_cluster.messages.local import *
from futures_cluster.messages.logs import *
from futures_cluster.messages.peers import *
from futures_cluster.messages.rows import *
from futures_cluster.messages.workers import *

#: What is sent; the place of each is its code.
WIRE_MESSAGES: tuple[type[Message], ...] = (
    Hello,
    ClientJoined,
    ClientLeft,
    SubmitTasks,
    CancelTasks,
    ReleaseKeys,
    ReleaseFunctions,
    ReportMissing,
    WorkerConnected,
    WorkerGone,
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
    AskReply,
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
    LogSettings,
    LogRecords,
    Retire,
    RelayData,
    TasksWaiting,
)

for _code, _cls in enumerate(WIRE_MESSAGES):
    _cls.code = _code
