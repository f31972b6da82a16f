"""Deflate streams (RFC 1951) as what they hold and how it was packed, so that they can be made again bit for bit.

A stream is blocks of tokens, each a literal or a match. Encoders differ in which matches they take, where they end
blocks, and how they find and describe Huffman codes. `inflate` tells all of it; `deflate` puts it together. `correct`
simulates zlib's search for matches, by given numbers, along the tokens of a stream and returns where they differ;
`follow` makes the tokens from that again. The core's `deflate.h` and `matches.h` say how tokens and corrections are
written.

Zlib's search: strings of 3 bytes are in chains by hash, the last first. At most `chain` of a chain are tried, a quarter
where the match before has `good` bytes; one of `nice` bytes ends the search. A lazy search takes a match only if there
is no longer one a byte later, which it does not look for behind matches of `lazy` bytes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.native.library import MatcherStruct, aligned, core, pointer

STORED, FIXED, DYNAMIC = 0, 1, 2
GREEDY, LAZY, RUNS, HUFFMAN = 0, 1, 2, 3
DESCRIPTION = 1024  # bytes that the description of a block's codes has at most
_ARGUMENT = -2
_COUNT, _CORRECT, _RESTORE = 0, 1, 2


@dataclass(frozen=True)
class Stream:
    """A deflate stream taken apart: plain (n,) uint8, tokens (t,) uint32, blocks (b, 5) int64."""

    plain: np.ndarray
    tokens: np.ndarray
    blocks: np.ndarray  # type, tokens, first and last bit of the codes' description, bits of padding of a stored block
    size: int  # bytes of the packed stream
    padding: int  # bits behind the last block


@dataclass(frozen=True)
class Matcher:
    """The numbers of a search for matches, as zlib has them."""

    rule: int  # GREEDY, LAZY, RUNS (of one byte only), HUFFMAN (no matches)
    good: int = 0
    lazy: int = 0
    nice: int = 0
    chain: int = 1
    filtered: bool = False  # no matches of up to 5 bytes
    far: int = 4096  # no matches of 3 bytes at larger distances
    quads: bool = False  # chains are of strings of 4 bytes, as zlib-ng has them
    window_bits: int = 15
    hash_bits: int = 15

    @property
    def struct(self) -> MatcherStruct:
        numbers = (self.rule, self.window_bits, self.hash_bits, self.good, self.lazy, self.nice, self.chain)
        return MatcherStruct(*numbers, self.filtered, self.far, self.quads)


def inflate(data: bytes, room: int) -> Stream | None:
    """The stream at the beginning of the data if it unpacks to at most `room` bytes.

    None: it is no stream, is cut short, or has more.
    """
    packed, extent = np.frombuffer(data, np.uint8), np.zeros(5, np.int64)
    plain, tokens = np.empty(room, np.uint8), np.empty(room, np.uint32)
    block_room = 64 + len(data) // 64
    while True:
        blocks = np.empty((block_room, 5), np.int64)
        found = core.vlae_inflate(
            *(pointer(packed, np.uint8), len(packed), pointer(plain, np.uint8), room),
            *(pointer(tokens, np.uint32), room, pointer(blocks, np.int64), block_room, pointer(extent, np.int64)),
        )
        if found == 0:
            size, unpacked, count, used, padding = map(int, extent)
            return Stream(plain[:unpacked], tokens[:count], blocks[:used], size, padding)
        if found != _ARGUMENT or block_room > len(data):  # a block takes more than 8 bits
            return None
        block_room = 8 * block_room


def deflate(stream: Stream, described: np.ndarray, limit: int) -> bytes:
    """The bytes of a stream. In its blocks are the first and last bits of descriptions in `described` (n,) uint8, or
    -1 where zlib's description is meant.

    Raises CorruptFile for parts that are no stream, and for one of more than `limit` bytes.
    """
    plain, tokens, blocks = (np.ascontiguousarray(part) for part in (stream.plain, stream.tokens, stream.blocks))
    args = (
        *(pointer(plain, np.uint8), len(plain), pointer(tokens, np.uint32), len(tokens)),
        *(pointer(blocks, np.int64), len(blocks), pointer(described, np.uint8), len(described), stream.padding),
    )
    size = core.vlae_deflate(*args, None, 0)
    if not 0 <= size <= limit:
        raise CorruptFile("the recipe of a file makes no stream: get a fresh copy of it")
    out = np.empty(size, np.uint8)
    core.vlae_deflate(*args, pointer(out, np.uint8), size)
    return out.tobytes()


def describe(plain: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Zlib's description of the codes of a block that begins with the plain bytes: (bits,) of 0 and 1, uint8."""
    out = np.empty(DESCRIPTION, np.uint8)
    bits = core.vlae_describe(
        *(pointer(plain, np.uint8), len(plain), pointer(tokens, np.uint32), len(tokens)),
        *(pointer(out, np.uint8), len(out)),
    )
    return np.unpackbits(out, count=bits, bitorder="little")


def correct(matcher: Matcher, plain: np.ndarray, tokens: np.ndarray, room: int) -> np.ndarray | None:
    """Corrections (n, 3) uint32 of what the matcher predicts for the plain bytes; None where they are more than `room`.

    The tokens may be fewer than the bytes need. None also where the search tries too many places.
    """
    corrections = np.empty((room, 3), np.uint32)
    found = _match(matcher, plain, tokens, corrections, _CORRECT)
    return corrections[:found] if found >= 0 else None


def count(matcher: Matcher, plain: np.ndarray, tokens: np.ndarray, room: int) -> int:
    """How many corrections `correct` would return; `room` + 1 where they are more."""
    found = _match(matcher, plain, tokens, np.empty((0, 3), np.uint32), _COUNT, room)
    return found if found >= 0 else room + 1


def follow(matcher: Matcher, plain: np.ndarray, corrections: np.ndarray) -> np.ndarray:
    """(t,) uint32: the tokens of the plain bytes. Raises CorruptFile for corrections that fit no stream."""
    tokens = np.empty(len(plain), np.uint32)
    found = _match(matcher, plain, tokens, np.ascontiguousarray(corrections), _RESTORE)
    if found < 0:
        raise CorruptFile("the recipe of a file does not fit its pixels: get a fresh copy of it")
    return tokens[:found]


def _match(
    matcher: Matcher, plain: np.ndarray, tokens: np.ndarray, corrections: np.ndarray, what: int, room: int = 0
) -> int:
    scratch = aligned(core.vlae_walk_scratch())
    return int(
        core.vlae_walk(
            *(ctypes.byref(matcher.struct), pointer(plain, np.uint8), len(plain), pointer(tokens, np.uint32)),
            *(len(tokens), pointer(corrections, np.uint32), max(room, len(corrections)), what),
            *(pointer(scratch, np.uint8), len(scratch)),
        )
    )
