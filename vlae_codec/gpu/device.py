"""A tile's pixels coded wholly on a torch device: the same bytes as everywhere, a GPU's way of getting there.

Integers only: float32 holds nothing but matrix products below 2^24, which are exact (`vlae_codec.native.network`).
Every tensor operation here runs on any device of torch, and the tests run them on the CPU. What is written for a GPU is
the shape of the work: few operations on many numbers, no branch, nothing that waits for the device.

Canvas    All tiles of a batch in one array of pixels (P, C), each row led by the columns that a window reaches to the
          left (they serve the row above as those to the right), with the window's rows on top and a spare row below.
          Outside a tile stands OUTSIDE, so a window is one gather without a branch, and two tables do the rest.
Rows      A wave is a grid (groups, T, L) of rows: tile t's row i, counted from the wave's first, stands in group
          i // L_t at place i % L_t. Within a group all lanes pop a channel in one operation; of the lanes that need a
          word, the first takes the top one: a running sum. Heads are kept in the order of the next wave's places.
Steps     One function moves the whole batch by a wave. It reads the wave's number on the device, so a CUDA graph of it
          replays for all waves with as many groups, and the host looks at the stacks only when all is done. A row
          beyond a wave's end goes through everything, as a symbol of frequency 2^24, which leaves its head as it was.
          A stack that ran out goes on with the words below it: to no avail, but within bounds and to an end.
Forms     As single operations, the CDF is looked at in 15 symbols 16 apart, then in 15 neighbours, components in one
          array. Compiled, the search halves and each component is an array of its own: everything that a group does
          for a channel then has one shape, (T, L), and torch makes one kernel of it. Both are one code.

Sequential are the channels of groups, each waiting for the heads of the one before. In the names below, 2^38 C(x)
before it is rounded down is the `value` of symbol x, and 2^38 x of it the `leak`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlae_codec.contract import (
    COEF_BITS,
    DIGIT_BITS,
    EXP_ENTRIES,
    FACTOR_BITS,
    LEVEL_BITS,
    OUTER_IDENTITY,
    PRECISION,
    SIGMOID_BITS,
    SIGMOID_HALF,
    STRETCH,
    WEIGHT_BITS,
    window_slope,
)
from vlae_codec.contract import window_offsets as wo
from vlae_codec.errors import EmptyStack, VlaeError, WeightsError
from vlae_codec.native.ans import HEAD_MIN, Message
from vlae_codec.native.network import Layer
from vlae_codec.weights.model import Model

OUTSIDE = 256  # a pixel outside its tile
VALUE_BITS = FACTOR_BITS + SIGMOID_BITS
HALF_LEVEL = 1 << (LEVEL_BITS - 1)
FAR = 1 << 40  # where symbol 0 begins and the last one ends, 1/64 level: every component saturates there
WAYS = 16  # that a step of the search branches, uncompiled
BLOCK = 1 << 16  # pixels whose parameters are held at once when encoding; rows of a wave when decoding
SPREAD = 4  # tiles of fewer lanes than the most by more than this factor are no batch: the grid would be mostly empty
GRAPHS = 8  # at most, one for each number of groups
TICK = 128  # waves between two signs of progress
WARM = 2  # waves that run before a graph is captured: libraries load, functions compile


class Constants(NamedTuple):
    """What of a model the pixels' networks and CDFs need, on the device."""

    layers: tuple[tuple[Tensor, ...], ...]  # weight float32; multiplier, addend, shift, low, high int64
    difference: Tensor  # float32 (257 * 257,): network input of a neighbour, at 257 * reference + neighbour
    centred: Tensor  # float32 (257,): reference - 128
    origin: Tensor  # int64 (257,): minus the offset that a reference is to locations, 1/64 level
    neighbours: Tensor  # int64 (3,): places of the left, upper and upper left pixels in a window
    sigmoid: Tensor  # int32 (8193,)
    exp: Tensor  # int64 (512,)
    inverse: Tensor  # int64 (160,)
    zero: Tensor  # int64 ()
    argument: Tensor  # int64 (): 2^16 times the sigmoid's entry at 0
    numerator: Tensor  # int64 (): of the factor
    value: Tensor  # int64 (): 2^38
    powers: Tensor  # int64: 2^12, 2^13, ...: as many as a product reaches, so far it is shifted
    edges: Tensor  # int64 (levels + 1,): lower edge of a symbol, 1/64 level
    leaks: Tensor  # int64 (levels + 1,): 2^38 x; what makes C(levels) = 2^24 at the end
    search: tuple[Tensor, ...]  # int64 (m, 1, 1) each: symbols, from where the last look led, to look at next


class Mixture(NamedTuple):
    """Parameters of the pixels of some rows (...,), in the form that a CDF is evaluated in."""

    weights: Tensor  # (..., K)
    bias: Tensor  # (..., C, K): 2^16 (4096 - mean * inverse), before earlier channels moved the mean
    inverse: Tensor  # (..., C, K)
    coefficients: Tensor  # (..., pairs, K)
    origin: Tensor  # (..., C): minus the offset

    def part(self, rows: slice, shape: torch.Size) -> Mixture:
        """Some of the rows (n,), in another shape."""
        return Mixture(*(v[rows].view(*shape, *v.shape[1:]) for v in self))


class Cdf(NamedTuple):
    """Mixtures of one channel, their K components in one part or in several."""

    weights: list[Tensor]  # (..., k)
    bias: list[Tensor]
    inverse: list[Tensor]
    factor: Tensor  # (...,)


# ---------------------------------------------------------------------------------------------------- arithmetic


def _network(c: Constants, rows: Tensor) -> Tensor:
    """(n, inputs) float32 -> (n, P) int64: the local network."""
    hidden = rows
    for i, (weight, multiplier, addend, shift, low, high) in enumerate(c.layers):
        if i == len(c.layers) - 1:
            hidden = torch.cat([hidden, rows], 1)
        total = (hidden @ weight).long()
        outputs = multiplier.shape[1]
        value = addend
        for digit, factor in enumerate(multiplier):
            value = torch.addcmul(value, total[:, digit * outputs : (digit + 1) * outputs], factor)
        hidden = (value >> shift).clamp(low, high)
        if i < len(c.layers) - 1:
            hidden = hidden.float()
    return hidden


def _mixture(c: Constants, pixels: Tensor, contexts: Tensor, places: Tensor, windows: Tensor) -> Mixture:
    """The mixtures of pixels at `places` (n,) of a canvas; windows: (n, W) places of their neighbours."""
    seen = pixels[windows]
    left, upper, corner = seen[:, c.neighbours].unbind(1)
    # Median edge detector: with equal values outside it gives what lies inside; with none inside, OUTSIDE
    reference = (left + upper - corner).clamp(torch.minimum(left, upper), torch.maximum(left, upper)).long()
    differences = c.difference[torch.add(seen, reference[:, None], alpha=OUTSIDE + 1)]
    params = _network(c, torch.cat([differences.flatten(1), c.centred[reference], contexts[places]], 1))
    channels = pixels.shape[1]
    k = params.shape[1] // (1 + 2 * channels + channels * (channels - 1) // 2)
    logits, located, scales, moves = params.tensor_split([k, k + k * channels, k + 2 * k * channels], 1)
    weights = c.exp[(logits.amax(1, keepdim=True) - logits).clamp(max=EXP_ENTRIES - 1)]
    inverse = c.inverse[scales.unflatten(1, (k, channels)).mT]
    origin = c.origin[reference]
    from_edge = origin[..., None] - located.unflatten(1, (k, channels)).mT
    bias = torch.addcmul(c.argument, from_edge - HALF_LEVEL, inverse)
    return Mixture(weights, bias, inverse, moves.unflatten(1, (k, -1)).mT, origin)


def _evaluate(c: Constants, cdf: Cdf, edges: Tensor, leaks: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(values (m, ...), sigmoids (m, ..., k)) at the lower edges of symbols (m, ...)."""
    sigmoids = [
        c.sigmoid[(torch.addcmul(bias, edges[..., None], inverse) >> 16).clamp(0, 2 * SIGMOID_HALF)]
        for bias, inverse in zip(cdf.bias, cdf.inverse)
    ]
    mass = reduce(torch.add, [(part * weights).sum(-1) for part, weights in zip(sigmoids, cdf.weights)])
    return torch.addcmul(leaks, mass, cdf.factor), sigmoids


def _edges(c: Constants, cdf: Cdf, symbols: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(start, end, products): the intervals of symbols (...,), and the weights times their components' masses."""
    start, below = _evaluate(c, cdf, c.edges[symbols], c.leaks[symbols])
    end, above = _evaluate(c, cdf, c.edges[symbols + 1], c.leaks[symbols + 1])
    products = [weights * (high - low) for weights, low, high in zip(cdf.weights, below, above)]
    return start >> VALUE_BITS, end >> VALUE_BITS, products


def _search(c: Constants, cdf: Cdf, cf: Tensor) -> Tensor:
    """The symbols that own cf (...,)."""
    bound = torch.add(c.value, cf, alpha=1 << VALUE_BITS)  # C(x) <= cf where the value of x is below
    symbols = c.zero
    for ahead in c.search:
        values, _ = _evaluate(c, cdf, *((symbols + ahead) << bits for bits in (LEVEL_BITS, VALUE_BITS)))
        symbols = torch.addcmul(symbols, (values < bound).sum(0), ahead[0, 0, 0])
    return symbols


def _channels(
    c: Constants, mixture: Mixture, coded: int, parts: int, code: Callable[[int, Cdf], tuple[Tensor, list[Tensor]]]
) -> None:
    """Goes through the channels of rows, components in so many parts; `code` gives a channel's symbols and products."""

    def split(v: Tensor) -> list[Tensor]:
        return list(v.tensor_split(parts, -1))

    weights = split(mixture.weights)
    us: list[Tensor] = []
    for channel in range(coded):
        bias, inverse = (split(v[..., channel, :]) for v in (mixture.bias, mixture.inverse))
        if us:
            pair = channel * (channel - 1) // 2
            moves = [split(mixture.coefficients[..., pair + i, :]) for i in range(channel)]
            for i, start in enumerate(bias):
                moved = c.zero
                for u, coefficients in zip(us, moves):
                    moved = torch.addcmul(moved, coefficients[i], u)
                bias[i] = torch.addcmul(start, moved >> COEF_BITS, inverse[i], value=-1)
        total = reduce(torch.add, [v.sum(-1) for v in weights])
        factor = torch.div(c.numerator, total, rounding_mode="floor")
        symbols, products = code(channel, Cdf(weights, bias, inverse, factor))
        if channel + 1 < coded:
            us.append(torch.add(mixture.origin[..., channel], symbols, alpha=1 << LEVEL_BITS)[..., None])
            top = reduce(torch.maximum, [v.amax(-1, keepdim=True) for v in products])
            shift = torch.bucketize(top, c.powers, right=True)
            weights = [torch.where(top > 0, (v >> shift).clamp(min=1), w) for v, w in zip(products, weights)]


def _intervals(c: Constants, mixture: Mixture, symbols: Tensor, coded: int, parts: int) -> tuple[Tensor, Tensor]:
    """(starts, freqs), (n, coded) int32, of known symbols (n, C)."""
    starts: list[Tensor] = []
    freqs: list[Tensor] = []

    def code(channel: int, cdf: Cdf) -> tuple[Tensor, list[Tensor]]:
        start, end, products = _edges(c, cdf, symbols[:, channel])
        starts.append(start)
        freqs.append(end - start)
        return symbols[:, channel], products

    _channels(c, mixture, coded, parts, code)
    return torch.stack(starts, 1).int(), torch.stack(freqs, 1).int()


def _pop(
    c: Constants, mixture: Mixture, heads: Tensor, tops: Tensor, valid: Tensor, words: Tensor, coded: int, parts: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(heads, tops, symbols (T, L) of each coded channel): a group of rows popped from T stacks, one from each lane.

    heads: (T, L), bit patterns of uint64; tops: (T,), where in `words` a stack ends; valid: (T, L), which rows exist.
    """
    found: list[Tensor] = []

    def code(channel: int, cdf: Cdf) -> tuple[Tensor, list[Tensor]]:
        nonlocal heads, tops
        cf = heads & ((1 << PRECISION) - 1)
        symbols = _search(c, cdf, cf)
        start, end, products = _edges(c, cdf, symbols)
        start, end = torch.where(valid, start, 0), torch.where(valid, end, 1 << PRECISION)
        popped = torch.addcmul(cf - start, end - start, (heads >> PRECISION) & ((1 << (64 - PRECISION)) - 1))
        need = (popped >> 32) == 0
        word = words[tops[:, None] - need.cumsum(1)]
        heads = torch.where(need, torch.add(word, popped, alpha=1 << 32), popped)
        tops = tops - need.sum(1)
        found.append(symbols)
        return symbols, products

    _channels(c, mixture, coded, parts, code)
    return heads, tops, found


# ---------------------------------------------------------------------------------------------------- compiling


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, tuple):
        for part in nested:
            yield from _tensors(part)


class _Compiled:
    """A function of constants and tensors compiled by torch; where that fails, the function itself.

    The first size of each tensor after the constants may vary without another compilation.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.compiled = function, torch.compile(function, fullgraph=True)
        self.compiling = True

    def __call__(self, c: Constants | Tensor, *args: Any) -> Any:
        if self.compiling:
            try:
                for v in _tensors(c):
                    torch._dynamo.mark_static(v)
                for v in _tensors(args):
                    torch._dynamo.maybe_mark_dynamic(v, 0)
                    torch._dynamo.mark_static(v, list(range(1, v.dim())))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return self.compiled(c, *args)
            except Exception:  # no compiler, no Triton, no room: of many types, and none matters
                self.compiling = False
        return self.function(c, *args)


_compiled = cache(_Compiled)  # one of each function, for all models and batches


@cache
def _compiles(kind: str) -> bool:
    """Whether torch can compile for a kind of device here: tried on next to nothing, as it may lack a C compiler."""
    probe = _Compiled(lambda c: c + 1)
    probe(torch.zeros(2, dtype=torch.int64, device=kind))
    return probe.compiling


class _Graphs:
    """Runs a step, a function of the number of groups: replayed from CUDA graphs where there is CUDA."""

    def __init__(self, step: Callable[[int], None], device: torch.device) -> None:
        self.step, self.usable = step, device.type == "cuda"
        self.runs: dict[int, int] = {}
        self.graphs: dict[int, Any] = {}

    def run(self, groups: int) -> None:
        if self.usable and groups not in self.graphs and self.runs.get(groups, 0) >= WARM:
            self.capture(groups)
        if groups in self.graphs:
            self.graphs[groups].replay()
        else:
            self.runs[groups] = self.runs.get(groups, 0) + 1
            self.step(groups)

    def capture(self, groups: int) -> None:
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        try:
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                self.step(groups)
            finally:
                graph.capture_end()
            self.graphs[groups] = graph
        except RuntimeError:  # the step runs as well without
            self.usable = False


# ---------------------------------------------------------------------------------------------------- the codec


class Canvas(NamedTuple):
    """The tiles of a batch in one array of P places."""

    pixels: Tensor  # (P, C) int16, OUTSIDE where there is none
    contexts: Tensor  # (P, F) int8
    firsts: np.ndarray  # (T,) int64: place of the first pixel of each band
    pitches: np.ndarray  # (T,) int64: from a place to the one below
    windows: Tensor  # (T, W) int64: from a place to those of its window


class DevicePixels:
    """p(x | context, known) of a model on a torch device, as `vlae_codec.coder.tile` has it on the CPU.

    compiled: whether torch compiles the arithmetic, if it can (it takes a while, once); by default on CUDA. Raises
    WeightsError for tables other than `models.export` makes, VlaeError for a device that torch does not have.
    """

    def __init__(self, model: Model, device: str, compiled: bool | None = None) -> None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # the latter from a build without CUDA
            raise VlaeError(f"torch has no device {device!r} here: use --device cpu, the bytes are the same") from error
        self.device = torch.device(device)
        self.channels, self.stretch = model.config["channels"], STRETCH[model.config.get("levels", 256)]
        self.window, self.slope = np.array(wo(model.config["window"])), window_slope(model.config["window"])
        self.reach, self.up = model.config["window"][0] // 2, model.config["window"][1]
        self.compiled = (self.device.type == "cuda" if compiled is None else compiled) and _compiles(self.device.type)
        self.parts: int = model.config["mixtures"] if self.compiled else 1
        self.constants = self._constants(model, 2 if self.compiled else WAYS)
        self.null = self._tensor(model.null)
        functions: list[Any] = [_mixture, _intervals, _pop]
        if self.compiled:
            functions = [_compiled(f) for f in functions]
        self.mixture, self.intervals_of, self.pop_group = functions

    def _tensor(self, array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(np.array(array), dtype=dtype, device=self.device)

    def _constants(self, model: Model, ways: int) -> Constants:
        _check(model)
        tables, levels = model.tables, model.config.get("levels", 256)

        def layer(made: Layer) -> tuple[Tensor, ...]:
            digits = made.weight.shape[1] // made.multiplier.size
            multiplier = np.stack([made.multiplier << DIGIT_BITS * i for i in reversed(range(digits))])
            low, high = (-128, 127) if made.low is None or made.high is None else (made.low, made.high)
            integers = (multiplier, made.addend, made.shift, low, high)
            return (self._tensor(made.weight, torch.float32), *(self._tensor(np.array(v, np.int64)) for v in integers))

        x = np.arange(OUTSIDE + 1)
        inside = np.where(x == OUTSIDE, 128, x)
        difference = np.where(x == OUTSIDE, 0, (x - inside[:, None]).clip(-128, 127))
        edges, leaks = np.arange(levels + 1) << LEVEL_BITS, np.arange(levels + 1) << VALUE_BITS
        edges[0], edges[-1] = -FAR, FAR
        leaks[-1] += (1 << VALUE_BITS) - 1  # as the factor is rounded down
        search, step = [], levels
        while step > 1:
            branches = min(ways, step)
            step //= branches
            search.append(self._tensor(step * np.arange(1, branches)[:, None, None]))
        offsets = self.window.tolist()
        return Constants(
            tuple(layer(made) for made in model.local.layers),
            self._tensor(difference.ravel(), torch.float32),
            self._tensor(inside - 128, torch.float32),
            self._tensor(-(inside << LEVEL_BITS >> self.stretch)),
            self._tensor(np.array([offsets.index(place) for place in ([0, -1], [-1, 0], [-1, -1])])),
            self._tensor(tables.sigmoid),
            self._tensor(tables.exp, torch.int64),
            self._tensor(tables.inverse, torch.int64),
            self._tensor(np.array(0)),
            self._tensor(np.array(SIGMOID_HALF << 16)),
            self._tensor(np.array(((1 << PRECISION) - levels) << FACTOR_BITS)),
            self._tensor(np.array(1 << VALUE_BITS)),
            self._tensor(1 << np.arange(WEIGHT_BITS, WEIGHT_BITS + SIGMOID_BITS + 1)),
            self._tensor(edges),
            self._tensor(leaks),
            tuple(search),
        )

    def _canvas(
        self,
        known: Sequence[np.ndarray],
        heights: Sequence[int],
        contexts: Sequence[np.ndarray] | None,
        bands: Sequence[np.ndarray] | None = None,
    ) -> Canvas:
        """The canvas of tiles with the rows above their bands, and the bands where they are known."""
        widths = np.array([k.shape[1] for k in known], np.int64)
        pitches = widths + self.reach
        rows = np.array(heights, np.int64) + self.up + 1
        begins = np.concatenate([[0], np.cumsum(rows * pitches)])
        pixels = torch.full((int(begins[-1]), self.channels), OUTSIDE, dtype=torch.int16, device=self.device)
        features = torch.zeros((len(pixels), self.null.shape[2]), dtype=torch.int8, device=self.device)
        stride = len(self.null)
        for t, above in enumerate(known):
            shape = (int(rows[t]), int(pitches[t]), -1)
            tile = pixels[begins[t] : begins[t + 1]].view(shape)[:, self.reach :]
            context = features[begins[t] : begins[t + 1]].view(shape)[self.up : -1, self.reach :]
            seen = above[-self.up :]
            tile[self.up - len(seen) : self.up] = self._tensor(seen) << self.stretch
            if bands is not None:
                tile[self.up : -1] = self._tensor(bands[t]) << self.stretch
            if contexts is not None:
                context[:] = self._tensor(contexts[t])
            else:  # by a pixel's place in its cell, from the top of the tile
                r = (torch.arange(heights[t], device=self.device) + len(above)) % stride
                context[:] = self.null[r[:, None], torch.arange(int(widths[t]), device=self.device) % stride]
        windows = self.window[:, 0] * pitches[:, None] + self.window[:, 1]
        firsts = begins[:-1] + self.up * pitches + self.reach
        return Canvas(pixels, features, firsts, pitches, self._tensor(windows))

    @torch.inference_mode()
    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Any = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """(starts, freqs), (height, W, C) uint32, of a band (height, W, C) uint8 given the rows above it.

        context: (height, W, F) int8, or None for the no-latent mode; coded: channels that are, the others are left 0;
        spread: not needed here.
        """
        height, width, channels = band.shape
        found = torch.zeros((2, band.size // channels, channels), dtype=torch.int32, device=self.device)
        canvas = self._canvas([above], [height], None if context is None else [context], [band])
        for begin in range(0, height * width, BLOCK):
            at = torch.arange(begin, min(begin + BLOCK, height * width), device=self.device)
            row = torch.div(at, width, rounding_mode="floor")
            places = torch.add(at + int(canvas.firsts[0]), row, alpha=int(canvas.pitches[0]) - width)
            windows = places[:, None] + canvas.windows
            mixture = self.mixture(self.constants, canvas.pixels, canvas.contexts, places, windows)
            symbols = (canvas.pixels[places] >> self.stretch).long()
            parts = self.intervals_of(self.constants, mixture, symbols, coded, self.parts)
            for whole, part in zip(found, parts):
                whole[begin : begin + BLOCK, :coded] = part
        starts, freqs = found.cpu().numpy().view(np.uint32).reshape(2, *band.shape)
        return starts, freqs

    @torch.inference_mode()
    def pop(
        self,
        messages: Sequence[Message],
        known: Sequence[np.ndarray],
        heights: Sequence[int],
        contexts: Sequence[np.ndarray] | None,
        coded: int,
        tick: Callable[[int], None] | None = None,
    ) -> tuple[list[Message], list[np.ndarray]]:
        """(messages, bands): the bands (height, W, C) uint8 of a batch of tiles, popped.

        known: (rows, W, C) uint8; contexts: (height, W, F) int8 each, or None for the no-latent mode; tick is told the
        number of pixels since it was last called. Raises EmptyStack naming the first tile whose stack ran out.
        """
        popped = list(messages)
        bands = [np.zeros((height, *k.shape[1:]), np.uint8) for k, height in zip(known, heights)]
        failed: list[tuple[int, int]] = []  # wave, tile
        for batch in self._batches(messages, bands):
            stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
            if stream is not None:
                stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):  # of None: nothing
                canvas = self._canvas(
                    [known[t] for t in batch], [heights[t] for t in batch], contexts and [contexts[t] for t in batch]
                )
                shapes = [bands[t].shape[:2] for t in batch]
                walk = _Walk(self, [messages[t] for t in batch], canvas, shapes, coded)
                walk.run(tick)
                failed += [(wave, t) for t, wave in zip(batch, walk.failures()) if wave < walk.waves]
                pixels = (canvas.pixels >> self.stretch).to(torch.uint8).cpu().numpy()
                for t, message, first, pitch in zip(batch, walk.messages(), canvas.firsts, canvas.pitches):
                    height, width = bands[t].shape[:2]
                    tile = pixels[first : first + height * pitch].reshape(height, pitch, -1)
                    popped[t], bands[t] = message, tile[:, :width].copy()
        if failed:
            raise EmptyStack(f"the coded stream of tile {min(failed)[1]} ran out: the file is damaged")
        return popped, bands

    def _batches(self, messages: Sequence[Message], bands: Sequence[np.ndarray]) -> list[list[int]]:
        """Tiles, those without pixels left out, that go in common waves: of similar lanes, and not too many."""
        batches: list[list[int]] = []
        most = groups = 0
        for t in sorted(range(len(bands)), key=lambda t: -len(messages[t].heads)):
            height, width, _ = bands[t].shape
            if height and width:
                lanes = len(messages[t].heads)
                own = -(-min(height, -(-width // self.slope)) // lanes)
                groups = max(groups, own)
                if not batches or lanes * SPREAD < most or groups * (len(batches[-1]) + 1) * most > BLOCK:
                    batches.append([])
                    most, groups = lanes, own
                batches[-1].append(t)
        return batches


class _Walk:
    """A batch of tiles on its way through the waves."""

    def __init__(
        self, codec: DevicePixels, messages: list[Message], canvas: Canvas, shapes: list[tuple[int, int]], coded: int
    ) -> None:
        self.codec, self.sent, self.canvas, self.coded = codec, messages, canvas, coded
        tensor, slope = codec._tensor, codec.slope
        rows, widths = np.array(shapes, np.int64).T
        lanes = np.array([len(m.heads) for m in messages], np.int64)
        self.waves = int((widths + slope * (rows - 1)).max())
        wave = np.arange(self.waves)[:, None]
        low = np.maximum(0, (wave - widths + slope) // slope)
        count = np.maximum(0, np.minimum(rows, wave // slope + 1) - low)
        down = canvas.pitches - slope  # from a row's place in a wave to the next row's
        self.pixels = count.sum(1)
        needed = np.maximum(1, -(-count // lanes)).max(1)  # in a narrow tile not every wave has rows
        unit = -(-int(needed.max()) // GRAPHS)
        self.groups = (-(-needed // unit) * unit).tolist()
        self.phases = rows * widths % lanes  # at the end

        at = np.arange(_lanes(int(lanes.max())) if codec.compiled else lanes.max())
        order = at + np.arange(max(self.groups))[:, None, None] * lanes[:, None]
        order = np.where(at < lanes[:, None], order, self.waves)  # (groups, T, L); `waves`: never
        self.order, self.ahead = tensor(order), tensor(order * down[:, None])
        self.schedule = tensor(np.stack([canvas.firsts + wave + low * down, count, count % lanes], 1))
        self.spare = tensor(canvas.firsts + rows * canvas.pitches)[:, None]
        self.at, self.lanes = tensor(at), tensor(lanes)[:, None]

        # As many words in front as a wave can take from an empty stack, one behind for those who need none
        sizes = np.array([len(m.words) for m in messages], np.int64)
        front = np.zeros(order.size * coded + 1, np.uint32)
        words = np.concatenate([front, *(m.words for m in messages), np.zeros(1, np.uint32)])
        ends = len(front) + np.cumsum(sizes)
        heads = np.full((len(messages), len(at)), HEAD_MIN, np.uint64)
        for row, message in zip(heads, messages):
            row[: len(message.heads)] = message.heads
        self.words, self.heads = tensor(words.astype(np.int64)), tensor(heads.view(np.int64))
        self.tops, self.bottoms = tensor(ends), tensor(ends - sizes)
        self.wave, self.lived = tensor(np.array([0])), tensor(np.zeros_like(sizes))

    def step(self, groups: int) -> None:
        """Moves every tile by one wave, of at most so many groups."""
        codec, c, canvas = self.codec, self.codec.constants, self.canvas
        first, count, shift = self.schedule.index_select(0, self.wave)[0].unbind(0)
        valid = self.order[:groups] < count[:, None]
        grid = torch.where(valid, self.ahead[:groups] + first[:, None], self.spare)
        places, windows = grid.flatten(), (grid[..., None] + canvas.windows[:, None]).flatten(0, 2)
        mixture = codec.mixture(c, canvas.pixels, canvas.contexts, places, windows)
        heads, tops = self.heads, torch.maximum(self.tops, self.bottoms - 1)
        found: list[Tensor] = []
        for group in range(groups):
            part = mixture.part(slice(group * heads.numel(), (group + 1) * heads.numel()), heads.shape)
            heads, tops, symbols = codec.pop_group(
                c, part, heads, tops, valid[group], self.words, self.coded, codec.parts
            )
            found += symbols
        values = (torch.stack(found) << codec.stretch).view(groups, self.coded, -1).movedim(1, 2).short()
        canvas.pixels[places] = values.flatten(0, 1).expand(-1, codec.channels)
        self.heads.copy_(heads.gather(1, torch.remainder(self.at + shift[:, None], self.lanes)))
        self.tops.copy_(tops)
        self.lived.add_(tops >= self.bottoms)
        self.wave.add_(1)

    def run(self, tick: Callable[[int], None] | None) -> None:
        graphs = _Graphs(self.step, self.codec.device)
        for wave, groups in enumerate(self.groups):
            graphs.run(groups)
            if tick is not None and (wave % TICK == TICK - 1 or wave == self.waves - 1):
                tick(int(self.pixels[wave - wave % TICK : wave + 1].sum()))

    def failures(self) -> list[int]:
        """The wave in which each tile's stack ran out; the number of waves where it did not."""
        return self.lived.tolist()

    def messages(self) -> list[Message]:
        heads, sizes = self.heads.cpu().numpy().view(np.uint64), (self.tops - self.bottoms).tolist()
        return [
            Message(np.roll(row[: len(m.heads)], phase), m.words[: max(size, 0)].copy())
            for m, row, phase, size in zip(self.sent, heads, self.phases, sizes)
        ]


def _lanes(most: int) -> int:
    """Lanes of a compiled batch: of few different numbers, for each is compiled anew."""
    return 1 << (most - 1).bit_length() if most < 8 else -(-most // 8) * 8


def _check(model: Model) -> None:
    """Raises WeightsError unless the tables have the ends and the identity that the arithmetic here relies on."""
    tables = model.tables
    ends = tables.sigmoid[[0, -1]].tolist() == [0, 1 << SIGMOID_BITS]
    identity = {int(table[OUTER_IDENTITY]) for table in (tables.outer_scale, tables.outer_inverse)} == {1 << 16}
    if not ends or not identity or model.config["mixtures"] > 1 << (VALUE_BITS - SIGMOID_BITS - WEIGHT_BITS):
        raise WeightsError("the probability tables of this model are not those of an exported one; use the CPU")
