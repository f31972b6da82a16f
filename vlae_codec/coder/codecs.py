"""Codecs as values: a pair of functions (push, pop) on a message, and functions that make larger codecs of smaller.

    push(message, symbol) -> message            pop(message) -> (message, symbol)

The law for every codec here: the two are inverse to each other BOTH ways. Push then pop is what any coder does; pop
then push (any message can be read as a symbol, and writing that symbol back restores it) makes bits-back exact.
Functions are pure: they return a new message and leave the one they were given alone. A codec does not say what a
message is: the leaf codec, `categorical`, speaks to `vlae_codec.native.ans`, the others pass messages along.

A message is a stack, so a codec of several things pushes them last to first and pops them first to last.

The idea of codecs as such pairs is that of craystack (Townsend et al. 2020, "HiLLoC", arXiv 1912.09953); bits-back on
ANS is BB-ANS (Townsend, Bird and Barber 2019, arXiv 1901.04866).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vlae_codec.native import ans

Symbol = Any  # an array, or a list or tuple of symbols


class Codec(NamedTuple):
    """(push, pop), inverse to each other both ways."""

    push: Callable[[Any, Symbol], Any]  # (message, symbol) -> message
    pop: Callable[[Any], tuple[Any, Symbol]]  # message -> (message, symbol)


def categorical(cdf: ArrayLike, precision: int, shape: tuple[int, ...] | None = None) -> Codec:
    """Codec of int64 arrays with entries in [0, K), distributed as integer cumulative frequencies say.

    cdf: (*shape, K + 1) integers, 0 = cdf[..., 0] < cdf[..., 1] < ... < cdf[..., K] = 2^precision, one row for each
    entry; or (K + 1,) and a `shape`, one row for all. Raises ValueError for any other table (a frequency of zero cannot
    be coded, and to find that out when pushing is too late) and, when pushing, for an array of another shape or range.
    """
    ans.check_precision(precision)
    table = np.asarray(cdf)
    if table.ndim < 1 or table.shape[-1] < 2 or table.dtype.kind not in "iu":
        raise ValueError(f"a cdf is an array of integers (..., K + 1) with K >= 1, not {table.dtype} {table.shape}")
    table = table.astype(np.int64)
    if np.any(table[..., 0] != 0) or np.any(table[..., -1] != 1 << precision):
        raise ValueError(f"a cdf must run from 0 to 2^{precision}")
    if np.any(np.diff(table) < 1):
        raise ValueError("every symbol needs a frequency of 1 or more: the cdf must rise strictly")
    if shape is not None and table.ndim != 1:
        raise ValueError("a shape goes with one cdf for all entries: a table of many cdfs has its own")
    shape = table.shape[:-1] if shape is None else tuple(shape)
    count, size = int(np.prod(shape, dtype=np.int64)), table.shape[-1] - 1
    rows = table.reshape(1 if table.ndim == 1 else count, size + 1)

    def push(message: ans.Message, symbol: ArrayLike) -> ans.Message:
        symbols = _flat(symbol, shape, size)
        row = np.arange(count) if len(rows) > 1 else np.zeros(count, np.int64)
        starts = rows[row, symbols]
        return ans.push(message, starts, rows[row, symbols + 1] - starts, precision)

    def pop(message: ans.Message) -> tuple[ans.Message, Symbol]:
        message, symbols = ans.pop_with(message, rows, precision, count)
        return message, symbols.reshape(shape)

    return Codec(push, pop)


def serial(codecs: Sequence[Codec]) -> Codec:
    """Codec of a list of symbols, one for each codec. Raises ValueError when pushing a list of another length."""
    codecs = tuple(codecs)

    def push(message: Any, symbols: Sequence[Symbol]) -> Any:
        for codec, symbol in reversed(list(zip(codecs, symbols, strict=True))):
            message = codec.push(message, symbol)
        return message

    def pop(message: Any) -> tuple[Any, list[Symbol]]:
        symbols = []
        for codec in codecs:
            message, symbol = codec.pop(message)
            symbols.append(symbol)
        return message, symbols

    return Codec(push, pop)


def after(first: Codec, second: Callable[[Symbol], Codec]) -> Codec:
    """Codec of a pair (a, b) under p(a) p(b | a): `second` maps a, which is decoded first, to the codec of b."""

    def push(message: Any, pair: tuple[Symbol, Symbol]) -> Any:
        a, b = pair
        return first.push(second(a).push(message, b), a)

    def pop(message: Any) -> tuple[Any, tuple[Symbol, Symbol]]:
        message, a = first.pop(message)
        message, b = second(a).pop(message)
        return message, (a, b)

    return Codec(push, pop)


def bits_back(prior: Codec, likelihood: Callable[[Symbol], Codec], posterior: Callable[[Symbol], Codec]) -> Codec:
    """Codec of x under a latent variable model, at -log2 p(x | z) - log2 p(z) + log2 q(z | x) bits: -ELBO on average.

    prior: codec of z; likelihood: z -> codec of x; posterior: x -> codec of z. Pushing begins by popping z, so it needs
    -log2 q(z | x) bits that already lie in the message (with `ans`: EmptyStack otherwise); popping gives them back.

    The average is -ELBO only if z is a fair sample, that is if the bits on top look random. The last symbol pushed on a
    lane does not: cf lies in its interval, and a posterior of the same precision samples z from that interval only. A
    precision some bits lower sees little of it. Just the first pop of each lane is concerned: it matters for tiny z.
    """

    def push(message: Any, x: Symbol) -> Any:
        message, z = posterior(x).pop(message)
        message = likelihood(z).push(message, x)
        return prior.push(message, z)

    def pop(message: Any) -> tuple[Any, Symbol]:
        message, z = prior.pop(message)
        message, x = likelihood(z).pop(message)
        return posterior(x).push(message, z), x

    return Codec(push, pop)


def _flat(symbol: ArrayLike, shape: tuple[int, ...], size: int) -> np.ndarray:
    """The symbol as flat int64; ValueError unless it is an integer array of that shape with entries in [0, size)."""
    array = np.asarray(symbol)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"the symbol must be integers of shape {shape}, not {array.dtype} {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= size):
        raise ValueError(f"a symbol lies outside [0, {size})")
    return array.ravel().astype(np.int64)
