"""Compression: what is worth it, each codec that is installed, and what is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.wire.codec import compress
from futures_cluster.wire.codec.compress import MIN_BYTES, available, choose, decompress

NOISE = random.Random(0).randbytes(4 * MIN_BYTES)
TEXT = b"all work and no play; " * MIN_BYTES
each_codec = pytest.mark.parametrize("codec", available())


def packed(data: bytes, codec: str = "zlib") -> bytes | None:
    return compress.compress(memoryview(data), codec)


@each_codec
@pytest.mark.parametrize("data", [TEXT, bytes(MIN_BYTES), NOISE[:1000] + TEXT])
def test_what_compresses_comes_back(codec: str, data: bytes) -> None:
    small = packed(data, codec)
    assert small is not None and len(small) < 0.8 * len(data)
    back = decompress(memoryview(small), codec, len(data))
    assert back == data and not back.readonly


@each_codec
@pytest.mark.parametrize("data", [b"", b"x" * (MIN_BYTES - 1), NOISE, TEXT[:1000] + NOISE])
def test_what_does_not_pay_is_left(codec: str, data: bytes) -> None:
    assert packed(data, codec) is None


def test_noise_costs_only_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = compress._MAKERS["zlib"](), []
    assert real is not None
    codec = (lambda data: seen.append(data.nbytes) or real[0](data), real[1])
    monkeypatch.setattr(compress, "_find", lambda name: codec)
    assert packed(NOISE) is None
    assert seen == [compress.SAMPLES * compress.SAMPLE_BYTES]


def test_samples_that_mislead() -> None:
    """They compress, and the rest does not."""
    data = bytearray(NOISE)
    step = (len(data) - compress.SAMPLE_BYTES) // (compress.SAMPLES - 1)
    for at in range(compress.SAMPLES):
        data[at * step : at * step + compress.SAMPLE_BYTES] = bytes(compress.SAMPLE_BYTES)
    assert packed(bytes(data)) is None


@each_codec
@pytest.mark.parametrize("size", [0, 1, len(TEXT) - 1, len(TEXT) + 1, 2**40, -1])
def test_a_size_that_is_a_lie(codec: str, size: int) -> None:
    small = packed(TEXT, codec)
    assert small is not None
    with pytest.raises(ValueError):
        decompress(memoryview(small), codec, size)


@each_codec
@given(data=st.binary(max_size=200), size=st.integers(0, 10_000))
def test_garbage(codec: str, data: bytes, size: int) -> None:
    try:
        assert len(decompress(memoryview(data), codec, size)) == size
    except ValueError:
        pass


def test_codecs_that_are_not_there() -> None:
    assert "zlib" in available()
    assert packed(TEXT, "unheard of") is None
    with pytest.raises(ValueError, match="which is not installed here"):
        decompress(memoryview(b""), "unheard of", 1)
    assert choose([]) is None and choose(["unheard of"]) is None
    assert choose(available()) == available()[0]


def test_names_that_peers_make_up_are_not_kept() -> None:
    for number in range(100):
        with pytest.raises(ValueError, match="which is not installed here"):
            decompress(memoryview(b""), f"unheard of {number}", 0)
    assert compress._find.cache_info().currsize < 50
