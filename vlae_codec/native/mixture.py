"""Integer CDFs: discretised mixtures of logistics from integer parameters and stored tables.

A row codes C symbols (the channels of a pixel or of a latent cell) under K joint logistics, autoregressive in the
channels (the form of PixelCNN++, Salimans et al. 2017, arXiv 1701.05517). Everything is fixed point:

    parameters of a row (int32), in this order
        K          logits, 1/32 nat
        K * C      locations of component k, channel c, 1/64 level, relative to the offset
        K * C      scale indices: scale = 2^(index / 16 - 4) levels, 0 .. 159
        K * pairs  coefficients, 1/256: the location of channel c moves by coefficient * u[c'] for each c' < c
    outer affine map of a row and channel, what earlier flow steps (or the pixel's reference value) contribute
        offset     1/64 level
        outer      index of a scale 2^(index / 16 - 4), 64 is the identity, 0 .. 191
    shift s of a row, 0 .. 10, and 0 in the plain form
        locations, scales and u are in coarse levels of 2^s levels; symbols and offsets always in levels

    e_k    = EXP[min(largest logit - logit_k, 511)]               12 bits
    mean_k = offset + (((location_k + moved_k) * OUTER_SCALE[outer] >> 16) << s)    1/64 level, clamped to +-2^29
    moved_k = sum_c' coefficient_k,c' * u[c'] >> 8
    a_k    = (64 x - 32 - mean_k) * INVERSE[index] >> (16 + s)    lower edge of symbol x, 1/256 scale, clamped to +-4096
    index  = scale_k + outer - 64, clamped to 0 .. 159
    F(x)   = sum_k e_k * SIGMOID[a_k]                             20-bit sigmoid
    C(x)   = x + (F(x) * factor >> 38)                            factor = ((2^24 - n) << 18) // sum_k e_k
    C(0) = 0, C(n) = 2^24                                         n levels, 2 .. 2^16
    u      = ((64 symbol - offset) * OUTER_INVERSE[outer] >> 16) >> s               1/64 coarse level

C is monotone because S, the argument and both floors are; the leading x makes every frequency at least 1 (a leak of
2^-24 per symbol). After a channel is known, e_k is multiplied by component k's mass at it, SIGMOID at its upper edge
minus SIGMOID at its lower (the first symbol begins at 0, the last ends at 2^20); all K products are shifted right by
the least shift that brings the largest below 2^12, and are at least 1. If all are 0 the e_k stay. That is the posterior
over the components.

That is the plain form. Rows of deep pixels have shifts, and the deep form: there a level may be so small a part of a
scale that the table alone would not tell one from the next, so arguments have 8 bits more, and sigmoids are
interpolated and have 4 more.

    a_k    = (64 x - 32 - mean_k) * INVERSE[index] >> (8 + s)     1/65536 scale, clamped to -2^20 .. 2^20 - 1
    S_k    = 16 SIGMOID[i] + ((SIGMOID[i + 1] - SIGMOID[i]) * (a_k & 255) >> 4)     i = a_k >> 8; 24 bits
    factor = ((2^24 - n) << 14) // sum_k e_k

S_k stands in place of SIGMOID[a_k] everywhere, and the last symbol ends at 2^24. Without shifts, the core also takes
this form for levels that are above 256 or no power of 2, with s = 0.

Rows of three channels and 256 levels, all coded, may have a set of triples (r, g, b) and an escape, 1 .. 16: the
restricted form. There channel 0 is that of the plain form. Channel 1 has weighted masses, by how near to a value of the
set channel 2 is expected to be. All averages are weighted by the e_k (sum_k e_k v_k // sum_k e_k):

    f      = clamp((average mean_k + 32 >> 6) - 8, 0, 240)        first of 16 values with weights of their own
    b(g)   = clamp(offset_2 + average of (location_k,2 + (coefficient_k,2,0 * u_0 >> 8))
             + (average coefficient_k,2,1 * (64 g - offset_1) >> 8) + 32 >> 6, 0, 255)
    d(g)   = distance of b(g) to the nearest b for which (r, g, b) is in the set, -1 and 256 being taken for such
    w(g)   = EXP[min(d(g) * INVERSE[average index_k,2] >> 14, 177)]     or 1 if the escape is 1; f <= g < f + 16
    w(g)   = the mean of these, rounded up, for all other g
    W(x)   = sum of w(g) * (F(g + 1) - F(g)) over g < x           F(0) = 0, F(256) = 2^20 sum_k e_k
    C(x)   = x + ((W(x) >> t) * factor >> 30)                     t = max(0, bits of W(256) - 30)
    factor = ((2^24 - 256) << 30) // (W(256) >> t)

In channel 2 the values b that are not in the set with (r, g) have the first 2^(24 - escape) of the range, and those
that are have the rest; if there are none of one kind, the other has all. The border below a value v of a part is
halfway to the one before it, p, both of the same kind; the part begins at B and has N of the range:

    C(v)   = B + (p + v + 1 >> 1) + (F * factor >> 38)            F at 32 (p + v) in place of 64 x - 32
    factor = ((N - 256) << 18) // sum_k e_k
    C      = B for the first value, and the last one ends at B + N

The tables are data of the weight file (`models.export` makes them), never recomputed.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from vlae_codec import contract
from vlae_codec.contract import SCALES, parameter_layout
from vlae_codec.native.ans import Message, Stack
from vlae_codec.native.library import RowsStruct, TablesStruct, aligned, check, core, pointer, span

SIDE, STATE = 8, 4096  # rows that the core takes side by side, and bytes of memory that they may need
COST_UNIT = 1 << contract.COST_BITS  # costs are integers in units of 2^-20 bits
TYPES = (np.int32, np.int32, np.int64, np.int64, np.int64)  # of the tables


class Tables(NamedTuple):
    sigmoid: np.ndarray  # int32 (8193,): round(2^20 * sigmoid(i / 256)), i = -4096 .. 4096
    exp: np.ndarray  # int32 (512,): max(1, round(2^12 * exp(-i / 32)))
    inverse: np.ndarray  # int64 (160,): round(2^18 / scale), so that (1/64 level) * inverse >> 16 is in 1/256 scale
    outer_scale: np.ndarray  # int64 (192,): round(2^16 * 2^(i / 16 - 4))
    outer_inverse: np.ndarray  # int64 (192,): round(2^16 / 2^(i / 16 - 4))

    @property
    def struct(self) -> TablesStruct:
        """The tables as the core takes them."""
        return TablesStruct(*map(pointer, self, TYPES))


def sample_type(levels: int) -> type[np.uint8 | np.uint16]:
    """The type of symbols of so many levels."""
    return np.uint8 if levels <= 256 else np.uint16


def set_pointer(values: np.ndarray | None) -> int | None:
    """The address of a set of triples, (65536, 4) uint64, if there is one. Raises ValueError for another shape."""
    if values is not None and values.shape != (1 << 16, 4):
        raise ValueError(f"a set of triples is (65536, 4), not {values.shape}")
    return None if values is None else pointer(values, np.uint64)


def parameter_limits(mixtures: int, channels: int, coupled: bool) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), int32 (P,): the clamps of a network output that is a row of parameters."""
    layout, most = parameter_layout(mixtures, channels, coupled), (contract.LOGIT_LIMIT, contract.LOC_LIMIT)
    low = np.repeat([-most[0], -most[1], 0, -contract.COEF_LIMIT], layout)
    high = np.repeat([*most, SCALES - 1, contract.COEF_LIMIT], layout)
    return low.astype(np.int32), high.astype(np.int32)


class Rows(NamedTuple):
    """Rows of parameters and what else their distributions need."""

    params: np.ndarray  # (n, P or more) int32
    offsets: np.ndarray  # (n, C) int32
    outers: np.ndarray | None  # (n, C) int32; None: the identity
    mixtures: int
    coupled: bool
    levels: int  # 2 .. 2^16
    coded: int  # only the first so many channels are coded
    tables: Tables
    shifts: np.ndarray | None = None  # (n,) int32, 0 .. 10, of the deep form
    values: np.ndarray | None = None  # (65536, 4) uint64, the set of the restricted form (`origins.triples`)
    escapes: np.ndarray | None = None  # (n,) int32, 1 .. 16, of the restricted form

    @property
    def struct(self) -> RowsStruct:
        """The rows as the core takes them."""
        n, channels = self.offsets.shape
        if len(self.params) != n or (self.outers is not None and self.outers.shape != (n, channels)):
            raise ValueError("parameters, offsets and outer scales are of different rows")
        params, offsets = pointer(self.params, np.int32), pointer(self.offsets, np.int32)
        if self.shifts is not None and self.shifts.shape != (n,):
            raise ValueError("shifts are of different rows")
        if self.values is not None and (self.escapes is None or self.escapes.shape != (n,)):
            raise ValueError("escapes are of different rows")
        others = (None if v is None else pointer(v, np.int32) for v in (self.outers, self.shifts, self.escapes))
        outers, shifts, escapes = others
        form = (self.params.shape[1], self.mixtures, channels, self.coupled, self.levels, self.coded)
        return RowsStruct(params, offsets, outers, shifts, set_pointer(self.values), escapes, n, *form)


def intervals(rows: Rows, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, freqs), (n, C) uint32, of symbols (n, C) below `levels`; 0 in channels that are not coded."""
    kind = sample_type(rows.levels)
    symbols = np.ascontiguousarray(symbols, kind)
    if symbols.shape != rows.offsets.shape:
        raise ValueError(f"symbols must be {rows.offsets.shape}, not {symbols.shape}")
    starts, freqs = np.zeros((2, *symbols.shape), np.uint32)
    given, tables = ctypes.byref(rows.struct), ctypes.byref(rows.tables.struct)
    out = (pointer(array, np.uint32) for array in (starts, freqs))
    check(core.vlae_intervals(given, tables, pointer(symbols, kind), *out), "a distribution")
    return starts, freqs


def pop_rows(rows: Rows, message: Message, what: str = "a message") -> tuple[Message, np.ndarray]:
    """(message, symbols (n, C) of `sample_type`) popped. Raises EmptyStack, which names `what`.

    Order: groups of L rows, L being the lanes; in a group channel by channel; in a channel the rows of the group in
    turn. Row i is on lane i mod L.
    """
    kind = sample_type(rows.levels)
    symbols, stack = np.zeros(rows.offsets.shape, kind), Stack(message)
    memory = aligned((min(len(symbols), len(message.heads)) // SIDE + 1) * STATE)
    given, tables = ctypes.byref(rows.struct), ctypes.byref(rows.tables.struct)
    args = (0, pointer(symbols, kind), *span(memory))
    check(core.vlae_pop_rows(given, tables, stack.struct, *args), what)
    return stack.message(), symbols


def cost(freqs: np.ndarray, coded: int | None = None) -> int:
    """What symbols of these frequencies take, in units of 2^-20 bits; coded: only the first so many of the last axis.

    The cost is an integer, the same on every machine, so that encoders may decide by it.
    """
    return _costs(freqs, coded, None)


def costs(freqs: np.ndarray, coded: int) -> np.ndarray:
    """(n,) int64: `cost` of each row of freqs (n, C)."""
    if freqs.ndim != 2:
        raise ValueError(f"frequencies must be (n, C), not {freqs.shape}")
    each = np.empty(len(freqs), np.int64)
    _costs(freqs, coded, pointer(each, np.int64))
    return each


def _costs(freqs: np.ndarray, coded: int | None, each: int | None) -> int:
    freqs = np.ascontiguousarray(freqs, np.uint32)
    channels = freqs.shape[-1] if coded is not None else 1
    n = freqs.size // channels
    total: int = core.vlae_costs(pointer(freqs, np.uint32), n, channels, 1 if coded is None else coded, each)
    if total < 0:
        raise ValueError("a frequency is outside 1 .. 2^24")
    return total
