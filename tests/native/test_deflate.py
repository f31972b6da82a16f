"""Deflate streams: taken apart and made again, and zlib's matches predicted without an error."""

import zlib
from itertools import product
from typing import Any

import numpy as np
import pytest

from vlae_codec.errors import CorruptFile
from vlae_codec.exact.stream import LEVELS
from vlae_codec.native import deflate
from vlae_codec.native.deflate import HUFFMAN, RUNS, STORED, Matcher, Stream
from vlae_codec.native.library import core

NOTHING = np.zeros(0, np.uint8)


def sample(size: int = 60000) -> bytes:
    """Bytes with matches near and far, runs, noise, and few symbols."""
    rng = np.random.default_rng(1)
    smooth = np.cumsum(rng.integers(-2, 3, size // 2)).astype(np.uint8).tobytes()
    noise = rng.integers(0, 256, size // 8).astype(np.uint8).tobytes()
    few = rng.integers(0, 3, size // 8).astype(np.uint8).tobytes()
    return smooth + b"abcabcabd" * (size // 80) + noise + bytes(size // 8) + few + smooth[: size // 8]


def pack(data: bytes, level: int = 6, strategy: int = 0, memory: int = 8, window: int = 15) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    return packer.compress(data) + packer.flush()


def matcher(level: int, strategy: int, memory: int, window: int) -> Matcher:
    numbers: dict[str, Any] = {"window_bits": window, "hash_bits": memory + 7}
    if strategy in (2, 3):
        return Matcher(HUFFMAN if strategy == 2 else RUNS, **numbers)
    return Matcher(*LEVELS[level - 1], filtered=strategy == 1, **numbers)


def again(stream: Stream) -> bytes:
    """The stream written with the descriptions that zlib makes."""
    blocks = stream.blocks.copy()
    blocks[:, 2:4] = -1
    parts = Stream(stream.plain, stream.tokens, blocks, 0, stream.padding)
    return deflate.deflate(parts, NOTHING, 1 << 30)


def own(stream: Stream, packed: bytes, limit: int = 1 << 30) -> bytes:
    """The stream written with its own descriptions."""
    return deflate.deflate(stream, np.frombuffer(packed, np.uint8), limit)


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("strategy", range(5))
def test_zlib(level, strategy):
    """No correction is needed, but for stored blocks, whatever zlib's parameters; codes are described as zlib does."""
    data = sample()
    for memory, window in ((8, 15), (9, 15), (1, 9), (5, 12), (8, 9), (2, 15)):
        packed = pack(data, level, strategy, memory, window)
        stream = deflate.inflate(packed + b"more", len(data))
        assert stream is not None
        assert stream.plain.tobytes() == data
        assert (stream.size, again(stream)) == (len(packed), packed)
        how = matcher(level, strategy, memory, window)
        corrections = deflate.correct(how, stream.plain, stream.tokens, len(data))
        assert corrections is not None
        stored = int((stream.blocks[:, 0] == STORED).sum())
        assert len(corrections) <= stored * 1.1
        assert np.array_equal(deflate.follow(how, stream.plain, corrections), stream.tokens)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 10, 258, 259, 300, 16382, 16383, 16384, 32768, 65536, 70000])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_sizes(size, level):
    for data in (bytes(size), sample(70000)[:size]):
        packed = pack(data, level)
        stream = deflate.inflate(packed, size)
        assert stream is not None
        assert again(stream) == packed
        corrections = deflate.correct(matcher(max(1, level), 0, 8, 15), stream.plain, stream.tokens, size)
        assert corrections is not None
        assert np.array_equal(
            deflate.follow(matcher(max(1, level), 0, 8, 15), stream.plain, corrections), stream.tokens
        )


@pytest.mark.parametrize("name", ["deflate", "zlibng", "zopfli"])
def test_other_encoders(name):
    """Tokens of any encoder come back by corrections of any matcher, and the stream with its own descriptions."""
    imagecodecs = pytest.importorskip("imagecodecs")
    data = sample(20000)
    for level, method in product((1, 4, 6, 9), (1, 6, 9)):
        if name == "zopfli":
            packed = imagecodecs.zopfli_encode(data)[2:]
        else:
            packed = getattr(imagecodecs, f"{name}_encode")(data, level=level)[2:]
        stream = deflate.inflate(packed, len(data))
        assert stream is not None
        assert own(stream, packed) == packed[: stream.size]
        how = matcher(method, 0, 8, 15)
        corrections = deflate.correct(how, stream.plain, stream.tokens, len(data))
        assert corrections is not None
        assert np.array_equal(deflate.follow(how, stream.plain, corrections), stream.tokens)
        if name == "zopfli":
            break


def test_long_258():
    """A match of 258 bytes in the code for 227 to 257 and five bits stays so; so do bits of padding."""
    bits = "1" + "10"  # last block, fixed codes
    bits += "10010001"  # literal 0x61
    bits += "11000100" + "11111" + "00000"  # length 284 and 31, distance 1
    bits += "0000000" + "101"  # end, padding
    bits += "0" * (-len(bits) % 8)
    packed = np.packbits(np.array([*map(int, bits)], np.uint8), bitorder="little").tobytes()
    assert zlib.decompress(packed, -15) == b"a" * 259
    stream = deflate.inflate(packed, 300)
    assert stream is not None
    assert stream.tokens.tolist() == [0, 1 << 16 | 259]
    assert (own(stream, packed), stream.padding) == (packed, 5)


def test_no_stream():
    """Everything cut short or too long for the room is none, and noise does no harm."""
    data = sample(3000)
    for level in (0, 1, 9):
        packed = pack(data, level)
        for end in range(0, len(packed), 7):
            assert deflate.inflate(packed[:end], 1 << 16) is None
        assert deflate.inflate(packed, len(data) - 1) is None
    rng = np.random.default_rng(1)
    for _ in range(300):
        noise = bytearray(pack(data))
        for at in rng.integers(0, len(noise), 3):
            noise[at] = rng.integers(256)
        stream = deflate.inflate(bytes(noise), 1 << 16)
        if stream is not None:
            assert own(stream, bytes(noise)) == bytes(noise[: stream.size])


def test_many_empty_blocks():
    packed = bytes([0, 0, 0, 255, 255]) * 9999 + bytes([3, 0])
    stream = deflate.inflate(packed, 10)
    assert stream is not None
    assert len(stream.blocks) == 10000
    assert own(stream, packed) == packed


def test_bad_corrections():
    plain = np.frombuffer(sample(1000), np.uint8)
    bad = [
        *([0, 5, 2 * 40000], [0, 5, 2], [0, 2, 2], [900, 0, 1], [0, 300, 2], [0, 1 << 16, 0], [0, 60000, 0]),
        *([100, 3, 0xFFFFFFFF], [0, 0xFFFFFFFF, 0xFFFFFFFF], [0xFFFFFFFF, 0, 0], [100, 0, 4]),
    ]
    for level, correction in product((1, 9), bad):
        with pytest.raises(CorruptFile):
            deflate.follow(matcher(level, 0, 8, 15), plain, np.array([correction], np.uint32))


def test_bad_blocks():
    """Blocks and tokens that make no stream are refused, and so is one that is too long."""
    data = sample(3000)
    packed = pack(data)
    stream = deflate.inflate(packed, len(data))
    assert stream is not None
    with pytest.raises(CorruptFile):
        own(stream, packed, len(packed) - 1)
    changes = [(0, 3), (0, -1), (0, 0), (1, 0), (1, -1), (1, 1 << 40), (2, 1 << 40), (3, 1 << 40), (3, 0), (2, 9)]
    for column, value in changes:
        blocks = stream.blocks.copy()
        blocks[0, column] = value
        with pytest.raises(CorruptFile):
            own(Stream(stream.plain, stream.tokens, blocks, 0, 0), packed)
    for token in (1, 1 << 16, 2 << 16 | 2, 1 << 16 | 260, 32769 << 16 | 3):
        tokens = stream.tokens.copy()
        tokens[5] = token
        with pytest.raises(CorruptFile):
            own(Stream(stream.plain, tokens, stream.blocks, 0, 0), packed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rule", 4), ("rule", -1), ("window_bits", 8), ("window_bits", 16), ("hash_bits", 7), ("hash_bits", 17)),
        *(("chain", 0), ("chain", 4097), ("nice", 259), ("nice", -1), ("good", -1), ("lazy", -1), ("far", -1)),
    ],
)
def test_bad_matchers(name, value):
    plain = np.frombuffer(sample(1000), np.uint8)
    with pytest.raises(CorruptFile):
        deflate.follow(Matcher(**{"rule": 1, name: value}), plain, np.zeros((0, 3), np.uint32))


def test_checks():
    """Lengths below 0 and too little scratch are refused."""
    assert core.vlae_inflate(None, -1, None, 0, None, 0, None, 0, None) == -2
    assert core.vlae_deflate(None, 0, None, 1, None, 0, None, 0, 0, None, 0) == -2
    assert core.vlae_deflate(None, 0, None, 0, None, 0, None, 0, 128, None, 0) == -2
    assert core.vlae_describe(None, 0, None, -1, None, 0) == -2
    assert core.vlae_walk(Matcher(1).struct, None, 0, None, 0, None, 0, 0, None, 0) == -2
