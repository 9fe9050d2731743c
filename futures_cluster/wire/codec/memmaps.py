"""Arrays that lie in files: they travel as references to the file, and workers of the same host map it.

Covers: which file an array lies in and where, taking an array apart into a reference and making it again, files of our
own for arrays that several processes change. Does not cover: which arrays travel so (``large``).

    array -> its base whose base is the mmap (``backing``) -> MappedFile, once for all views in a batch of calls
                                                                 |
    array <- the same view <----------------------------- map_file, in the worker

All views in a batch share one mapping of their file, so views that overlap do so on the worker, too.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import pickle
import platform
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

#: What joblib and ``numpy.memmap`` call the ways of mapping a file.
WRITABLE_MODES = ("r+", "w+")
#: Files without a name, of a process that keeps them open.
_OF_PROCESSES = "/proc/"
#: The contents of smaller arrays of a program travel along with the reference to their file.
SMALL_BYTES = 1_000_000
#: The types whose instances may lie in a file.
ARRAYS: tuple[type, ...] = (np.ndarray, np.memmap)


# ---------------------------------------------------------------- where an array lies


def backing(array: Any) -> Any:
    """Return the ``numpy.memmap`` whose memory an array shows a part of, or None."""
    while True:
        base = getattr(array, "base", None)
        if base is None:
            return None
        if isinstance(base, mmap.mmap):
            return array if isinstance(array, np.memmap) and array.mode is not None else None
        array = base


class Mapping(NamedTuple):
    """A part of this process's memory, as the kernel sees it.

    Attributes
    ----------
    path : str
        Of the file that is mapped there; " (deleted)" stands behind the name of a file that no longer has one.
    has_own_pages : bool
        Whether the process has changed pages that it mapped privately.
    """

    path: str
    has_own_pages: bool


def mapping_of(array: Any, looks_at_pages: bool = False) -> Mapping | None:
    """Return the mapping that an array lies in; None where the system does not tell.

    ``looks_at_pages``: otherwise ``has_own_pages`` is False, and the kernel answers faster.
    """
    low = array.__array_interface__["data"][0]
    high = low + array.nbytes
    path, is_inside, has_own_pages = None, False, False
    source = "/proc/self/smaps" if looks_at_pages else "/proc/self/maps"
    with contextlib.suppress(OSError, ValueError), open(source, errors="surrogateescape") as lines:
        for line in lines:
            words = line.split(None, 5)
            if not words[0].endswith(":"):
                start, end = (int(word, 16) for word in words[0].split("-"))
                if start >= high:
                    break
                is_inside = end > low
                if is_inside and path is None:
                    path = words[5].rstrip("\n") if len(words) > 5 else ""
            elif is_inside and words[0] in ("Anonymous:", "Swap:"):
                has_own_pages |= int(words[1]) > 0
    return None if path is None else Mapping(path, has_own_pages)


class MappedFile:
    """A file and the part of it that is mapped. Unpickles as a flat ``numpy.memmap`` of bytes.

    Parameters
    ----------
    path : str
        Its name on this host.
    mode : str
        That of ``numpy.memmap``.
    offset, nbytes : int
        The part.

    Raises
    ------
    OSError
        When there is no file of this name.
    """

    __slots__ = ("_identity", "_mode", "_nbytes", "_offset", "_path")

    def __init__(self, path: str, mode: str, offset: int, nbytes: int) -> None:
        found = os.stat(path)
        self._path = path
        self._identity = (_host(), found.st_dev, found.st_ino)
        self._mode = "r+" if mode == "w+" else mode  # the file is there: it must not be emptied
        self._offset = offset
        self._nbytes = nbytes

    @classmethod
    def of(cls, base: Any) -> MappedFile | None:
        """Return the file of a ``numpy.memmap``; None if it has other data.

        So it is when the file no longer has a name or another file has its name, and when pages of a private mapping
        (mode "c") were changed.
        """
        if base.filename is None:
            return None
        path = os.fspath(base.filename)
        try:
            mapped = None if path.startswith(_OF_PROCESSES) else mapping_of(base, base.mode == "c")
            if mapped is not None:
                is_gone = mapped.path.endswith(" (deleted)")
                is_other = os.path.exists(mapped.path) and not os.path.samefile(mapped.path, path)
                if is_gone or is_other or mapped.has_own_pages:
                    return None
            return cls(path, base.mode, base.offset, base.nbytes)
        except OSError:
            return None

    def __reduce__(self) -> Any:
        return map_file, (self._path, self._identity, self._mode, self._offset, self._nbytes)


@functools.cache
def _host() -> str:
    """Return an id of this host, as copied disks have the same numbers."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return platform.node()


def map_file(path: str, identity: tuple[str, int, int], mode: str, offset: int, nbytes: int) -> Any:
    """Return the part of a file as an array of bytes; called by the unpickler.

    Raises
    ------
    OSError
        When this process does not find the file.
    ValueError
        When the file is shorter than it was.
    """
    what = f"this array lies in the file {path!r}"
    try:
        file = open(path, "r+b" if mode == "r+" else "rb")  # noqa: SIM115
    except OSError as error:
        raise OSError(error.errno, f"{what}, which this worker cannot open: {error.strerror}") from None
    with file:
        found = os.fstat(file.fileno())
        if (_host(), found.st_dev, found.st_ino) != identity:
            raise FileNotFoundError(f"{what}; this worker finds another file of that name. Keep it until the calls end")
        if found.st_size < offset + nbytes:
            raise ValueError(
                f"{what}, which has {found.st_size} bytes by now and had at least {offset + nbytes} when it was mapped"
            )
        return np.memmap(file, np.uint8, mode, offset, (nbytes,))  # type: ignore[call-overload]


# ---------------------------------------------------------------- views


def reduce_view(array: Any, base: Any, file: MappedFile) -> Any:
    """Reduce an array that shows a part of ``base``, which lies in ``file``."""
    first = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    is_memmap = isinstance(array, np.memmap)
    return make_view, (file, is_memmap, array.dtype, array.shape, array.strides, first, array.flags.writeable)


def make_view(flat: Any, is_memmap: bool, dtype: Any, shape: Any, strides: Any, first: int, is_writable: bool) -> Any:
    """Return the array of ``reduce_view``; called by the unpickler."""
    array: Any = np.ndarray(shape, dtype, flat, first, strides)
    if is_memmap:
        array = array.view(np.memmap)
        array.__array_finalize__(flat)  # the name of the file, the mode and flush()
    if not is_writable:
        array.flags.writeable = False
    return array


# ---------------------------------------------------------------- contents


def plain(array: Any) -> Any:
    """Return an array that pickles without a copy, unless it has gaps."""
    array = array.view(np.ndarray)
    return array if array.flags.c_contiguous or array.flags.f_contiguous else np.ascontiguousarray(array)


def reduce_contents(array: Any, is_writable: bool) -> Any:
    """Return how an array pickles as a plain one with the same contents."""
    make, arguments = plain(array).__reduce_ex__(pickle.HIGHEST_PROTOCOL)[:2]
    return make_contents, (make, arguments, is_writable)


def make_contents(make: Any, arguments: Any, is_writable: bool) -> Any:
    """Return the array of ``reduce_contents``; called by the unpickler."""
    array = make(*arguments)
    if is_writable and not array.flags.writeable:
        return array.copy()  # the pickle has the contents of one that was read-only
    array.flags.writeable = is_writable
    return array


# ---------------------------------------------------------------- arrays of a program


def _reduce_of_program(array: Any, has_contents: bool) -> Any:
    """Reduce an array that is a global of the program, or part of a function.

    A task that writes to it writes to the file, as in a process that has the program's memory. On other hosts it finds
    the contents, read-only; small ones travel in any case.
    """
    base = backing(array) if array.size else None
    file = None if base is None else MappedFile.of(base)
    if base is None or file is None:
        return array.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    contents = None
    if has_contents or array.nbytes <= SMALL_BYTES:
        contents = reduce_contents(array, base.mode == "c")[1]
    return make_view_or_contents, (file.__reduce__()[1], reduce_view(array, base, file)[1][1:], contents)


def make_view_or_contents(file: Any, view: Any, contents: Any) -> Any:
    """Make the array of a program, from its file or contents; for unpicklers.

    Raises
    ------
    OSError
        When this host does not have the file, and the contents did not travel.
    """
    try:
        flat = map_file(*file)
    except OSError:
        if contents is None:
            raise
        return make_contents(*contents)
    return make_view(flat, *view)


def _reducers(has_contents: bool) -> dict[type, Callable[[Any], Any]]:
    return dict.fromkeys(ARRAYS, functools.partial(_reduce_of_program, has_contents=has_contents))


#: How arrays pickle that are a part of a program, for workers of this host and for those that may be elsewhere.
REDUCERS, REDUCERS_WITH_CONTENTS = _reducers(False), _reducers(True)


def reduce_result(array: Any) -> Any:
    """Reduce an array for a caller on this host: by its file, if the user's."""
    base = backing(array) if array.size else None
    if base is not None and base.filename is not None and not os.fspath(base.filename).startswith(_OF_PROCESSES):
        file = MappedFile.of(base)
        if file is not None:
            return reduce_view(array, base, file)
    return array.__reduce_ex__(pickle.HIGHEST_PROTOCOL)


# ---------------------------------------------------------------- files of our own


class ArrayFile:
    """An array in a file without a name, which workers of this host map as they would map a file of the user.

    The file is gone with this object, and whatever happens with this process: the mappings of others keep it.

    Parameters
    ----------
    array : numpy.ndarray
        Without Python objects in it.
    mode : str
        How it is mapped: "r", "r+" (all see what one of them writes) or "c".
    folder : str or None
        Where the file is; None for memory.

    Raises
    ------
    OSError
        When there is no room for it.
    """

    __slots__ = ("_array", "_file", "_mapped")

    def __init__(self, array: Any, mode: str, folder: str | None) -> None:
        is_by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        rows = np.ascontiguousarray(array.T if is_by_columns else array)
        if folder is not None:
            folder = os.path.abspath(os.path.expanduser(folder))
            os.makedirs(folder, exist_ok=True)
        if folder is None and hasattr(os, "memfd_create"):
            self._file: Any = open(os.memfd_create("futures_cluster", os.MFD_CLOEXEC), "wb")  # noqa: SIM115
        else:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._file.write(rows.reshape(-1).view(np.uint8))
        self._file.flush()
        self._mapped = MappedFile(f"/proc/{os.getpid()}/fd/{self._file.fileno()}", mode, 0, rows.nbytes)
        strides = rows.strides[::-1] if is_by_columns else rows.strides
        self._array = (array.dtype, array.shape, strides, 0, mode != "r")

    def __reduce__(self) -> Any:
        return make_view, (self._mapped, True, *self._array)

    def spoil(self) -> None:
        """Do nothing: a stopped batch that comes late finds no file, or the same one."""

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
