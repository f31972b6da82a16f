"""Tiles of any number of levels: streams come back, encoders choose, adapters fit, and the plain decoder agrees."""

import zlib
from dataclasses import replace

import numpy as np
import plain_decoder  # type: ignore[import-not-found]
import pytest
from laws import check_codec  # type: ignore[import-not-found]
from test_deep import LEVELS, picture  # type: ignore[import-not-found]
from test_mixture import random_message  # type: ignore[import-not-found]

from vlae_codec.adapter import fit as fitting
from vlae_codec.adapter import sample
from vlae_codec.adapter.chunk import adapt
from vlae_codec.adapter.effort import Effort
from vlae_codec.coder import choice, streams
from vlae_codec.coder.choice import Draft, choose_shift, sample_cost
from vlae_codec.coder.streams import decode, encode_chain, encode_tile, with_latents, without_latents
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import MAX_LEVELS, MAX_SHIFT
from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import Method, TileRecord
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.weights_file import save_weights
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.weights.model import load_weights

SHIFTS = [0, 2, MAX_SHIFT]


def two_modes(codec, x, coded, lane_symbols=500):
    """The record without latents, and the one with them if they can be paid for."""
    draft = Draft(codec, x, coded)
    made = with_latents(draft, lane_symbols)
    return [without_latents(draft, lane_symbols)[0], *([] if made is None else [made[0]])]


def back(codec, record, shapes, coded, lane_symbols=500):
    return decode(codec, [record], [shapes], coded, lane_symbols)[0]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(random_codec, levels, shift, channels):
    """With latents and without, in one stream and in chains; three equal channels of which one is coded."""
    codec = random_codec(channels=channels).scaled(levels, shift)
    assert (codec.levels, codec.shift) == (levels, shift)
    x = picture(levels, 26, 21, channels)
    methods = set()
    for coded in {1, channels}:
        tile = np.repeat(x[..., :1], channels, axis=2) if coded < channels else x
        for record in two_modes(codec, tile, coded):
            methods.add(record.method)
            (found,) = back(codec, record, [(26, 21)], coded)
            assert found.dtype == tile.dtype
            assert np.array_equal(found, tile)
        assert encode_tile(codec, tile, coded, 500) in two_modes(codec, tile, coded)
        tiles = [tile, tile[:1, :5], tile[5:, :9]]
        chain = encode_chain(codec, tiles, coded, 1 << 30)
        found = back(codec, chain, [t.shape[:2] for t in tiles], coded, 1 << 30)
        assert all(map(np.array_equal, found, tiles))
    assert Method.LATENTS in methods or levels < 257


@pytest.mark.parametrize("levels", [2, 101, 1000, MAX_LEVELS])
@pytest.mark.parametrize("content", ["first", "last", "noise"])
def test_ends(random_codec, levels, content):
    """Nothing but the ends of the range, and noise over all of it."""
    codec, rng = random_codec().scaled(levels, 3), np.random.default_rng(1)
    x = np.zeros((9, 12, 3), codec.kind)
    x[...] = {"first": 0, "last": levels - 1, "noise": rng.integers(0, levels, x.shape)}[content]
    for shape in ((9, 12), (1, 1), (1, 12), (9, 1)):
        part = np.ascontiguousarray(x[: shape[0], : shape[1]])
        (found,) = back(codec, encode_tile(codec, part, 3, 500), [shape], 3)
        assert np.array_equal(found, part)


@pytest.mark.parametrize(("levels", "shift"), [(3, 0), (257, 1), (5000, 4)])
def test_laws(random_codec, levels, shift):
    """The codec of a tile is a codec: inverse both ways."""
    codec, x = random_codec().scaled(levels, shift), picture(levels, 17, 11, 3)
    pair = codec.tiles([(17, 11)], [8], 3)
    message = random_message(np.random.default_rng(1), 4, 4000)

    def push(messages, symbol):
        return pair.push(messages, symbol)

    law = type(pair)(
        lambda m, s: push([m], ([s[0]], [s[1]]))[0],
        lambda m: (lambda p: (p[0][0], [p[1][0][0], p[1][1][0]]))(pair.pop([m])),
    )
    assert check_codec(law, message, [x[:8], x[8:]]) > 0


def test_own_levels(random_codec, synthetic):
    """A model's own levels and no shift are the codec as it is, also from a scaled one, and bilevel ones stretched."""
    for codec in (random_codec(), random_codec(levels=2, channels=1)):
        own = codec.levels
        assert codec.scaled(own, 0) is codec
        other = codec.scaled(1000, 2)
        assert other.nets.prior is codec.nets.prior
        again = other.scaled(own, 0)
        assert again.nets.pixels.setting.struct.stretch == codec.nets.pixels.setting.stretch
        x = synthetic(20, 24, 1)[..., : codec.config["channels"]] // (256 // own)
        assert encode_tile(again, x, 1, 500) == encode_tile(codec, x, 1, 500)


@pytest.mark.parametrize(
    ("levels", "shift"), [(1, 0), (0, 0), (-5, 0), (MAX_LEVELS + 1, 0), (256, -1), (256, MAX_SHIFT + 1)]
)
def test_out_of_range(random_codec, levels, shift):
    with pytest.raises(ValueError, match="levels and shifts"):
        random_codec().scaled(levels, shift)


def test_device(tiny_codec, synthetic):
    """A device has a model's own levels; others are of the CPU, and the same."""
    pytest.importorskip("torch")
    device, x = TileCodec(tiny_codec.model, "torch:cpu"), picture(1000, 20, 17, 3)
    scaled = device.scaled(1000, 1)
    assert (scaled.device, scaled.backend, device.device) == (None, "cpu", "cpu")
    record = encode_tile(scaled, x, 3, 500)
    assert record == encode_tile(tiny_codec.scaled(1000, 1), x, 3, 500)
    assert np.array_equal(back(scaled, record, [(20, 17)], 3)[0], x)


def test_seed(random_codec):
    """The checksum of samples of two bytes is that of their little-endian bytes, whatever the host's order."""
    x = picture(4000, 5, 4, 1)
    wanted = zlib.crc32(b"".join(int(v).to_bytes(2, "little") for v in x.ravel()))
    for array in (x, x.astype(">u2"), x.astype("<u2")):
        assert zlib.crc32(streams.sample_bytes(array)) == wanted
    assert streams.sample_bytes(np.arange(3, dtype=np.uint8)) == bytes([0, 1, 2])
    codec = random_codec(channels=1).scaled(4000, 0)
    record = encode_tile(codec, x, 1, 500)
    steps = list(streams.retrace(codec, record, [(5, 4)], 1, 500))
    assert np.array_equal(steps[0][0], x)


def test_damage(random_codec):
    """Flipped bits and other levels or shifts do not pass."""
    codec, x = random_codec().scaled(1000, 2), picture(1000, 17, 12, 3)
    record = encode_tile(codec, x, 3, 500)
    rng = np.random.default_rng(1)
    for bit in rng.integers(0, 8 * len(record.data), 20).tolist():
        damaged = bytearray(record.data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            back(codec, TileRecord(record.method, bytes(damaged)), [(17, 12)], 3)
    for levels, shift in ((999, 2), (1000, 3), (256, 0), (MAX_LEVELS, 2)):
        with pytest.raises(CorruptFile):
            back(codec.scaled(levels, shift), record, [(17, 12)], 3)


# ---------------------------------------------------------------------------------------------------- the plain decoder

OTHERS = {
    "stride 16, window of 7 x 4": {"stride": 16, "window": (7, 4), "layers": 2},
    "grey, narrow": {"channels": 1, "window": (3, 1)},
    "bilevel": {"channels": 1, "levels": 2, "mixtures": 1},
}


@pytest.mark.parametrize(("levels", "shift"), [(3, 0), (101, 0), (256, 1), (300, 0), (5000, 2), (MAX_LEVELS, 10)])
@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_plain_decoder(random_vlae, tmp_path, changes, levels, shift):
    """It decodes the streams of any levels and shift."""
    vlae, path = random_vlae(**changes), tmp_path / "random.safetensors"
    save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
    codec, plain = TileCodec(load_weights(path)).scaled(levels, shift), plain_decoder.Model(path)
    plain.scale(levels, shift)
    x = picture(levels, 21, 19, codec.config["channels"])
    coded = x.shape[2]
    for record in two_modes(codec, x, coded, 300):
        (found,) = plain_decoder.pop_tiles(plain, int(record.method), record.data, [(21, 19)], coded, 300)
        assert np.array_equal(found, x)


# ---------------------------------------------------------------------------------------------------- choices


def noisy(levels, sigma, size=96):
    """Waves with noise."""
    r, c = np.mgrid[:size, :size]
    rng = np.random.default_rng(1)
    x = levels / 2 + levels / 8 * np.sin(r / 20 + c / 31) + rng.normal(0, sigma, (size, size))
    return x.round().clip(0, levels - 1).astype(np.uint16)[..., None].repeat(3, axis=2)


def test_choose_shift(tiny_codec):
    """More noise, a larger shift; always the same; about the best of all."""
    chosen = []
    for sigma in (2, 400):
        x = noisy(MAX_LEVELS, sigma)
        codec, tiles = tiny_codec.scaled(MAX_LEVELS, 0), [x[:48], x[48:]]
        shift = choose_shift(codec, tiles, 1)
        assert shift == choose_shift(codec.scaled(MAX_LEVELS, 7), tiles, 1)
        costs = [sample_cost(codec.scaled(MAX_LEVELS, s), tiles, 1) for s in range(MAX_SHIFT + 1)]
        assert costs[shift] < 1.03 * min(costs)
        chosen.append(shift)
    assert chosen[0] < chosen[1]


def test_shift_of_few_levels(tiny_codec):
    """No shift leaves fewer than eight coarse levels or so."""
    for levels in (2, 9, 16):
        assert choose_shift(tiny_codec.scaled(levels, 0), [picture(levels, 20, 20, 3)], 3) == 0
    assert choose_shift(tiny_codec.scaled(100, 0), [picture(100, 20, 20, 3)], 3) <= 3


def test_sample_cost(tiny_codec, monkeypatch):
    """It is near what all pixels take, and just that if all are looked at."""
    x = noisy(4096, 8)
    codec = tiny_codec.scaled(4096, 2)
    exact = Draft(codec, x, 3).cost(0)
    assert sample_cost(codec, [x], 3) == pytest.approx(exact, rel=0.1)
    monkeypatch.setattr(choice, "FEW", 10**6)
    monkeypatch.setattr(choice, "LOOK", 10**6)
    assert sample_cost(codec, [x], 3) == exact


def test_look(tiny_codec):
    """Pixels are of tiles all over a list, so many of each as it has."""
    tiles = [picture(300, 8, 8, 3, seed) for seed in range(40)]
    look = choice.Look(tiny_codec.scaled(300, 0), tiles, 3)
    assert len(look.parts) == choice.SIGHT
    assert sum(len(places) for _, places in look.parts) == look.count == choice.FEW
    assert look.total == 40 * 64
    assert max(len(places) for _, places in look.parts) <= 64 // 4 + 1


# ---------------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize(("levels", "shift"), [(1000, 0), (5000, 3), (101, 0)])
def test_fit(tiny_codec, levels, shift):
    """What a fit counts is what a file holds, and it gains."""
    codec, tiles = (
        tiny_codec.scaled(levels, shift),
        [noisy(levels, levels / 100).astype(np.uint8 if levels < 257 else np.uint16)],
    )
    drawn = sample.draw(codec, tiles, 3, 10**6, 1)
    exact = sample.bits(codec, drawn, np.arange(len(drawn.rows)), 3).sum()
    assert exact == pytest.approx(Draft(codec, tiles[0], 3).cost(0) / COST_UNIT, rel=1e-6) or drawn.other
    problem = fitting.look(codec, tiles, 3, Effort(6.0, 0.05, 0.0))
    adapter = fitting.fit(problem, Effort(6.0, 0.05, 0.0))
    assert adapter is not None
    model = replace(codec.model, local=adapt(codec.model.local, adapter))
    adapted = TileCodec(model).scaled(levels, shift)
    assert sample.bits(adapted, drawn, np.arange(len(drawn.rows)), 3).sum() < 0.99 * exact
    (found,) = back(adapted, encode_tile(adapted, tiles[0], 3, 5000), [tiles[0].shape[:2]], 3, 5000)
    assert np.array_equal(found, tiles[0])
