"""Latents on the CPU: the flow prior is its definition in plain integers, and pops invert pushes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_mixture import plain_cdfs, random_message  # type: ignore[import-not-found]
from test_network import exact  # type: ignore[import-not-found]

from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import OUTER_SCALES, window_offsets
from vlae_codec.errors import EmptyStack
from vlae_codec.models import vlae as float_vlae
from vlae_codec.native import latents, waves
from vlae_codec.native.network import Network

GRIDS = [(1, 1), (1, 9), (9, 1), (4, 5)]
FLOWS: dict[str, dict[str, Any]] = {
    "none": {"flow_steps": 0},
    "one step": {"flow_steps": 1, "latents": 1},
    "two steps": {"flow_steps": 2},
    "three steps": {"flow_steps": 3, "latents": 3, "prior_window": (7, 3)},
    "narrow": {"flow_steps": 2, "prior_window": (3, 1)},
    "wide": {"flow_steps": 2, "prior_window": (13, 3)},
    "wild": {"flow_steps": 5, "latents": 3},  # see `wild`
}


def wild(codec):
    """Steps of the flow that go as far as they can: offsets and scales reach both ends of their ranges."""
    affine = []
    for net in codec.model.affine:
        *hidden, out = net.layers
        up = np.array([True, False, True, True, True, False])  # locations and scales of three latents
        far = np.where(up, out.high, out.low).astype(np.int64)
        affine.append(Network((*hidden, replace(out, addend=out.addend + (far << out.shift))), net.skip))
    return TileCodec(replace(codec.model, affine=tuple(affine)))


@pytest.fixture(params=FLOWS)
def codec(request, random_codec):
    made = random_codec(**FLOWS[request.param])
    return wild(made) if request.param == "wild" else made


def some_latents(height, width, channels):
    """Far from the centre, near it, and at the ends."""
    rng = np.random.default_rng(height + width)
    z = rng.integers(0, 64, (height, width, channels)).astype(np.uint8)
    near = rng.integers(29, 36, z.shape).astype(np.uint8)
    ends = rng.choice([0, 63], z.shape).astype(np.uint8)
    return [z, near, ends, np.full_like(z, 63)]


def plain_windows(plane, offsets):
    """(h * w, n * C) int8 of a plane (h, w, C), zero outside."""
    height, width, channels = plane.shape
    rows = np.zeros((height, width, len(offsets), channels), np.int8)
    for r in range(height):
        for c in range(width):
            for j, (dr, dc) in enumerate(offsets):
                if r + dr >= 0 and 0 <= c + dc < width:
                    rows[r, c, j] = plane[r + dr, c + dc]
    return rows.reshape(height * width, -1)


def plain_prior(codec, z):
    """(starts, freqs, offsets, outers), (h * w, C) each, by the definition of the flow."""
    model, channels = codec.model, z.shape[2]
    window = window_offsets(codec.config["prior_window"])
    symbols = z.reshape(-1, channels).astype(np.int64)
    offsets, outers = np.full(symbols.shape, 32 << 6), np.full(symbols.shape, 64)
    u = (symbols - 32) * 4
    for net in model.affine:
        params = exact(net, plain_windows(u.reshape(z.shape).astype(np.int8), window))
        offsets = (offsets + (params[:, :channels] * model.tables.outer_scale[outers] >> 16)).clip(-(1 << 20), 1 << 20)
        outers = (outers + params[:, channels:]).clip(0, OUTER_SCALES - 1)
        u = ((symbols * 64 - offsets) * model.tables.outer_inverse[outers]) >> 16  # 1/64
        u = ((u + 2) >> 2).clip(-128, 127)
    if model.mixture is None:
        params, mixtures = np.repeat(model.base, len(symbols), axis=0), 1
    else:
        params = exact(model.mixture, plain_windows(u.reshape(z.shape).astype(np.int8), window))
        mixtures = codec.config["prior_mixtures"]
    starts, freqs = np.zeros((2, *symbols.shape), np.int64)
    for i, x in enumerate(symbols.tolist()):
        cdfs = plain_cdfs(
            params[i], offsets[i].tolist(), outers[i].tolist(), x, mixtures, model.mixture is not None, 64
        )
        for c in range(channels):
            starts[i, c], freqs[i, c] = cdfs[c, x[c]], cdfs[c, x[c] + 1] - cdfs[c, x[c]]
    return starts, freqs, offsets, outers


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_plain(each_target, codec, height, width):
    for z in some_latents(height, width, codec.channels):
        starts, freqs, _, _ = plain_prior(codec, z)
        for target in each_target():
            for found, expected in zip(latents.prior_intervals(codec.nets.prior, z), (starts, freqs)):
                assert found.dtype == np.uint32
                assert np.array_equal(found, expected.reshape(z.shape)), target
    if height * width > 1 and codec.config["flow_steps"]:
        assert len(np.unique(freqs, axis=0)) > 1  # equal latents, but cells see each other


def test_wild(random_codec):
    """Its offsets and scales do reach the ends."""
    codec = wild(random_codec(**FLOWS["wild"]))
    _, _, offsets, outers = plain_prior(codec, some_latents(4, 5, 3)[0])
    assert {-(1 << 20), 1 << 20} <= set(offsets.ravel().tolist())
    assert {0, OUTER_SCALES - 1} <= set(outers.ravel().tolist())


@pytest.mark.parametrize("lanes", [1, 5, 24])
@pytest.mark.parametrize(("height", "width"), [*GRIDS, (30, 17)])
def test_inverse(each_target, codec, height, width, lanes):
    """More cells than a block holds among them; a stack too short by a word runs out."""
    prior, channels = codec.nets.prior, codec.channels
    rng = np.random.default_rng(lanes)

    def push(z, message):
        return waves.push_region(message, *latents.prior_intervals(prior, z), prior.slope, channels)

    def pop(message):
        return latents.pop_prior(prior, message, (height, width), "the cat")

    before, more = random_message(rng, lanes, 10), random_message(rng, lanes, 2 * height * width * channels)
    for target in each_target():
        for z in some_latents(height, width, channels):
            left, popped = pop(push(z, before))
            assert np.array_equal(popped, z), target
            assert left == before
        left, z = pop(more)
        assert z.max() < 64
        assert push(z, left) == more
        used = len(more.words) - len(left.words)
        for words in {0, used // 2, used - 1} - {-1, used}:
            with pytest.raises(EmptyStack, match="the cat"):
                pop(replace(more, words=more.words[len(more.words) - words :]))
        assert np.array_equal(pop(replace(more, words=more.words[len(more.words) - used :]))[1], z)


def test_threads(random_codec):
    """Threads that meet at the first use of a prior give what one alone gives."""
    codec, z = random_codec(flow_steps=2), some_latents(9, 8, 2)[0]
    expected = latents.prior_intervals(codec.nets.prior, z)
    for _ in range(5):
        prior = TileCodec(codec.model).nets.prior
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _, prior=prior: latents.prior_intervals(prior, z), range(8)):
                assert np.array_equal(found, expected)


def test_shapes(random_codec):
    """Latents of other shapes than (h, w, C) do not reach the core."""
    prior = random_codec().nets.prior
    for shape in ((4, 5), (4, 5, 3), (4, 5, 1)):
        with pytest.raises(ValueError, match="latents"):
            latents.prior_intervals(prior, np.zeros(shape, np.uint8))


# ---------------------------------------------------------------------------------------------------- the float model


@pytest.mark.parametrize("window", [(3, 1), (5, 2), (7, 4), (9, 5)])
@pytest.mark.parametrize(("height", "width"), [*GRIDS, (4, 17)])
def test_float_prior_rows(window, height, width):
    prior = float_vlae.Prior(float_vlae.Config(prior_window=window, latents=2, prior_hidden=8))
    plane = np.random.default_rng(9).integers(-128, 128, (2, height, width, 2), np.int8)
    rows = np.stack([plain_windows(one, window_offsets(window)) for one in plane])
    floats = prior.rows(torch.from_numpy(plane).float() / 16)
    assert np.array_equal(floats.reshape(rows.shape).numpy() * 16, rows)
    far = prior.rows(torch.from_numpy(plane).float() * 100)
    assert (far.min().item() >= -8, far.max().item() * 16 <= 127) == (True, True)
