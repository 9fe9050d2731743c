"""Compressing large buffers between hosts, where that pays.

Covers: which codecs there are, the decision on samples, and both directions. Does not cover: asking for it
(``payloads.dump`` with ``codec``); it is never done between processes of one host.

The decision takes some samples of the flat buffer, spread over it: noise and what is compressed already are recognised
at the price of a few kilobytes. zlib comes with Python; lz4 and zstandard are used if both sides have them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any

from futures_cluster import metrics

#: Smaller buffers are sent as they are.
MIN_BYTES = 64 * 1024
SAMPLES, SAMPLE_BYTES = 5, 4096
#: Samples, and the whole, must become this much smaller.
MAX_RATIO = 0.8
#: Larger buffers are sent as they are: some codecs take no more in one call.
MAX_BYTES = 2**31 - 2**16

Compress = Callable[[memoryview], bytes]
Decompress = Callable[[memoryview, int], Any]


def _zlib() -> tuple[Compress, Decompress]:
    import zlib

    def decompress(data: memoryview, size: int) -> bytes:
        worker = zlib.decompressobj()
        return worker.decompress(data, size + 1)  # no more, whatever it claims

    return lambda data: zlib.compress(data, 1), decompress


def _lz4() -> tuple[Compress, Decompress]:
    block = importlib.import_module("lz4.block")
    return (
        lambda data: bytes(block.compress(data, store_size=False)),
        lambda data, size: block.decompress(data, uncompressed_size=size, return_bytearray=True),
    )


def _zstd() -> tuple[Compress, Decompress]:
    zstandard = importlib.import_module("zstandard")

    def decompress(data: memoryview, size: int) -> Any:
        parameters = zstandard.get_frame_parameters(data)
        if parameters.content_size != size:
            raise ValueError("another size than it should have")
        return zstandard.ZstdDecompressor().decompress(data)

    return lambda data: bytes(zstandard.ZstdCompressor(level=1).compress(data)), decompress


_MAKERS = {"lz4": _lz4, "zstd": _zstd, "zlib": _zlib}  # best first, by speed


@functools.lru_cache(16)  # peers may name as many as they like
def _find(name: str) -> tuple[Compress, Decompress] | None:
    try:
        return _MAKERS[name]()
    except (ImportError, KeyError):
        return None


def available() -> list[str]:
    """Return the codecs of this process, best first, as in ``messages.Hello``."""
    return [name for name in _MAKERS if _find(name) is not None]


def choose(theirs: Iterable[str]) -> str | None:
    """Return the best codec that both have.

    Examples
    --------
    >>> choose(["zlib", "unheard of"])
    'zlib'
    """
    others = list(theirs)
    return next((name for name in available() if name in others), None)


def compress(data: memoryview, codec: str) -> bytes | None:
    """Return the buffer compressed; None where that would not pay."""
    if not MIN_BYTES <= data.nbytes <= MAX_BYTES:
        return None
    found = _find(codec)
    if found is None:
        return None
    step = (data.nbytes - SAMPLE_BYTES) // (SAMPLES - 1)
    sample = b"".join([data[at * step : at * step + SAMPLE_BYTES] for at in range(SAMPLES)])
    if len(found[0](memoryview(sample))) > MAX_RATIO * len(sample):
        return None
    with metrics.timing("compress"):
        packed = found[0](data)
    metrics.count("compressed_bytes_before", data.nbytes)
    metrics.count("compressed_bytes_after", min(len(packed), data.nbytes))
    return packed if len(packed) <= MAX_RATIO * data.nbytes else None


def decompress(data: memoryview, codec: str, size: int) -> memoryview:
    """Return the inverse of ``compress``, in writable memory.

    Raises
    ------
    ValueError
        When it is not what it should be.
    """
    found = _find(codec)
    if found is None:
        raise ValueError(f"a buffer is compressed by {codec!r}, which is not installed here")
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"a compressed buffer cannot have {size} bytes")
    try:
        plain = found[1](data, size)
    except Exception as error:
        raise ValueError(f"a buffer does not decompress by {codec}: {error}") from None
    if len(plain) != size:
        raise ValueError(f"a buffer has {len(plain)} bytes instead of {size}")
    return memoryview(plain if isinstance(plain, bytearray) else bytearray(plain))
