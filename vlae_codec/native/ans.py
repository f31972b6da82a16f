"""Range ANS as a stack: symbols go in at the top and come out at the top, last in, first out.

The idea (J. Duda 2009, arXiv 0902.0271; 2013, arXiv 1311.2540: the "range" variant)
------------------------------------------------------------------------------------
A message is one large natural number x; a number near 2^k holds k bits. A distribution over symbols is a cut of
[0, 2^precision) into intervals, symbol s owning [start, start + freq), so that p(s) = freq / 2^precision:

    cf    0         3     5                     16 = 2^precision, here with precision = 4
          |----a----|--b--|----------c----------|
                    start = 3, freq = 2 for b

Write the natural numbers row by row into a table of 2^precision columns. The number x stands in row x >> precision and
column cf = x mod 2^precision; the column says which symbol x carries. Now number afresh, from 0, only the cells in b's
columns (3 and 4): row 0 gives 0 and 1, row 1 gives 2 and 3, and so on.

    pop:   x        ->  b and the new number of its cell   x' = freq * (x >> precision) + cf - start
    push:  b and x' ->  the x that stands in that cell     x  = (x' // freq << precision) + start + x' mod freq

Each is the inverse of the other, and x' is about p(b) times x: a symbol weighs -log2 p(b) bits. A number that nobody
pushed to can be popped too: that turns bits into a symbol distributed as p, which is how bits-back coding works.

Bounded numbers
---------------
A large number is slow to divide, so only its top stays a number, the `head`; the rest is a stack of 32-bit `words`, and

    the invariant:    2^32 <= head < 2^64    before and after every operation.

A push that would reach 2^64 (it would iff head >= freq * 2^(64 - precision)) first moves the head's low 32 bits to the
words. A pop that falls below 2^32 takes one word back. Let x' be the head between the two halves of a push, after
moving and before renumbering: freq * 2^(32 - precision) <= x' < 2^32 if a word was moved, otherwise
2^32 <= x' < freq * 2^(64 - precision). A pop meets the same x' after renumbering, and 2^32 divides the two cases, so
each operation sees from the head alone what the other did. Hence push then pop and pop then push are both the identity,
bit for bit (it takes precision <= 32). The loss against -log2 p is negligible at precision <= 24; the tests bound it.

Lanes
-----
L heads share one stack of words, and symbol i belongs to lane i mod L. Heads do not wait for each other, so a GPU moves
all lanes in one step: of the lanes that need a word after a pop, the lowest takes the top one. A sequence is pushed
from its last symbol to its first, and so popped from first to last.

A fresh lane stands at 2^32, so each costs 32 bits that carry nothing. Lane 0 keeps a `seed` of the caller there (a
checksum). A decoder that has popped everything must find exactly the state that `empty` made: `is_empty`.

    >>> message = push(empty(), starts=[3, 0], freqs=[2, 3], precision=4)  # b, then a: 3 bits + 2.415 bits
    >>> message.heads, round(bits(message), 3)
    (array([183251937924], dtype=uint64), 5.415)
    >>> message, symbols = pop_with(message, cdfs=[[0, 3, 5, 16]], precision=4, count=2)
    >>> symbols, is_empty(message)
    (array([1, 0]), True)
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlae_codec.contract import COST_BITS, PRECISION
from vlae_codec.errors import CorruptFile, EmptyStack, TruncatedFile
from vlae_codec.native.library import StackStruct, check, core, pointer

HEAD_MIN = 1 << 32  # heads live in [2^32, 2^64)
MAX_PRECISION = PRECISION

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Message:
    """The state of the coder, a value: no public function changes the arrays of a message it was given."""

    heads: U64  # (L,), each in [2^32, 2^64)
    words: U32  # (n,), bottom of the stack first

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return np.array_equal(self.heads, other.heads) and np.array_equal(self.words, other.words)


def empty(lanes: int = 1, seed: int = 0) -> Message:
    """A message with no symbol in it: (lanes,) heads of 2^32, the 32-bit `seed` in the low bits of lane 0, no words."""
    if lanes < 1:
        raise ValueError(f"a message needs at least one lane, not {lanes}")
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"the seed must fit 32 bits without sign, not {seed}")
    heads = np.full(lanes, HEAD_MIN, np.uint64)
    heads[0] = HEAD_MIN | seed
    return Message(heads, np.zeros(0, np.uint32))


def is_empty(message: Message, seed: int = 0) -> bool:
    """Whether the message is exactly what `empty(lanes, seed)` returns: all was popped and nothing was damaged."""
    return message == empty(len(message.heads), seed)


def bits(message: Message) -> float:
    """The information in the message in bits, 0 for `empty()`: a float, for reports, which nothing may decide by."""
    return float(32 * len(message.words) + np.sum(np.log2(message.heads.astype(np.float64)) - 32))


def stock(message: Message) -> int:
    """The information in the message in units of 2^-20 bits: an integer, the same on every machine, to decide by."""
    lengths = [int(head).bit_length() for head in message.heads]
    tops = np.array([int(head) >> length - PRECISION for head, length in zip(message.heads, lengths)], np.uint32)
    spare = core.vlae_costs(pointer(tops, np.uint32), len(tops), 1, 1, None)
    return int((32 * (len(message.words) - len(tops)) + sum(lengths) << COST_BITS) - spare)


def to_bytes(message: Message) -> bytes:
    """The message as 8 * L + 4 * n bytes: the heads (u64), then the words (u32) from the bottom up, little-endian."""
    return message.heads.astype("<u8").tobytes() + message.words.astype("<u4").tobytes()


def from_bytes(data: bytes, lanes: int) -> Message:
    """The message that `to_bytes` wrote with that number of lanes.

    Raises TruncatedFile when the length is not 8 * lanes + a multiple of 4, CorruptFile when a head is below 2^32.
    """
    if lanes < 1:
        raise ValueError(f"a message needs at least one lane, not {lanes}")
    if len(data) < 8 * lanes or len(data) % 4:
        raise TruncatedFile(
            f"a coded stream of {lanes} lanes cannot be {len(data)} bytes long: get a fresh copy of the file"
        )
    heads = np.frombuffer(data, "<u8", lanes).astype(np.uint64)
    if heads.min() < HEAD_MIN:
        raise CorruptFile(f"lane {int(heads.argmin())} of a coded stream is damaged: get a fresh copy of the file")
    return Message(heads, np.frombuffer(data, "<u4", offset=8 * lanes).astype(np.uint32))


def check_precision(precision: int) -> None:
    if not 1 <= precision <= MAX_PRECISION:
        raise ValueError(f"the precision must be 1 to {MAX_PRECISION} bits, not {precision}")


def push(message: Message, starts: ArrayLike, freqs: ArrayLike, precision: int) -> Message:
    """The message with N symbols pushed, the last first; symbol i is [starts[i], starts[i] + freqs[i]), lane i mod L.

    starts, freqs: (N,) integers. Raises ValueError unless every interval has freq >= 1 and lies in [0, 2^precision).
    """
    check_precision(precision)
    starts, freqs = np.asarray(starts), np.asarray(freqs)
    if starts.ndim != 1 or starts.shape != freqs.shape:
        raise ValueError(f"starts and freqs must be flat and of one length, not {starts.shape} and {freqs.shape}")
    starts, freqs = (np.ascontiguousarray(array, np.int64) for array in (starts, freqs))
    if np.any(starts < 0) or np.any(freqs < 1) or np.any(freqs > (1 << precision) - starts):
        raise ValueError(f"a symbol's interval is empty or reaches outside [0, 2^{precision})")
    stack = Stack(message, len(starts))
    args = (pointer(starts, np.int64), pointer(freqs, np.int64), len(starts), precision)
    check(core.vlae_push(stack.struct, *args), "a message")
    return stack.message()


def pop_with(message: Message, cdfs: ArrayLike, precision: int, count: int) -> tuple[Message, I64]:
    """(message, symbols): `count` symbols popped, the first first, as (count,) int64; symbol i from lane i mod L.

    cdfs: integers (count, K + 1), row i the cumulative frequencies 0 < ... < 2^precision of symbol i; or (1, K + 1),
    one for all. The caller has checked them (`codecs.categorical` does). Raises EmptyStack when the message runs out.
    """
    check_precision(precision)
    cdfs = np.ascontiguousarray(cdfs, np.int64)
    if cdfs.ndim != 2 or cdfs.shape[1] < 2 or cdfs.shape[0] not in (1, count):
        raise ValueError(f"cdfs must be (1, K + 1) or ({count}, K + 1) with K >= 1, not {cdfs.shape}")
    return _pop(message, cdfs, precision, count)


def pop_uniform(message: Message, precision: int, count: int) -> tuple[Message, I64]:
    """(message, symbols): `count` symbols uniform on [0, 2^precision), freq 1 each, popped as by `pop_with`."""
    check_precision(precision)
    return _pop(message, np.zeros((1, 0), np.int64), precision, count)


def _pop(message: Message, cdfs: I64, precision: int, count: int) -> tuple[Message, I64]:
    stack, symbols = Stack(message), np.empty(count, np.int64)
    args = (pointer(cdfs, np.int64), *cdfs.shape, pointer(symbols, np.int64), count, precision)
    popped = check(core.vlae_pop(stack.struct, *args), "a message")
    if popped < count:
        raise EmptyStack(
            f"the coded stream ran out after {popped} of {count} symbols: the file is damaged, get a fresh copy"
        )
    return stack.message(), symbols


class Stack:
    """A private copy of a message that the core changes in place, with room for more words."""

    def __init__(self, message: Message, more: int = 0) -> None:
        self.heads, size = message.heads.astype(np.uint64), len(message.words)
        self.words = np.empty(size + more, np.uint32)
        self.words[:size] = message.words
        words = pointer(self.words, np.uint32)
        self._struct = StackStruct(pointer(self.heads, np.uint64), words, len(self.heads), size, len(self.words))

    @property
    def struct(self) -> ctypes._Pointer[StackStruct]:
        """The stack as the core takes it."""
        return ctypes.pointer(self._struct)

    def message(self) -> Message:
        """The message as it is now."""
        return Message(self.heads, self.words[: self._struct.size].copy())
