"""Waves: the order is causal and complete; the integer gathers are the float model's and a plain loop's."""

import numpy as np
import pytest
import torch
from numba import njit
from test_tables import random_message  # type: ignore[import-not-found]

from vlae_codec import ans, network, waves
from vlae_codec.models import vlae as float_vlae
from vlae_codec.waves import SLACK, wave_rows, window_offsets, window_slope, with_slack

WINDOWS = [(1, 1), (3, 1), (5, 2), (7, 4), (9, 5), (11, 2), (13, 3)]  # the last ones of more than 32 bytes
SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (6, 5), (4, 17)]


def random_image(rng, height, width, channels=3):
    """Noise, flat parts and edges."""
    x = rng.integers(0, 256, (height, width, channels), np.uint8)
    x[:, : width // 3] = 255
    x[height // 2 :, width // 2 :] //= 64
    return x


def random_context(rng, height, width, features=4):
    return rng.integers(-128, 128, (height, width, features), np.int8)


@pytest.mark.parametrize("window", [*WINDOWS, (4, 2)])
def test_window(window):
    offsets = window_offsets(window).tolist()
    assert [tuple(o) for o in offsets] == float_vlae.window_offsets(window)
    assert offsets == sorted(offsets)
    assert all(r < 0 or (r == 0 and c < 0) for r, c in offsets)
    assert window_slope(window) == max(c for _, c in offsets) + 1 if window[0] > 1 else 1


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_order(window, height, width):
    """Every position is in one wave, within its wave once, and its window in earlier waves."""
    slope = window_slope(window)
    steps = width + slope * (height - 1)
    wave_of = {}
    for wave in range(steps):
        low, high = wave_rows(wave, height, width, slope)
        for r in range(low, high):
            position = (r, wave - slope * r)
            assert position not in wave_of
            wave_of[position] = wave
    assert wave_of.keys() == {(r, c) for r in range(height) for c in range(width)}
    assert max(wave_of.values()) == steps - 1
    for (r, c), wave in wave_of.items():
        for dr, dc in window_offsets(window):
            assert wave_of.get((r + dr, c + dc), -1) < wave
    assert wave_rows(-1, height, width, slope)[0] >= wave_rows(-1, height, width, slope)[1]
    low, high = wave_rows(steps, height, width, slope)
    assert low >= high


def test_columns():
    """Without a slope rows do not depend on each other."""
    assert wave_rows(2, 9, 5, 0) == (0, 9)


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


@njit
def gather_pixels(x, width, channels, context, period, features, wide, up, less, more, memory, rows, references):
    for i in range(len(rows)):
        place = (x, width, channels, context, period, features, wide, up, i // width, i % width)
        waves.pixel_row(*place, less, more, memory, 3, references, i * channels)
        rows[i] = memory[3 : 3 + rows.shape[1]]


@njit
def gather_latents(plane, offsets, memory, rows):
    for i in range(len(rows)):
        waves.latent_row(plane, offsets, i // plane.shape[1], i % plane.shape[1], memory, 3)
        rows[i] = memory[3 : 3 + rows.shape[1]]


def gather_all(x, context, window):
    """Rows int8 of all pixels, and their reference values. The memory that may be overwritten is not clean."""
    height, width, channels = x.shape
    period, _, features = context.shape
    inputs = (len(window_offsets(window)) + 1) * channels + features
    rows = np.full((height * width, inputs), 99, np.uint8)
    memory, references = np.full(3 + inputs + SLACK + 4, 99, np.uint8), np.full(height * width * channels, 99, np.uint8)
    less, more = np.full((2, window[0] * channels + SLACK), 99, np.uint8)
    bytes_ = with_slack(context.view(np.uint8) ^ np.uint8(128))
    args = (with_slack(x), width, channels, bytes_, period, features, *window, less, more, memory, rows, references)
    gather_pixels(*args)
    assert np.all(memory[:3] == 99)
    assert np.all(memory[-4:] == 99)
    return (rows ^ np.uint8(128)).view(np.int8), references.reshape(-1, channels)


def gather_all_latents(plane, window):
    offsets = window_offsets(window)
    rows = np.full((plane[..., 0].size, len(offsets) * plane.shape[2]), 99, np.uint8)
    gather_latents(plane, offsets, np.full(rows.shape[1] + 3, 99, np.uint8), rows)
    return (rows ^ np.uint8(128)).view(np.int8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (20, 30)])
def test_pixel_row(window, height, width, channels):
    """On the border and inside, tiles narrower than the window among them; the context repeats downwards."""
    rng = np.random.default_rng(height)
    x, context = random_image(rng, height, width, channels), random_context(rng, height, width, 35)
    rows, references = gather_all(x, context, window)
    for i in range(height * width):
        row, offset = plain_pixel_row(x, context, width, i // width, i % width, window_offsets(window).tolist())
        assert rows[i].tolist() == row
        assert (references[i].astype(int) * 64).tolist() == offset
    part = context[: max(1, height // 3), :, :4].copy()
    whole = np.tile(part, (height, 1, 1))[:height]
    assert np.array_equal(gather_all(x, part, window)[0], gather_all(x, whole, window)[0])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_latent_row(window, height, width):
    plane = np.random.default_rng(width).integers(-128, 128, (height, width, 2), np.int8)
    offsets = window_offsets(window)
    expected = np.zeros((height * width, len(offsets), 2), np.int8)
    for i in range(height * width):
        for j, (dr, dc) in enumerate(offsets):
            r, c = i // width + dr, i % width + dc
            if r >= 0 and 0 <= c < width:
                expected[i, j] = plane[r, c]
    assert np.array_equal(gather_all_latents(plane, window), expected.reshape(height * width, -1))


# ---------------------------------------------------------------------------------------------------- coding order


@pytest.mark.parametrize("lanes", [1, 2, 5, 24])
@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("slope", [0, 2, 7])
@pytest.mark.parametrize(("first", "last", "width"), [(0, 1, 1), (0, 7, 11), (3, 9, 5), (8, 9, 1), (2, 2, 9)])
def test_push_region(first, last, width, slope, coded, lanes):
    """Symbols come off wave by wave; in a wave in groups of as many rows as lanes, there channel by channel."""
    if slope == 0 and width > 1:
        return
    rng = np.random.default_rng(width)
    starts = rng.integers(0, 1 << 23, (9, width, 3)).astype(np.uint32)
    freqs = rng.integers(1, 1 << 23, (9, width, 3)).astype(np.uint32)
    before = random_message(rng, lanes, 5)
    pushed = waves.push_region(before, starts, freqs, (first, last, width), slope, coded)
    order, row = [], 0
    for wave in range(width + slope * (last - first - 1) if last > first else 0):
        rows = [r for r in range(last - first) if 0 <= wave - slope * r < width]
        for group in range(0, len(rows), lanes):
            for channel in range(coded):
                for i, r in enumerate(rows[group : group + lanes]):
                    order.append(((first + r, wave - slope * r, channel), (row + group + i) % lanes))
        row += len(rows)
    assert len(order) == (last - first) * width * coded
    heads, words, n = pushed.heads.copy(), pushed.words, len(pushed.words)
    for place, lane in order:
        start, freq = int(starts[place]), int(freqs[place])
        assert start <= ans.peek(heads[lane], 24) < start + freq
        n = ans.pop_symbol(heads, lane, words, n, start, freq, 24)
    assert ans.Message(heads, words[:n]) == before


# ---------------------------------------------------------------------------------------------------- the float model


@pytest.mark.parametrize("window", WINDOWS[1:])
@pytest.mark.parametrize(("height", "width"), [*SIZES, (20, 30)])
def test_float_local_rows(window, height, width):
    rng = np.random.default_rng(8)
    config = float_vlae.Config(window=window, hidden=8, layers=1, context=4, encoder=8, topdown=8, prior_hidden=8)
    model = float_vlae.Vlae(config)
    x = np.stack([random_image(rng, height, width) for _ in range(2)])
    context = np.stack([random_context(rng, height, width) for _ in range(2)])
    features = torch.from_numpy(context).float() * float_vlae.HIDDEN_UNIT
    at = torch.randperm(2 * height * width)
    rows, ref, pixels = model.local_rows(torch.from_numpy(x), features.flatten(0, 2)[at], at)
    gathered = [gather_all(*pair, window) for pair in zip(x, context)]
    integer, references = (np.concatenate(parts)[at] for parts in zip(*gathered))
    steps = integer.shape[1] - 4
    assert np.array_equal(rows[:, :steps].numpy() * 16, integer[:, :steps])
    assert np.array_equal(rows[:, steps:].numpy() * 64, integer[:, steps:])
    assert np.array_equal(ref.numpy(), references)
    assert np.array_equal(pixels.numpy(), x.reshape(-1, 3)[at])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_float_prior_rows(window, height, width):
    prior = float_vlae.Prior(float_vlae.Config(prior_window=window, latents=2, prior_hidden=8))
    plane = np.random.default_rng(9).integers(-128, 128, (2, height, width, 2), np.int8)
    rows = np.stack([gather_all_latents(one, window) for one in plane])
    floats = prior.rows(torch.from_numpy(plane).float() / 16)
    assert np.array_equal(floats.reshape(rows.shape).numpy() * 16, rows)
    far = prior.rows(torch.from_numpy(plane).float() * 100)
    assert (far.min().item() >= -8, far.max().item() * 16 <= 127) == (True, True)


def test_float_gathers():
    x = np.random.default_rng(10).integers(-128, 128, (1, 8, 12, 3), np.int8)
    floats = torch.from_numpy(x).float()
    rows = network.patches(x[0], 4)
    patched = float_vlae.patches(floats, 4)
    assert np.array_equal(patched[0].reshape(rows.shape), rows)
    assert torch.equal(float_vlae.unpatch(patched, 4), floats)
    rows = network.neighbours(x[0], 0)
    assert np.array_equal(float_vlae.neighbours(floats)[0].reshape(rows.shape), rows)
