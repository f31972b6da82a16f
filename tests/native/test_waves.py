"""Waves: the order is causal and complete; the integer gathers are the float model's and a plain loop's."""

import numpy as np
import pytest
import torch
from test_mixture import TABLES, random_message  # type: ignore[import-not-found]

from vlae_codec.contract import SLACK, window_offsets, window_slope
from vlae_codec.models import layers
from vlae_codec.models import vlae as float_vlae
from vlae_codec.native import ans, network, waves
from vlae_codec.native.library import CoreError, core
from vlae_codec.native.network import Layer, Network, Packed
from vlae_codec.native.pixels import Pixels, Setting, with_slack

WINDOWS = [(3, 1), (5, 2), (7, 4), (9, 5), (11, 2), (13, 3)]  # the last ones of more than 32 bytes
SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (6, 5), (4, 17)]


def random_image(rng, height, width, channels=3):
    """Noise, flat parts and edges."""
    x = rng.integers(0, 256, (height, width, channels), np.uint8)
    x[:, : width // 3] = 255
    x[height // 2 :, width // 2 :] //= 64
    return x


def random_context(rng, height, width, features=4):
    return rng.integers(-128, 128, (height, width, features), np.int8)


@pytest.mark.parametrize("window", [(1, 1), *WINDOWS, (4, 2)])
def test_window(window):
    offsets = window_offsets(window)
    assert offsets == sorted(offsets)
    assert all(r < 0 or (r == 0 and c < 0) for r, c in offsets)
    assert window_slope(window) == max(c for _, c in offsets) + 1 if window[0] > 1 else 1


def plain_order(height, width, slope, lanes, coded):
    """((row, column, channel), lane) of a region's symbols in the order in which they are popped: wave by wave; in a
    wave in groups of as many rows as lanes, there channel by channel."""
    order, row = [], 0
    for wave in range(width + slope * (height - 1) if height else 0):
        rows = [r for r in range(height) if 0 <= wave - slope * r < width]
        for group in range(0, len(rows), lanes):
            for channel in range(coded):
                for i, r in enumerate(rows[group : group + lanes]):
                    order.append(((r, wave - slope * r, channel), (row + group + i) % lanes))
        row += len(rows)
    return order


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_order(window, height, width):
    """Every position comes once, and its window in earlier waves."""
    slope = window_slope(window)
    order = plain_order(height, width, slope, 1, 1)
    waves_of = {(r, c): c + slope * r for (r, c, _), _ in order}
    assert len(order) == len(waves_of) == height * width
    for (r, c), wave in waves_of.items():
        for dr, dc in window_offsets(window):
            assert waves_of.get((r + dr, c + dc), -1) < wave
    assert max(waves_of.values()) == width + slope * (height - 1) - 1


def plain_pixel_row(x, context, width, r, c, offsets):
    """`pixel_row` from its docstring, in Python's integers."""
    channels = x.shape[2]
    x = x.astype(int).tolist()
    ref = []
    for channel in range(channels):
        if r and c:
            left, upper, corner = x[r][c - 1][channel], x[r - 1][c][channel], x[r - 1][c - 1][channel]
            ref.append(sorted([left, upper, left + upper - corner])[1])
        else:
            ref.append(x[r - 1][c][channel] if r else x[r][c - 1][channel] if c else 128)
    row = []
    for dr, dc in offsets:
        inside = r + dr >= 0 and 0 <= c + dc < width
        for channel in range(channels):
            row.append(min(max(x[r + dr][c + dc][channel] - ref[channel], -128), 127) if inside else 0)
    return row + [v - 128 for v in ref] + context[r, c].tolist(), [64 * v for v in ref]


def some_pixels(channels, window, features, null=None):
    """The pixels of a model of no sense: its rows are what is tested."""
    inputs = (len(window_offsets(window)) + 1) * channels + features
    outputs = 1 + 2 * channels + channels * (channels - 1) // 2
    numbers, limits = np.zeros(outputs, np.int64), np.zeros(outputs, np.int32)
    net = Packed(Network((Layer(np.zeros((inputs, outputs), np.int8), numbers, numbers, 0, limits, limits),)))
    wide, up = window
    setting = Setting(net, TABLES, channels, wide, up, features, 1, 256, 0)
    return Pixels(setting, np.zeros((1, 1, features), np.int8) if null is None else null)


def gather_all(x, context, window):
    """Rows int8 of all pixels, and their reference values."""
    height, width, channels = x.shape
    pixels = some_pixels(channels, window, context.shape[2])
    rows, references, shifts = pixels.rows(pixels.whole(x, context), np.arange(height * width))
    assert not shifts.any()
    return rows, references


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (20, 30)])
def test_pixel_row(each_target, window, height, width, channels):
    """On the border and inside, tiles narrower than the window among them; the null context repeats."""
    rng = np.random.default_rng(height)
    x, context = random_image(rng, height, width, channels), random_context(rng, height, width, 35)
    offsets = window_offsets(window)
    expected = [plain_pixel_row(x, context, width, i // width, i % width, offsets) for i in range(height * width)]
    null = random_context(rng, 3, 3, 4)
    whole = np.tile(null, (height // 3 + 1, width // 3 + 1, 1))[:height, :width]
    for _ in each_target():
        rows, references = gather_all(x, context, window)
        assert rows.tolist() == [row for row, _ in expected]
        assert (references.astype(int) * 64).tolist() == [reference for _, reference in expected]
        pixels = some_pixels(channels, window, 4, null)
        repeated = pixels.rows(pixels.whole(x, None), np.arange(height * width))
        assert np.array_equal(repeated[0], gather_all(x, whole, window)[0])


@pytest.mark.parametrize("window", WINDOWS)
def test_written(target, window):
    """Only the rows and references of the pixels asked for are written, in any order and more than once."""
    rng = np.random.default_rng(1)
    x, context, positions = random_image(rng, 9, 20), random_context(rng, 9, 20, 35), rng.integers(0, 180, 50)
    pixels = some_pixels(3, window, 35)
    rows, references = np.full((52, pixels.setting.net.inputs), 99, np.uint8), np.full((52, 3), 99, np.uint8)
    tile = pixels.whole(x, context)
    shifts = np.full(52, 99, np.int32)
    args = (positions.ctypes.data, 50, *(array[1:].ctypes.data for array in (rows, references, shifts)))
    assert core.vlae_pixel_rows(pixels.setting.struct, tile.struct, *args) == 0
    expected = gather_all(x, context, window)
    assert np.array_equal((rows[1:-1] ^ np.uint8(128)).view(np.int8), expected[0][positions])
    assert np.array_equal(references[1:-1], expected[1][positions])
    for array in (rows, references, shifts):
        assert np.all(array[[0, -1]] == 99)


def test_with_slack():
    x = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::2]
    flat = with_slack(x)
    assert flat[:12].tolist() == x.ravel().tolist()
    assert flat.size == 12 + SLACK
    assert not flat[12:].any()


# ---------------------------------------------------------------------------------------------------- coding order


def some_intervals(rng, shape):
    starts = rng.integers(0, 1 << 23, shape).astype(np.uint32)
    return starts, rng.integers(1, 1 << 23, shape).astype(np.uint32)


@pytest.mark.parametrize("lanes", [1, 2, 5, 24])
@pytest.mark.parametrize("coded", [0, 1, 2, 3])
@pytest.mark.parametrize("slope", [0, 2, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 11), (6, 5), (1, 9), (30, 1), (0, 9)])
def test_push_region(height, width, slope, coded, lanes):
    """Symbols come off in the plain order, each from its lane; the message given stays as it is."""
    rng = np.random.default_rng(width)
    starts, freqs = some_intervals(rng, (height, width, 3))
    before = random_message(rng, lanes, 5)
    kept = ans.to_bytes(before)
    pushed = waves.push_region(before, starts, freqs, slope, coded)
    assert ans.to_bytes(before) == kept
    order = plain_order(height, width, slope, lanes, coded)
    assert len(order) == height * width * coded
    heads, words = [int(head) for head in pushed.heads], pushed.words.tolist()
    for place, lane in order:
        start, freq = int(starts[place]), int(freqs[place])
        cf = heads[lane] % (1 << 24)
        assert start <= cf < start + freq
        heads[lane] = freq * (heads[lane] >> 24) + cf - start
        if heads[lane] < 1 << 32:
            heads[lane] = heads[lane] << 32 | words.pop()
    assert ans.Message(np.array(heads, np.uint64), np.array(words, np.uint32)) == before


@pytest.mark.parametrize(
    ("start", "freq"), [(5, 0), (1, 1 << 24), ((1 << 24) - 1, 2), ((1 << 32) - 1, 2), (3, (1 << 32) - 2), (1 << 24, 1)]
)
def test_no_interval(start, freq):
    """An interval that is empty or reaches outside [0, 2^24) is refused, unless its channel is not coded."""
    rng = np.random.default_rng(1)
    starts, freqs = some_intervals(rng, (4, 5, 3))
    starts[2, 3, 1], freqs[2, 3, 1] = start, freq
    with pytest.raises(CoreError, match="a region"):
        waves.push_region(ans.empty(2), starts, freqs, 3, 3)
    waves.push_region(ans.empty(2), starts, freqs, 3, 1)


def test_other_shapes():
    starts, freqs = some_intervals(np.random.default_rng(1), (4, 5, 3))
    for wrong in (freqs[:3], freqs[..., :2], freqs[None]):
        with pytest.raises(ValueError, match="one shape"):
            waves.push_region(ans.empty(2), starts, wrong, 3, 1)
    for wrong in (freqs.astype(np.int32), freqs.astype(np.int64)):
        with pytest.raises(TypeError, match="uint32"):
            waves.push_region(ans.empty(2), starts, wrong, 3, 1)
    for slope, coded in ((3, 4), (-1, 3), (256, 3)):
        with pytest.raises(CoreError, match="a region"):
            waves.push_region(ans.empty(2), starts, freqs, slope, coded)


# ---------------------------------------------------------------------------------------------------- the float model


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (20, 30)])
def test_float_local_rows(window, height, width):
    rng = np.random.default_rng(8)
    config = float_vlae.Config(window=window, hidden=8, layers=1, context=4, encoder=8, topdown=8, prior_hidden=8)
    model = float_vlae.Vlae(config)
    x = np.stack([random_image(rng, height, width) for _ in range(2)])
    context = np.stack([random_context(rng, height, width) for _ in range(2)])
    features = torch.from_numpy(context).float() * layers.HIDDEN_UNIT
    at = torch.randperm(2 * height * width)
    rows, ref, pixels = model.local_rows(torch.from_numpy(x), features.flatten(0, 2)[at], at)
    gathered = [gather_all(*pair, window) for pair in zip(x, context)]
    integer, references = (np.concatenate(parts)[at] for parts in zip(*gathered))
    steps = integer.shape[1] - 4
    assert np.array_equal(rows[:, :steps].numpy() * 16, integer[:, :steps])
    assert np.array_equal(rows[:, steps:].numpy() * 64, integer[:, steps:])
    assert np.array_equal(ref.numpy(), references)
    assert np.array_equal(pixels.numpy(), x.reshape(-1, 3)[at])


def test_float_neighbours():
    x = np.random.default_rng(10).integers(-128, 128, (8, 12, 3), np.int8)
    found = layers.neighbours(torch.from_numpy(x).float()[None])
    assert np.array_equal(found[0], network.neighbours(x, 0))
