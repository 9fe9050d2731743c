"""Settings: one named tuple; environment and arguments are read here and nowhere else.

Covers: the arguments of ``Executor``, their checks and defaults, and what the machine offers (cores, quotas).
Does not cover: options of single tasks (``messages.TaskOptions``).
"""

# Annotations are not postponed here: NamedTuple compiles those that are strings, which took two milliseconds.

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, SupportsFloat

from futures_cluster import numbers

BACKEND_VARIABLE = "FUTURES_CLUSTER_BACKEND"
#: The secret that schedulers, workers and clients of one cluster share; see ``wire.credentials``.
SECRET_VARIABLE = "FUTURES_CLUSTER_SECRET"
#: The folder with the certificates for ``tls://``.
CERTIFICATES_VARIABLE = "FUTURES_CLUSTER_TLS"
#: Whether network addresses are used without a secret.
INSECURE_VARIABLE = "FUTURES_CLUSTER_INSECURE"
FORWARD_LOGS_VARIABLE = "FUTURES_CLUSTER_FORWARD_LOGS"
DEBUG_VARIABLE = "FUTURES_CLUSTER_DEBUG"
#: Tells a program that it was started to become the template of worker processes, which removes it.
TEMPLATE_VARIABLE = "FUTURES_CLUSTER_TEMPLATE"
#: Variables that numeric libraries read for the number of their threads.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(value: int | float | str, name: str = "a size") -> int:
    """Return the bytes of a number or text like ``"2GB"``; ``name`` is for errors.

    Raises
    ------
    ValueError
        For a text with another unit, and for anything below one byte or over 256 TiB.

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("1.5 MiB"), parse_bytes(10)
    (2000000000, 1572864, 10)
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([kmgt]i?)?b?\s*", value.lower())
        if match is None:
            raise ValueError(f"{name} must be a size like 500_000_000, '2GB' or '512MiB', got {numbers.shown(value)}")
        number = float(match[1]) * _UNITS[match[2] or ""]
    elif numbers.is_bool(value) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{name} must be a size like 500_000_000, '2GB' or '512MiB', got {numbers.shown(value)}")
    else:
        number = float(value)
    if not 1 <= number <= numbers.MAX_BYTES:
        raise ValueError(f"{name} must be at least one byte and at most 256 TiB, got {numbers.shown(value)}")
    return int(number)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check before long work that its file can be written at the end.

    Raises
    ------
    OSError
        If the path is that of a folder, or a new file cannot be made beside it.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or os.curdir
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "its folder does not exist; create it first", path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder is not writable; choose another one", path)


def usable_cores() -> int:
    """Return the number of usable cores: affinity and quota, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cores()
    return max(1, min(cores, quota) if quota is not None else cores)


def _cgroup_cores() -> int | None:
    def read(path: str) -> str:
        try:
            with open(path) as file:
                return file.read().strip()
        except OSError:
            return ""

    version_1 = "/sys/fs/cgroup/cpu/cpu.cfs_"
    limit = read("/sys/fs/cgroup/cpu.max") or f"{read(f'{version_1}quota_us')} {read(f'{version_1}period_us')}"
    quota, _, period = limit.partition(" ")
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return -int(-cores // 1) if cores > 0 else None


def secret_of_environment() -> str | None:
    """Return what ``FUTURES_CLUSTER_SECRET`` says; None if it is not set, or empty."""
    return os.environ.get(SECRET_VARIABLE) or None


def insecure_of_environment() -> bool:
    """Return whether the environment allows network addresses without a secret.

    Raises
    ------
    ValueError
        If ``FUTURES_CLUSTER_INSECURE`` is neither 0, 1 nor empty.
    """
    return _flag(INSECURE_VARIABLE) or False


def debugs() -> bool:
    """Return whether workers check that tasks do not change their inputs."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _flag(variable: str) -> bool | None:
    """Return what a variable of 0 or 1 says; None if it is not set."""
    value = os.environ.get(variable, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{variable} must be 0, 1 or empty, got {value!r}")
    return None if not value else value == "1"


def started_as_template() -> bool:
    """Return whether this program was started as a fork server, and still is one."""
    return TEMPLATE_VARIABLE in os.environ


def certificates_folder() -> str | None:
    """Return the folder of certificates for ``tls://`` that the environment names."""
    return os.environ.get(CERTIFICATES_VARIABLE) or None


def user_folder() -> str:
    """Return where this user's configuration of the package lies; it may not exist."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # the standard says to ignore others
        base = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "futures_cluster")


class Config(NamedTuple):
    """The settings of one executor."""

    backend: Any
    max_workers: int
    mp_context: Any
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks_per_child: int | None
    memory_limit: int | None  # bytes, per worker
    threads_per_worker: int
    thread_name_prefix: str
    resources: dict[str, float]
    limits: dict[str, float]  # shared by all workers
    resolve: bool  # whether futures in arguments are replaced by their values
    worker_environment: dict[str, str]
    debug: bool  # whether tasks that change their inputs fail
    forward_logs: bool | None  # whether workers' log records come here; None: from processes of this machine
    insecure: bool  # whether the network address of a cluster is used without a secret


def make_config(
    max_workers: int | None = None,
    mp_context: Any = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    *,
    backend: Any = None,
    max_tasks_per_child: int | None = None,
    memory_limit: int | str | None = None,
    threads_per_worker: int = 1,
    thread_name_prefix: str = "",
    resources: dict[str, float] | None = None,
    limits: dict[str, float] | None = None,
    resolve: bool = True,
    forward_logs: bool | None = None,
    insecure: bool = False,
) -> Config:
    """Check the arguments of an executor, and fill in defaults.

    Raises
    ------
    ValueError, TypeError
        For an argument that makes no sense, with what to write instead.
    """
    if backend is None:
        backend = os.environ.get(BACKEND_VARIABLE) or "processes"
    if max_workers is None:
        max_workers = usable_cores()
        if backend == "threads":
            max_workers = min(32, max_workers + 4)  # the standard library's rule: threads often wait
    else:
        kind = "a whole number or None"
        max_workers = numbers.whole("max_workers", max_workers, 1, kind=kind, wanted="greater than 0")
    if sys.platform == "win32" and backend == "processes" and max_workers > 61:
        raise ValueError("max_workers must be <= 61")
    if mp_context is not None and not callable(getattr(mp_context, "get_start_method", None)):
        raise TypeError(
            f"mp_context must be a context such as multiprocessing.get_context('fork'), got {numbers.shown(mp_context)}"
        )
    if not isinstance(thread_name_prefix, str):
        raise TypeError(f"thread_name_prefix must be a str, got {numbers.shown(thread_name_prefix)}")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    if max_tasks_per_child is not None:
        kind = "an integer or None"
        max_tasks_per_child = numbers.whole("max_tasks_per_child", max_tasks_per_child, 1, kind=kind, wanted=">= 1")
        if mp_context is not None and mp_context.get_start_method(allow_none=False) == "fork":
            raise ValueError(
                "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
                "leave mp_context out, or supply another one"
            )
    if not isinstance(insecure, bool):
        raise TypeError(f"insecure must be True or False, got {insecure!r}")
    if forward_logs is not None and not isinstance(forward_logs, bool):
        raise TypeError(f"forward_logs must be True, False or None, got {forward_logs!r}")
    if forward_logs and mp_context is not None and mp_context.get_start_method(allow_none=False) == "fork":
        raise ValueError(
            "forward_logs=True is incompatible with the 'fork' multiprocessing start method, whose workers have the "
            "caller's logging handlers; leave forward_logs out, or supply another start method"
        )
    if forward_logs is None:
        forward_logs = _flag(FORWARD_LOGS_VARIABLE)
    threads_per_worker = numbers.whole("threads_per_worker", threads_per_worker, 1, wanted="at least 1")
    return Config(
        backend=backend,
        max_workers=max_workers,
        mp_context=mp_context,
        initializer=initializer,
        initargs=tuple(initargs),
        max_tasks_per_child=max_tasks_per_child,
        memory_limit=None if memory_limit is None else parse_bytes(memory_limit, "memory_limit"),
        threads_per_worker=threads_per_worker,
        thread_name_prefix=thread_name_prefix,
        resources=numbers.amounts("resources", {} if resources is None else resources),
        limits=numbers.amounts("limits", {} if limits is None else limits, above_zero=True),
        resolve=numbers.flag("resolve", resolve),
        worker_environment={
            name: str(max(1, usable_cores() // (max_workers * threads_per_worker)))
            for name in THREAD_VARIABLES
            if name not in os.environ
        },
        debug=debugs(),
        forward_logs=forward_logs,
        insecure=insecure,
    )
