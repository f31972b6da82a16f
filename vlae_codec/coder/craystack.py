"""Codecs and messages of craystack <-> ours, bit for bit (https://github.com/j-towns/craystack, arXiv 1912.09953).

A message of craystack is (head, tail): head an array of uint64, tail () or (words, tail) with words an array of uint32
whose first entry is on top. Both are range ANS with the same formulas, 32-bit words and many lanes on one stack, of
which the lowest takes the top word. They differ in the interval that holds the heads:

    here [2^32, 2^64)        craystack [2^31, 2^63)

The number that a lane and the words below it stand for is the same: a head of craystack below 2^32 takes one word and
becomes one of 2^63 or more, and the other way round; all others stay. So `from_craystack` and `to_craystack` are
inverse to each other and cost no bit, and a codec of one side is one of the other, with the law that pushing and
popping undo each other both ways. (The words are not those that the other side would make of the same distribution,
since it moves a word at another moment; they are as many.)

Only the last words of a message cannot be shared: to take over a message of craystack there must be a word for each
head below 2^32. A fresh one, whose heads are all 2^31, has none: begin with a random one, as bits-back does anyway, or
with one of ours.

craystack is not needed here: its codecs are any pairs (push, pop) of such messages. Those of its later versions return
(message,) when they push, as `codec_to_craystack` does; earlier ones, whose `push` gives the message, are taken, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vlae_codec.coder.codecs import Codec, Symbol
from vlae_codec.errors import EmptyStack
from vlae_codec.native.ans import HEAD_MIN, Message

Craystack = tuple[np.ndarray, Any]  # (head, tail)
_HIGH = np.uint64(1 << 63)
_WORD = np.uint64(32)


def to_craystack(message: Message, shape: tuple[int, ...] | None = None) -> Craystack:
    """The message as craystack has it; shape: of its head, of as many entries as there are lanes, by default flat."""
    high = message.heads >= _HIGH
    top = message.heads[high].astype(np.uint32)  # the low 32 bits; the lowest lane's go on top
    words = np.concatenate([top, message.words[::-1]])
    head = np.where(high, message.heads >> _WORD, message.heads)
    return head.reshape(shape if shape is not None else head.shape), (words, ()) if len(words) else ()


def from_craystack(message: Craystack) -> Message:
    """The message as we have it, one lane for each entry of the head. Raises EmptyStack where it has too few words."""
    head, tail = message
    chunks = []
    while len(tail):
        chunk, tail = tail
        chunks.append(np.asarray(chunk, np.uint32).ravel())
    words = np.concatenate(chunks) if chunks else np.zeros(0, np.uint32)
    heads = np.asarray(head, np.uint64).ravel().copy()
    low = heads < HEAD_MIN
    count = int(low.sum())
    if count > len(words):
        raise EmptyStack(f"{count} heads need a word each, and there are {len(words)}: begin with a random message")
    heads[low] = heads[low] << _WORD | words[:count]
    return Message(heads, words[count:][::-1].copy())


def codec_from_craystack(codec: Any, shape: tuple[int, ...] | None = None) -> Codec:
    """A codec of craystack as one of ours; shape: of the heads that it works on, by default flat."""
    theirs_push, theirs_pop = codec

    def push(message: Message, symbol: Symbol) -> Message:
        pushed = theirs_push(to_craystack(message, shape), symbol)
        return from_craystack(pushed[0] if len(pushed) == 1 else pushed)

    def pop(message: Message) -> tuple[Message, Symbol]:
        popped, symbol = theirs_pop(to_craystack(message, shape))
        return from_craystack(popped), symbol

    return Codec(push, pop)


def codec_to_craystack(codec: Codec) -> Codec:
    """A codec of ours as one of craystack, for messages with heads of any shape: its push returns (message,)."""

    def push(message: Craystack, symbol: Symbol) -> tuple[Craystack]:
        return (to_craystack(codec.push(from_craystack(message), symbol), np.shape(message[0])),)

    def pop(message: Craystack) -> tuple[Craystack, Symbol]:
        popped, symbol = codec.pop(from_craystack(message))
        return to_craystack(popped, np.shape(message[0])), symbol

    return Codec(push, pop)
