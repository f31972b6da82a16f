"""Pixels on the CPU: every way to their intervals gives what plain integers give, and pops invert pushes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from test_mixture import plain_cdfs, random_message  # type: ignore[import-not-found]
from test_network import exact  # type: ignore[import-not-found]
from test_waves import plain_pixel_row, random_context, random_image  # type: ignore[import-not-found]

from vlae_codec.contract import window_offsets
from vlae_codec.errors import EmptyStack
from vlae_codec.native import ans, pixels, waves
from vlae_codec.threads import workers

MODELS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "grey": {"channels": 1},
    "bilevel": {"channels": 1, "levels": 2},
    "bilevel of three": {"levels": 2},
    "narrow": {"window": (3, 1), "layers": 2, "mixtures": 5, "context": 1},
    "wide": {"window": (13, 3), "hidden": 21, "mixtures": 3, "context": 6, "stride": 16},
    "wide grey": {"window": (35, 1), "channels": 1, "mixtures": 1},
}
SIZES = [(0, 1, 1), (0, 7, 1), (0, 1, 9), (0, 9, 13), (5, 4, 19), (17, 3, 21)]  # rows above, rows, width


@pytest.fixture(params=MODELS)
def codec(request, random_codec):
    return random_codec(**MODELS[request.param])


def picture(codec, height, width, coded=3):
    x = random_image(np.random.default_rng(height + width), height, width, codec.config["channels"])
    x = x if codec.levels == 256 else x // 128
    return np.repeat(x[..., :1], x.shape[2], axis=2) if coded == 1 else x


def null_context(codec, height, width):
    """The features of the no-latent mode, rows counted from the top of the tile."""
    null = codec.model.null
    return np.tile(null, (-(-height // len(null)), -(-width // len(null)), 1))[:height, :width]


def plain_intervals(codec, x, context, positions, coded):
    """(starts, freqs) of pixels of a whole tile: gather, network and distributions in plain integers."""
    config, stretch = codec.config, {256: 0, 2: 6}[codec.levels]
    starts, freqs = np.zeros((2, len(positions), x.shape[2]), np.int64)
    for i, position in enumerate(positions):
        r, c = divmod(int(position), x.shape[1])
        row, reference = plain_pixel_row(x << stretch, context, x.shape[1], r, c, window_offsets(config["window"]))
        params = exact(codec.model.local, np.array([row], np.int8))[0]
        symbols, offset = x[r, c].tolist(), [v >> stretch for v in reference]
        outer = [64] * len(symbols)
        cdfs = plain_cdfs(params, offset, outer, symbols, config["mixtures"], True, codec.levels)
        for ch in range(coded):
            starts[i, ch], end = cdfs[ch, symbols[ch]], cdfs[ch, symbols[ch] + 1]
            freqs[i, ch] = end - starts[i, ch]
    return starts, freqs


def flat(intervals):
    return [v.reshape(-1, v.shape[-1]) for v in intervals]


@pytest.mark.parametrize("latents", [False, True])
@pytest.mark.parametrize(("above", "height", "width"), SIZES)
def test_plain(each_target, codec, above, height, width, latents):
    """Bands at the top and in the middle of a tile, the null context in its place, narrow tiles and wide windows."""
    coded = codec.config["channels"]
    x, rng = picture(codec, above + height, width), np.random.default_rng(1)
    context = random_context(rng, height, width, codec.config["context"]) if latents else None
    if latents:
        whole = np.concatenate([random_context(rng, above, width, codec.config["context"]), context])
    else:
        whole = null_context(codec, above + height, width)
    some = np.unique(rng.integers(0, height * width, 12))
    expected = plain_intervals(codec, x, whole, above * width + some, coded)
    for target in each_target():
        starts, freqs = flat(codec.pixel_codec.intervals(x[:above], x[above:], context, coded))
        assert np.array_equal(starts[some], expected[0]), target
        assert np.array_equal(freqs[some], expected[1])


@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("latents", [False, True])
def test_at(target, codec, latents, coded):
    """Some pixels of a tile, in any order, more than a block of them, alone and all: the same."""
    coded = min(coded, codec.config["channels"])
    x, rng = picture(codec, 23, 31, coded), np.random.default_rng(2)
    context = random_context(rng, 23, 31, codec.config["context"]) if latents else None
    whole = flat(codec.pixel_codec.intervals(x[:0], x, context, coded))
    assert whole[1][:, :coded].min() > 0
    for positions in (np.arange(0), np.array([712]), np.array([0, 700, 3, 3]), rng.permutation(23 * 31)):
        tile = codec.pixel_codec.whole(x, context)
        for one, all_ in zip(codec.pixel_codec.at(tile, positions, coded), whole):
            assert np.array_equal(one[:, :coded], all_[positions, :coded])


def test_bands(target, codec):
    """A tile in bands of any height is the tile; without latents whatever the rows above are to the stride."""
    x, coded = picture(codec, 37, 11), codec.config["channels"]
    whole = codec.pixel_codec.intervals(x[:0], x, None, coded)
    for cuts in ([0, 1, 2, 9, 37], [0, 16, 24, 37], [0, 5, 20, 36, 37], [0, 31, 37]):
        for begin, end in pairwise(cuts):
            part = codec.pixel_codec.intervals(x[:begin], x[begin:end], None, coded)
            assert all(np.array_equal(one, all_[begin:end]) for one, all_ in zip(part, whole))


@pytest.mark.parametrize("latents", [False, True])
def test_rows(codec, latents):
    """What adapters are fitted to: the network's inputs of any pixels, and their references."""
    x, rng, stretch = picture(codec, 13, 17), np.random.default_rng(3), codec.nets.stretch
    features = random_context(rng, 13, 17, codec.config["context"]) if latents else null_context(codec, 13, 17)
    positions = rng.permutation(13 * 17)[:100]
    tile = codec.pixel_codec.whole(x, features if latents else None)
    rows, references, _ = codec.pixel_codec.rows(tile, positions)
    offsets = window_offsets(codec.config["window"])
    for position, row, reference in zip(positions.tolist(), rows, references):
        expected = plain_pixel_row(x << stretch, features, 17, position // 17, position % 17, offsets)
        assert row.tolist() == expected[0]
        assert [64 * v for v in reference.tolist()] == expected[1]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads(codec, monkeypatch, threads):
    """Strips of a band by several threads: the same intervals."""
    x, coded = picture(codec, 40, 33), codec.config["channels"]
    expected = codec.pixel_codec.intervals(x[:3], x[3:], None, coded)
    monkeypatch.setattr(pixels, "STRIP", 100)
    strips = []

    def watched(function, items):
        strips.extend(items)
        return run(function, items)

    with workers(threads) as run:
        found = codec.pixel_codec.intervals(x[:3], x[3:], None, coded, watched)
    assert len(strips) == 13
    assert np.array_equal(found, expected)


# ---------------------------------------------------------------------------------------------------- pops


@pytest.mark.parametrize("lanes", [1, 5, 24])
@pytest.mark.parametrize("latents", [False, True])
@pytest.mark.parametrize("coded", [1, 3])
def test_inverse(each_target, codec, coded, latents, lanes):
    """Bands are popped as they were pushed by their intervals, all sizes in one batch, and so are bits of no band."""
    channels = codec.config["channels"]
    coded, rng = min(coded, channels), np.random.default_rng(lanes)
    known, bands, contexts, messages, pushed = [], [], [], [], []
    for above, height, width in [*SIZES, (4, 0, 6)]:
        x = picture(codec, above + height, width, coded)
        known.append(x[:above])
        bands.append(x[above:])
        contexts.append(random_context(rng, height, width, codec.config["context"]))
        messages.append(random_message(rng, lanes, 4000))
        context = contexts[-1] if latents else None
        if height:
            starts, freqs = codec.pixel_codec.intervals(known[-1], bands[-1], context, coded)
            pushed.append(waves.push_region(messages[-1], starts, freqs, codec.nets.slope, coded))
        else:
            pushed.append(messages[-1])
    heights, given = [len(band) for band in bands], contexts if latents else None
    for target in each_target():
        told: list[int] = []
        left, popped = codec.pixel_codec.pop(pushed, known, heights, given, coded, told.append)
        assert left == messages, target
        assert all(np.array_equal(one, band) for one, band in zip(popped, bands))
        assert told == [band[..., 0].size for band in bands if band.size]

        left, popped = codec.pixel_codec.pop(messages, known, heights, given, coded)
        for message, above, band, context, before in zip(left, known, popped, contexts, messages):
            if len(band):
                assert band.max() < codec.levels
                assert np.array_equal(band[..., coded:], np.repeat(band[..., :1], channels - coded, axis=2))
                starts, freqs = codec.pixel_codec.intervals(above, band, context if latents else None, coded)
                message = waves.push_region(message, starts, freqs, codec.nets.slope, coded)
            assert message == before


def test_empty_stack(codec):
    """It says which tile; and messages given are never changed."""
    channels = codec.config["channels"]
    above, full = np.zeros((2, 9, channels), np.uint8), random_message(np.random.default_rng(1), 2, 2000)
    words = full.words.copy()
    for short in (ans.empty(2), ans.Message(full.heads, full.words[:3])):
        with pytest.raises(EmptyStack, match="tile 1 "):
            codec.pixel_codec.pop([full, short], [above, above], [9, 200], None, channels)
        assert np.array_equal(full.words, words)
        assert short == ans.Message(short.heads, words[: len(short.words)])
