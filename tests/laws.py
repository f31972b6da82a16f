"""The laws of codecs, to be checked; and a leaf codec for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlae_codec.coder.codecs import Codec, Symbol, _flat
from vlae_codec.native import ans


def uniform(precision: int, shape: tuple[int, ...] = ()) -> Codec:
    """Codec of int64 arrays of `shape` with every entry uniform on [0, 2^precision): `precision` bits each.

    Raises ValueError for a precision outside 1..24 or, when pushing, for an array of another shape or range.
    """
    ans.check_precision(precision)
    shape = tuple(shape)
    count = int(np.prod(shape, dtype=np.int64))

    def push(message: ans.Message, symbol: ArrayLike) -> ans.Message:
        starts = _flat(symbol, shape, 1 << precision)
        return ans.push(message, starts, np.ones_like(starts), precision)

    def pop(message: ans.Message) -> tuple[ans.Message, Symbol]:
        message, symbols = ans.pop_uniform(message, precision, count)
        return message, symbols.reshape(shape)

    return Codec(push, pop)


def check_codec(codec: Codec, message: ans.Message, symbol: Symbol) -> float:
    """The bits that pushing `symbol` on `message` adds, if both laws hold there; if not, AssertionError says which.

    Push then pop must return the symbol (values and shapes; the integer type is free) and the very message; pop then
    push must return the very message. `message` must hold enough bits to pop a symbol from, else EmptyStack is raised.
    """
    pushed = codec.push(message, symbol)
    back, symbol_back = codec.pop(pushed)
    _hold(_same(symbol_back, symbol), f"push then pop changed the symbol: {symbol!r} came back as {symbol_back!r}")
    _hold(_same(back, message), "push then pop gave back the symbol but changed the message")
    popped, found = codec.pop(message)
    _hold(_same(codec.push(popped, found), message), f"pop then push changed the message (popped {found!r})")
    return ans.bits(pushed) - ans.bits(message)


def _hold(condition: bool, text: str) -> None:
    if not condition:  # a check whose result is the point of the call: not an `assert`, which python -O drops
        raise AssertionError(text)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
