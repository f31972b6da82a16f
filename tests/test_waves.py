"""Waves: the order is causal and complete; the integer gathers are the float model's and a plain loop's."""

import numpy as np
import pytest
import torch

from vlae_codec import network, waves
from vlae_codec.models import vlae as float_vlae
from vlae_codec.waves import Grid, wave_rows, window_offsets, window_slope

WINDOWS = [(1, 1), (3, 1), (5, 2), (7, 4), (9, 5)]
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
    steps = Grid.of([(3, 3 + height, width)]).waves(slope)
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


def test_grid():
    grid = Grid.of([(0, 4, 7), (2, 2, 9), (1, 3, 20), (0, 0, 0)])
    assert grid.waves(4) == max(7 + 4 * 3, 20 + 4)
    assert grid.widest() == 6
    assert Grid.of([]).waves(3) == Grid.of([]).widest() == 0
    assert Grid.of([(5, 5, 8)]).waves(3) == 0
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


def gather_all(x, context, offsets):
    height, width, channels = x.shape
    rows = np.full((height * width, (len(offsets) + 1) * channels + context.shape[2]), 99, np.int8)
    pixel_offsets = np.full((height * width, channels), 99, np.int32)
    waves.pixel_rows(x, context, np.arange(height * width), offsets, rows, pixel_offsets)
    return rows, pixel_offsets


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (20, 30)])
def test_pixel_rows(window, height, width):
    rng = np.random.default_rng(height)
    x, context, offsets = random_image(rng, height, width), random_context(rng, height, width), window_offsets(window)
    rows, pixel_offsets = gather_all(x, context, offsets)
    for i in range(height * width):
        row, offset = plain_pixel_row(x, context, width, i // width, i % width, offsets.tolist())
        assert rows[i].tolist() == row
        assert pixel_offsets[i].tolist() == offset
    part, part_offsets = np.empty_like(rows)[1:], np.empty_like(pixel_offsets)[1:]
    waves.pixel_rows(x, context, np.arange(1, 1 + len(part)), offsets, part, part_offsets)
    assert np.array_equal(part, rows[1:])
    assert np.array_equal(part_offsets, pixel_offsets[1:])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_latent_rows(window, height, width):
    plane = np.random.default_rng(width).integers(-128, 128, (height, width, 2), np.int8)
    offsets = window_offsets(window)
    rows = np.full((height * width, len(offsets) * 2), 99, np.int8)
    waves.latent_rows(plane, offsets, rows)
    expected = np.zeros((height * width, len(offsets), 2), np.int8)
    for i in range(height * width):
        for j, (dr, dc) in enumerate(offsets):
            r, c = i // width + dr, i % width + dc
            if r >= 0 and 0 <= c < width:
                expected[i, j] = plane[r, c]
    assert np.array_equal(rows, expected.reshape(height * width, -1))


@pytest.mark.parametrize("window", [(3, 1), (5, 2), (7, 4)])
def test_batch(window):
    """One wave of tiles of mixed sizes, some with known rows above: the rows of each tile alone, and back again."""
    rng = np.random.default_rng(6)
    offsets, slope = window_offsets(window), window_slope(window)
    regions = [(0, 7, 11), (2, 5, 6), (3, 3, 4), (8, 9, 1), (0, 9, 3)]
    grid = Grid.of(regions)
    x = np.stack([random_image(rng, 9, 11) for _ in regions])
    context = np.stack([random_context(rng, 9, 11) for _ in regions])
    planes = context[..., :2].copy()
    inputs = (len(offsets) + 1) * 3 + 4
    copy, bounds = np.zeros_like(planes), np.zeros(len(regions) + 1, np.int64)
    seen = 0
    for wave in range(grid.waves(slope)):
        where = (grid.first, grid.last, grid.width, wave, slope)
        rows, row_offsets = np.zeros((grid.widest(), inputs), np.int8), np.zeros((grid.widest(), 3), np.int32)
        n = waves.pixel_wave(x, context, *where, offsets, rows, row_offsets, bounds)
        values = []
        for t, (first, last, width) in enumerate(regions):
            alone = gather_all(x[t, :, :width].copy(), context[t, :, :width].copy(), offsets)
            alone_rows, alone_offsets = (a.reshape(9, width, -1) for a in alone)
            at = [(first + r, wave - slope * r) for r in range(last - first) if 0 <= wave - slope * r < width]
            assert len(at) == bounds[t + 1] - bounds[t]
            for i, (r, c) in enumerate(at, bounds[t]):
                assert np.array_equal(rows[i], alone_rows[r, c])
                assert np.array_equal(row_offsets[i], alone_offsets[r, c])
                values.append(planes[t, r, c])
        assert n == len(values) == bounds[-1]
        seen += n
        waves.scatter_wave(np.array(values, np.int8).reshape(-1, 2), copy, *where)

        rows = np.zeros((grid.widest(), len(offsets) * 2), np.int8)
        assert waves.latent_wave(planes, *where, offsets, rows, bounds) == n
        for t, (first, last, width) in enumerate(regions):
            latent = np.zeros((9 * width, rows.shape[1]), np.int8)
            waves.latent_rows(planes[t, :, :width].copy(), offsets, latent)
            flat = [
                (first + r) * width + wave - slope * r for r in range(last - first) if 0 <= wave - slope * r < width
            ]
            assert np.array_equal(rows[bounds[t] : bounds[t + 1]], latent[flat])
    assert seen == sum((last - first) * width for first, last, width in regions)
    for t, (first, last, width) in enumerate(regions):
        inside = np.zeros((9, 11), bool)
        inside[first:last, :width] = True
        assert np.array_equal(copy[t][inside], planes[t][inside])
        assert not copy[t][~inside].any()


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
    gathered = [gather_all(*pair, window_offsets(window)) for pair in zip(x, context)]
    integer, offsets = (np.concatenate(parts)[at] for parts in zip(*gathered))
    steps = integer.shape[1] - 4
    assert np.array_equal(rows[:, :steps].numpy() * 16, integer[:, :steps])
    assert np.array_equal(rows[:, steps:].numpy() * 64, integer[:, steps:])
    assert np.array_equal(ref.numpy() * 64, offsets)
    assert np.array_equal(pixels.numpy(), x.reshape(-1, 3)[at])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_float_prior_rows(window, height, width):
    prior = float_vlae.Prior(float_vlae.Config(prior_window=window, latents=2, prior_hidden=8))
    plane = np.random.default_rng(9).integers(-128, 128, (2, height, width, 2), np.int8)
    rows = np.zeros((2, height * width, len(window_offsets(window)) * 2), np.int8)
    for one, out in zip(plane, rows):
        waves.latent_rows(one, window_offsets(window), out)
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
