"""The programs of a cluster: a scheduler, the workers of one machine, questions to a scheduler.

Covers: what runs in the process of each command, signals, logs, what is printed at the start. Does not cover: parsing
the command line (``cli``), the services themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import itertools
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from futures_cluster import clocks
from futures_cluster.services.client.remote_cluster import RemoteCluster
from futures_cluster.services.client.shared_objects import load_extension, worker_plugin
from futures_cluster.services.launch import supervisor
from futures_cluster.services.observe.page_thread import DEFAULT_PORT
from futures_cluster.services.scheduler.server import SchedulerServer
from futures_cluster.status import table
from futures_cluster.wire.transports import registry

#: Records that the collector of cycles looks at; the machines make none, and a million tasks are a million objects.
GC_THRESHOLDS = (100_000, 20, 100)


class EventFormatter(logging.Formatter):
    """One line an event: further lines of a text are indented, and what a terminal would obey is escaped.

    So no text that a peer has sent can pass for an event of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        return table.plain_lines(super().format(record), "\n    ")


def set_up_logs(level: str) -> None:
    """Write events to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level.upper())


def _on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the first Ctrl-C or SIGTERM; the second one ends the process."""
    loop = asyncio.get_running_loop()

    def first(number: int) -> None:
        for other in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(other)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)


def run_scheduler(
    listeners: Sequence[tuple[str, registry.Security]],
    silence_s: float,
    started: Callable[[SchedulerServer], None],
    limits: dict[str, float],
) -> None:
    """Run a scheduler until Ctrl-C or SIGTERM.

    Parameters
    ----------
    listeners : sequence of (str, Security)
        Addresses to listen at, each with what peers must prove there.
    limits : dict
        Limits that tasks of all clients share.

    Raises
    ------
    OSError
        When it cannot listen.
    """

    async def serve() -> None:
        end = asyncio.Event()
        async with SchedulerServer(asyncio.get_running_loop(), silence_s) as server:
            server.declare_limits(limits)
            for address, security in listeners:
                await server.listen(address, security)
            _on_signals(end.set)
            started(server)
            await end.wait()

    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()
    asyncio.run(serve())


def check_for_workers(path: str) -> None:
    """Refuse a path for ``--preload`` that no worker can load.

    Workers import a module themselves; only what is named as a class is imported here, too, to look at it.

    Raises
    ------
    ValueError
        When there is no such module or class, or the class is no plugin of workers.
    """
    if ":" in path:
        _load(path, worker_plugin)
        return
    _search_here()
    if importlib.util.find_spec(path.partition(".")[0]) is None:
        raise _no_module(path, path)


def preload(path: str) -> None:
    """Import what an option names, also from this folder, and register it.

    Raises
    ------
    ValueError
        When there is no such module or class, or the class is none that a scheduler takes.
    """
    _load(path, load_extension)


def _load(path: str, load: Callable[[str], Any]) -> None:
    _search_here()
    module, _, name = path.partition(":")
    try:
        load(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another: its traceback says where
        raise _no_module(path, error.name) from None
    except AttributeError as error:
        if not name or error.obj is not sys.modules.get(module):
            raise
        raise ValueError(f"--preload {path}: the module {module!r} has no {name!r}; correct the name") from None
    except TypeError as error:
        raise ValueError(f"--preload {path}: {error}") from None


def _search_here() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _no_module(path: str, module: str) -> ValueError:
    return ValueError(
        f"--preload {path}: there is no module {module!r} in {os.getcwd()} or on the path of this Python; "
        f"correct the name, or add the folder of the module to PYTHONPATH"
    )


def run_worker(offer: supervisor.WorkerNodeConfig) -> None:
    """Run the workers of this machine until a signal or the scheduler's end."""
    asyncio.run(supervisor.run(offer, _on_signals))


@contextlib.contextmanager
def _connected(address: str, security: registry.Security) -> Iterator[Callable[..., Any]]:
    """Connect to a scheduler; give what asks it questions.

    A snapshot comes without the client that asks for it.
    """
    cluster = RemoteCluster(address, security, lambda key, client: None)

    def ask(what: str, argument: Any = None) -> Any:
        answer = cluster.ask(what, argument)
        if isinstance(answer, dict) and "clients" in answer:
            return {**answer, "clients": [name for name in answer["clients"] if name != cluster.client.name]}
        return answer

    try:
        yield ask
    finally:
        cluster.shutdown(wait=True)


def ask(address: str, security: registry.Security, what: str, argument: Any = None) -> Any:
    """Ask a scheduler one question."""
    with _connected(address, security) as ask:
        return ask(what, argument)


#: Moves the cursor to the upper left corner; clears the rest of the line, and of the screen.
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(address: str, security: registry.Security, interval_s: float, number: int | None, out: TextIO) -> int:
    """Show the table of a cluster again and again, until Ctrl-C."""
    is_terminal = out.isatty()
    former: dict[str, Any] | None = None
    with _connected(address, security) as ask, contextlib.suppress(KeyboardInterrupt):  # that is how one leaves
        for turn in itertools.count(1):
            snapshot = ask("status")
            text = table.status(snapshot, clocks.time(), former, interval_s)
            former = snapshot
            if is_terminal:
                width, height = shutil.get_terminal_size()
                lines = [line[:width] + CLEAR_LINE for line in text.splitlines()[: height - 1]]
                clear = "\x1b[2J" if turn == 1 else ""
                out.write(clear + HOME + "\n".join(lines) + "\n" + CLEAR_REST)
            else:
                out.write(text + "\n\n")
            out.flush()
            if number is not None and turn >= number:
                break
            clocks.sleep(interval_s)
    return 0


def serve_page(server: SchedulerServer, host: str, port: int | None) -> str:
    """Serve the status page of a scheduler; return its address, or why there is none.

    Parameters
    ----------
    port : int or None
        -1 for no page. None for the usual one, or another one when that is taken.

    Raises
    ------
    OSError
        When a port that was asked for is taken.
    """
    if port is not None:
        return "none" if port < 0 else server.serve_page(host, port)
    try:
        return server.serve_page(host, DEFAULT_PORT)
    except OSError as error:
        with contextlib.suppress(OSError):
            return f"{server.serve_page(host, 0)} (port {DEFAULT_PORT} is taken)"
        return f"none: {error}"


def reachable(address: str) -> str:
    """Return an address for others, of one that may stand for all of this machine's.

    Examples
    --------
    >>> reachable("tcp://10.0.0.1:8786")
    'tcp://10.0.0.1:8786'
    """
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    return f"{scheme}://{socket.gethostname()}:{port}" if host in ("0.0.0.0", "[::]") else address


def forwarded(addresses: Sequence[str]) -> str:
    """Return the first of these addresses that a port forward can reach, or "".

    Examples
    --------
    >>> forwarded(["unix:///run/user/1/s.sock", "tcp://10.0.0.1:8786#node-1:8786"])
    'tcp://localhost:PORT#node-1:8786'
    """
    for address in addresses:
        scheme, _, rest = address.partition("://")
        if scheme in ("tcp", "tls"):
            return f"{scheme}://localhost:PORT#{rest.partition('#')[2]}"
    return ""


def write_address(path: str, address: str) -> None:
    """Write the address to a file for scripts, which never see a part of it."""
    with open(path + ".new", "w") as file:
        file.write(address + "\n")
    os.replace(path + ".new", path)


def read_address(text: str) -> str:
    """Return an address, or what stands in a file with one.

    Raises
    ------
    ValueError
        For anything else.
    """
    if "://" in text:
        return text
    with contextlib.suppress(OSError, UnicodeDecodeError), open(text) as file:
        address = file.read().strip()
        if "://" not in address or "\n" in address:  # not shown: it may be a secret
            raise ValueError(f"the file {text!r} has no address like tcp://host:8786")
        return address
    raise ValueError(f"{text!r} is neither an address like tcp://host:8786 nor a file with one")
