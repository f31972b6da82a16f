"""A deflate stream as the numbers of the encoder that made it, and what it did otherwise.

Which encoder it was is found by trying: each level and strategy of zlib follows the beginning of the stream, and the
one with the fewest corrections is taken. Blocks are predicted to end where zlib's do, after a number of tokens that
depends on its memory level, and to describe their codes as zlib does; what is different is in the recipe.

    number   method, of METHODS
    number   16 * memory level + window bits
    columns  corrections as in the core's matches.h: tokens before, length, where; the first only if there are none
    column   runs of blocks of one type: type (0 stored, 1 fixed codes, 2 codes of its own), blocks; of all together at
             most 4096, and one more for every 4 bytes
    column   tokens of each block; none if all have zlib's
    column   bits of padding of each stored block; none if all are 0
    number   bits of padding behind the last block
    column   steps to blocks whose description of codes is not zlib's; if there are any
        column   its bits
        blob     all of these, the first bit in the lowest one
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from vlae_codec.exact.packing import Reader, Writer, damaged
from vlae_codec.limits import Limits
from vlae_codec.native import deflate
from vlae_codec.native.deflate import DYNAMIC, GREEDY, HUFFMAN, LAZY, RUNS, STORED, Matcher, Stream

LEVELS = (  # of zlib, from 1: rule, good, lazy, nice, chain
    *((GREEDY, 4, 4, 8, 4), (GREEDY, 4, 5, 16, 8), (GREEDY, 4, 6, 32, 32), (LAZY, 4, 4, 16, 16), (LAZY, 8, 16, 32, 32)),
    *((LAZY, 8, 16, 128, 128), (LAZY, 8, 32, 128, 256), (LAZY, 32, 128, 258, 1024), (LAZY, 32, 258, 258, 4096)),
)
METHODS = (  # what a recipe's number of a method means
    *(Matcher(*numbers) for numbers in LEVELS),
    *(Matcher(*numbers, filtered=True) for numbers in LEVELS[3:]),
    *(Matcher(RUNS), Matcher(HUFFMAN)),
    *(Matcher(*numbers, far=1 << 15) for numbers in LEVELS[3:]),  # as some programs build zlib
    *(Matcher(*numbers, far=1 << 15, quads=True) for numbers in LEVELS),  # zlib-ng
)
# The order in which they are tried: those that do not search, the usual levels, the others.
ORDER = (16, 15, 5, 8, 0, *(i for i in range(len(METHODS)) if i not in (15, 16, 5, 8, 0)))
PROBE = 20000  # tokens by which methods are compared
DEFAULT_MEMORY = 8
# What takes the longest: a search that tries as many places as it may, and blocks that hold nothing.
SEARCH_SECONDS, BLOCK_SECONDS = 8e-6, 3e-6  # of a byte, of a block, measured with AVX2
SEARCH_BYTES, BLOCK_BYTES = 6, 48  # of memory, for a byte and a block
BYTES_A_BLOCK, FEW_BLOCKS = 4, 4096  # a stream has few blocks, or each has so many bytes on average


def _matcher(method: int, memory: int, window: int) -> Matcher:
    return replace(METHODS[method], window_bits=window, hash_bits=memory + 7)


def _best(stream: Stream, memories: Iterable[int], windows: Iterable[int]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Method, memory level and window bits that need the fewest corrections, and these."""
    tokens, room, found = stream.tokens[:PROBE], PROBE, []
    ways = [(method, memory, window) for method in ORDER for memory in memories for window in windows]
    for way in ways:
        found.append(deflate.count(_matcher(*way), stream.plain, tokens, room))
        room = min(room, found[-1] + found[-1] // 4 + 16)
    best: tuple[tuple[int, int, int], np.ndarray] | None = None
    for at in sorted(range(len(ways)), key=lambda i: found[i])[:3]:
        most = len(stream.tokens) if best is None else len(best[1]) - 1
        corrections = deflate.correct(_matcher(*ways[at]), stream.plain, stream.tokens, most)
        if corrections is not None:
            best = ways[at], corrections
        if best and not len(best[1]):
            break
    if best is None:  # the search tries too many places
        way = (ORDER[0], DEFAULT_MEMORY, 15)
        corrections = deflate.correct(_matcher(*way), stream.plain, stream.tokens, len(stream.tokens))
        assert corrections is not None  # of a method that does not search
        best = way, corrections
    return best


def _memories(blocks: np.ndarray) -> Iterable[int]:
    """The memory levels that blocks of so many tokens can be from, the likeliest first."""
    sizes = blocks[:-1][blocks[:-1, 0] != STORED, 1]
    levels = [level for level in range(1, 10) if len(sizes) and np.median(sizes) == _full(level)]
    return levels or (DEFAULT_MEMORY, 9)


def _full(memory: int) -> int:
    return (1 << memory + 6) - 1


def _counts(types: np.ndarray, memory: int, tokens: int) -> np.ndarray:
    """(blocks,) tokens of each block as zlib has them."""
    counts = np.where(types == STORED, 1, _full(memory))
    counts[-1:] = max(0, tokens - int(counts[:-1].sum()))
    return counts


def write(out: Writer, stream: Stream, packed: np.ndarray, window: int) -> None:
    """Writes the recipe of a stream, packed (n,) uint8, of which its header says the window."""
    windows = (window, 15) if window != 15 else (15,)
    (method, memory, window), corrections = _best(stream, _memories(stream.blocks), windows)
    out.number(method)
    out.number(16 * memory + window)
    for column in range(3):
        out.column(corrections[:, column])
        if not len(corrections):
            break
    blocks = stream.blocks
    starts = np.flatnonzero(np.diff(blocks[:, 0], prepend=-1))
    out.column(np.stack((blocks[starts, 0], np.diff(starts, append=len(blocks))), 1).ravel())
    usual = np.array_equal(blocks[:, 1], _counts(blocks[:, 0], memory, len(stream.tokens)))
    out.column([] if usual else blocks[:, 1])
    stored = blocks[:, 0] == STORED
    out.column(blocks[stored, 4] if blocks[stored, 4].any() else [])
    out.number(stream.padding)
    _write_descriptions(out, stream, packed)


def _write_descriptions(out: Writer, stream: Stream, packed: np.ndarray) -> None:
    """Writes the descriptions of codes that are not zlib's; packed: the bytes of the stream."""
    covered = np.where(stream.tokens >> 16, np.minimum(stream.tokens & 0xFFFF, 258), np.maximum(stream.tokens, 1))
    places = np.append(0, np.cumsum(covered, dtype=np.int64))
    last = np.cumsum(stream.blocks[:, 1])
    own, bits = [], []
    for b in np.flatnonzero(stream.blocks[:, 0] == DYNAMIC):
        _, count, start, end, _ = map(int, stream.blocks[b])
        first = int(last[b]) - count
        plain = stream.plain[places[first] : places[first + count]]
        found = np.unpackbits(packed[start // 8 : -(-end // 8)], bitorder="little")[start % 8 :][: end - start]
        if not np.array_equal(found, deflate.describe(plain, stream.tokens[first : first + count])):
            own.append(b)
            bits.append(found)
    out.column(np.diff(own, prepend=0) if own else [])
    if own:
        out.column([len(found) for found in bits])
        out.blob(np.packbits(np.concatenate(bits), bitorder="little").tobytes())


def read(source: Reader, plain: np.ndarray, limits: Limits) -> bytes:
    """The stream of the plain bytes (n,) uint8 that a recipe makes. Raises CorruptFile and ImageTooLarge."""
    method, (memory, window) = source.number(), divmod(source.number(), 16)
    if method >= len(METHODS) or not 1 <= memory <= 9 or not 9 <= window <= 15:
        raise damaged()
    columns = [source.column()]
    if len(columns[0]):
        columns += [source.column(), source.column()]
    if any(len(column) != len(columns[0]) for column in columns):
        raise damaged()
    corrections = np.stack(columns, 1) if len(columns) == 3 else np.zeros((0, 3))
    limits.check(0, memory=SEARCH_BYTES * len(plain), seconds=SEARCH_SECONDS * len(plain))
    tokens = deflate.follow(_matcher(method, memory, window), plain, corrections.astype(np.uint32))
    runs = source.column()
    if len(runs) % 2 or not len(runs):
        raise damaged()
    count = int(runs[1::2].sum())
    if count > FEW_BLOCKS + len(plain) // BYTES_A_BLOCK:
        raise damaged()
    limits.check(0, memory=SEARCH_BYTES * len(plain) + BLOCK_BYTES * count, seconds=BLOCK_SECONDS * count)
    types = np.repeat(runs[::2], runs[1::2])
    blocks = np.zeros((len(types), 5), np.int64)
    counts, padding = source.column(), source.column()
    stored = types == STORED
    if len(counts) not in (0, len(types)) or len(padding) not in (0, int(stored.sum())):
        raise damaged()
    blocks[:, 0], blocks[:, 1] = types, counts if len(counts) else _counts(types, memory, len(tokens))
    blocks[:, 2:4] = -1
    if len(padding):
        blocks[stored, 4] = padding
    last = source.number()
    described = _read_descriptions(source, blocks)
    return deflate.deflate(Stream(plain, tokens, blocks, 0, last & 127), described, limits.memory)


def _read_descriptions(source: Reader, blocks: np.ndarray) -> np.ndarray:
    own = np.cumsum(source.column())
    if not len(own):
        return np.zeros(0, np.uint8)
    lengths = source.column()
    if len(lengths) != len(own) or own[-1] >= len(blocks) or np.any(np.diff(own) < 1) or own[0] < 0:
        raise damaged()
    ends = np.cumsum(lengths)
    blocks[own, 2], blocks[own, 3] = ends - lengths, ends
    return np.frombuffer(source.blob(), np.uint8)
