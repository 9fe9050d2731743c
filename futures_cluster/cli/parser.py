"""The commands of the command line and their options: what `--help` says.

Covers: names, defaults, help and examples. Does not cover: reading the text of an option (``option_types``), what a
command does (``cli``, ``commands``).
"""

from __future__ import annotations

import argparse
from typing import Any

from futures_cluster import __version__
from futures_cluster.cli import option_types as types
from futures_cluster.numbers import MAX_SECONDS

PRELOAD = "MODULE[:CLASS]"


def _add_command(commands: Any, name: str, help: str, description: str, example: str) -> Any:
    """Add a command whose help describes it, and ends with an example."""
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_count(
    parser: argparse.ArgumentParser, name: str, help: str, least: int = 1, default: int | None = None
) -> None:
    parser.add_argument(name, type=types.count(least), default=default, metavar="N", help=help)


def _add_seconds(
    parser: argparse.ArgumentParser, name: str, default: float, help: str, least: float = 0, most: float = MAX_SECONDS
) -> None:
    parser.add_argument(name, type=types.seconds(least, most), default=default, metavar="SECONDS", help=help)


def _add_file(parser: argparse.ArgumentParser, name: str, help: str, type: Any = types.output_file) -> None:
    parser.add_argument(name, type=type, metavar="FILE", help=help)


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address", type=types.address, help="of the scheduler, such as tcp://host:8786, or a file with it"
    )
    _add_security(parser)


def _add_security(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls", metavar="FOLDER", help="certificates, as `futures-cluster certificates` makes them")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="use no secret: any process that can reach the address can run code as this user",
    )


def _add_list(parser: argparse.ArgumentParser, name: str, metavar: str, help: str, type: Any = str) -> None:
    parser.add_argument(name, type=type, action="append", default=[], metavar=metavar, help=f"{help}; may be repeated")


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    help = "drop peers silent for this many seconds (default: 60); closed connections are detected at once"
    _add_seconds(parser, "--silence", 60.0, help, least=0.5, most=1e6)


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
    scheduler.add_argument(
        "--port", type=types.count(0, 65535), default=8786, help="0 for any free port (default: 8786)"
    )
    scheduler.add_argument("--listen", action="append", metavar="ADDRESS", help="listen here instead (repeatable)")
    scheduler.add_argument(
        "--status-port",
        type=types.port,
        metavar="PORT",
        help="port of the status page; 0 for any free one, none for no page (default: 8787, or any if taken)",
    )
    scheduler.add_argument(
        "--status-host",
        default="127.0.0.1",
        metavar="HOST",
        help="address of the status page; unless it is of this machine, its URL has a token (default: 127.0.0.1)",
    )
    limit = "let running tasks of all clients take at most N together, for with_options(limits=...)"
    _add_list(scheduler, "--limit", "NAME=N", limit, types.limits)
    _add_file(scheduler, "--address-file", "write the address to a file, for batch systems")
    _add_security(scheduler)
    _add_logs(scheduler)
    _add_list(scheduler, "--preload", PRELOAD, "shared objects and plugins, see docs/guides/extending.md")

    worker = _add_command(
        commands,
        "worker",
        help="start workers on this machine, for a scheduler",
        description="Start worker processes for a scheduler, and start them again when they die. The first Ctrl-C or\n"
        "SIGTERM hands over what only they hold and leaves; the second leaves at once.",
        example="futures-cluster worker tcp://host:8786 --workers 4 --memory-limit 4GB --resources GPU=1",
    )
    _add_connection(worker)
    _add_count(worker, "--workers", "number of processes (default: cores / threads)")
    _add_count(worker, "--threads", "tasks at a time in each process", default=1)
    worker.add_argument(
        "--memory-limit", type=types.number_of_bytes, metavar="SIZE", help='limit of each process: "2GB"'
    )
    worker.add_argument("--resources", type=types.amounts, default={}, metavar="NAME=N,...", help="of each process")
    worker.add_argument(
        "--name",
        type=types.name,
        help="of the worker, for with_options(workers=...) (default: host and process)",
    )
    worker.add_argument("--host", default="", help="address at which other machines reach this one (default: detected)")
    worker.add_argument("--local-directory", metavar="FOLDER", help="for results that do not fit into memory")
    _add_seconds(worker, "--wait", 60.0, "maximum time to wait for a scheduler that is not there yet (default: 60)")
    how_long = "maximum time to wait for a scheduler that is gone (default: leave at once)"
    _add_seconds(worker, "--reconnect", 0.0, how_long)
    _add_logs(worker)
    what = "a module or a plugin for each worker process, before it takes tasks, see docs/guides/extending.md"
    _add_list(worker, "--preload", PRELOAD, what)

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
        type=types.seconds(0.05, 1e6),
        nargs="?",
        const=1.0,
        metavar="SECONDS",
        help="show it again and again, until Ctrl-C (default: every second)",
    )
    _add_count(status, "--number", "with --watch: stop after this number of updates")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")

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


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; ``command`` is the name of the command."""
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
    _add_count(demo, "--workers", "number of workers (default: one per core)")
    _add_count(demo, "--settings", "number of settings to try (default: 60)", default=60)
    _add_count(demo, "--rows", "only the first N flights, for a quick look", least=1000)
    demo.add_argument("--backend", metavar="NAME", help="as in Executor(backend=...): processes, threads, sync")
    _add_file(demo, "--report", "write the status page of the run to one HTML file")
    _add_file(demo, "--plot", "draw the answers into an image file (needs matplotlib)", types.picture_file)
    _add_cluster_commands(commands)
    return parser
