"""What a scheduler takes from whom: the rules of the connections to a scheduler of its own.

Covers: the roles that a connection can have, the messages that each may send, in whose name and with which contents.
Does not cover: what follows (``server``), the handshake before (``wire.handshake``).

The first message is ``Hello``. A client speaks for itself alone, and so does a worker, whose tasks may submit as a
client of the same name. Anything else ends the connection: a peer that breaks the rules is not one of ours.
"""

from __future__ import annotations

import re

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.messages import Message
from futures_cluster.services.scheduler import report_checks
from futures_cluster.wire import contents

CLIENT, WORKER, MANAGER = "client", "worker", "manager"
ROLES = (CLIENT, WORKER, MANAGER)
#: Characters of a name, and of an address.
MAX_NAME, MAX_ADDRESS = 255, 4096
_WITHOUT_ENCODING = re.compile("[\ud800-\udfff]")

#: The field that says in whose name a message is sent, which has to be the sender's; "" if there is none.
_FROM_CLIENTS: dict[type[Message], str] = {
    m.ClientJoined: "client",
    m.SubmitTasks: "client",
    m.CancelTasks: "client",
    m.ReleaseKeys: "client",
    m.ReleaseFunctions: "client",
    m.ReportMissing: "reporter",
    m.ScatterData: "client",
    m.AskShared: "client",
    m.WithdrawShared: "client",
    m.SharedTaken: "client",
    m.AskScheduler: "",
    m.Heartbeat: "sender",
}
_FROM_WORKERS: dict[type[Message], str] = {
    **_FROM_CLIENTS,
    m.WorkerConnected: "worker",
    m.WorkerRetiring: "worker",
    m.SlotsChanged: "worker",
    m.TasksStarted: "worker",
    m.TasksFinished: "worker",
    m.TasksReturned: "worker",
    m.DataAdded: "worker",
    m.WorkerReport: "worker",
    m.LogRecords: "worker",
}
ACCEPTED: dict[str, dict[type[Message], str]] = {
    CLIENT: {**_FROM_CLIENTS, m.ShareCode: "client", m.LogSettings: "client"},
    WORKER: _FROM_WORKERS,
    MANAGER: {m.WorkerEnded: "", m.RetireWorkers: "", m.Heartbeat: "sender"},
}


def check(role: str, name: str, message: Message) -> None:
    """Refuse messages that a peer's role, name or their contents do not allow.

    Of what a worker says of itself only the facts are left that this version knows.

    Raises
    ------
    ProtocolError
        With what was wrong.
    """
    field = ACCEPTED[role].get(type(message))
    if field is None:
        raise ProtocolError(f"a {role} sends no {type(message).__name__}")
    if field and getattr(message, field) != name:
        raise ProtocolError(f"{name!r} sent a {type(message).__name__} in the name of {getattr(message, field)!r}")
    contents.check(message)
    if isinstance(message, m.Heartbeat):
        message.facts = report_checks.heartbeat(message.facts)
    elif isinstance(message, m.WorkerReport):
        message.facts = report_checks.report(message.facts)
    elif isinstance(message, m.WorkerConnected):
        _check_worker(message)


def is_line(text: str) -> bool:
    """Return whether a text forges no lines of logs and no texts on terminals.

    A byte that is not UTF-8 forges nothing: logs and terminals get an escape in its place.
    """
    return _WITHOUT_ENCODING.sub("", text).isprintable()


def check_text(field: str, text: str, most: int = MAX_NAME) -> None:
    """Refuse a name that could forge lines of logs and texts on terminals.

    Raises
    ------
    ProtocolError
        If it has characters that are not printable, or too many.
    """
    if len(text) > most or not is_line(text):
        raise ProtocolError(f"{field} must have at most {most} characters, all printable, got {text[:MAX_NAME]!r}")


def _check_worker(message: m.WorkerConnected) -> None:
    """Refuse what a worker says of itself if it is no text for a line.

    Raises
    ------
    ProtocolError
        With the field.
    """
    check_text("WorkerConnected.address", message.address, MAX_ADDRESS)
    check_text("WorkerConnected.host", message.host)
    check_text("WorkerConnected.manager", message.manager, 2 * MAX_NAME)
    check_text("WorkerConnected.incarnation", message.incarnation)
    for name in message.resources:
        check_text("WorkerConnected.resources", str(name))


def check_hello(messages: list[Message]) -> m.Hello:
    """Return the first message of a connection, of its first frame.

    Raises
    ------
    ProtocolError
        When it is anything else, or the peer is unknown.
    """
    if not messages:
        raise ProtocolError("the first frame was empty and had no Hello")
    message = messages[0]
    if not isinstance(message, m.Hello):
        raise ProtocolError(f"the first message was a {type(message).__name__} and not a Hello")
    contents.check(message)
    if message.role not in ROLES or not message.name:
        raise ProtocolError(f"a Hello of role {message.role[:MAX_NAME]!r} and name {message.name[:MAX_NAME]!r}")
    # The name of a manager is that of its workers with its host and process.
    check_text("Hello.name", message.name, MAX_NAME if message.role != MANAGER else 2 * MAX_NAME)
    for package, version in message.versions.items():
        check_text("Hello.versions", f"{package} {version}")
    return message
