"""Tiles of the restricted form: streams come back, and every cost is that of what is coded."""

import numpy as np
import pytest
from test_restricted import converted  # type: ignore[import-not-found]
from test_scaled import back, two_modes  # type: ignore[import-not-found]

from vlae_codec.coder.choice import Draft, sample_cost
from vlae_codec.coder.streams import encode_chain, encode_tile, retrace
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import TileRecord
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.origins.values import best_escape, outside, triples


@pytest.mark.parametrize("shape", [(26, 21), (1, 1), (1, 9), (9, 1), (8, 8)])
def test_round_trip(random_codec, shape):
    """With latents and without, and in chains; a ledger has what the stream holds."""
    codec, x = random_codec().restricted("jfif", 6), np.ascontiguousarray(converted(26, 21)[: shape[0], : shape[1]])
    for record in two_modes(codec, x, 3):
        assert np.array_equal(back(codec, record, [shape], 3)[0], x)
        ((tile, _, _, spent),) = retrace(codec, record, [shape], 3, 500)
        assert np.array_equal(tile, x)
        assert sum(spent.costs.values()) / COST_UNIT < 8 * len(record.data) + 64
    tiles = [x, x[:1, :5]]
    chain = encode_chain(codec, tiles, 3, 1 << 30)
    assert all(map(np.array_equal, back(codec, chain, [t.shape[:2] for t in tiles], 3, 1 << 30), tiles))


def test_one_coded_channel(random_codec):
    """A tile of three equal channels, of which one is coded, is that of the plain form."""
    x = np.repeat(converted(20, 17)[..., :1], 3, axis=2)
    codec = random_codec()
    assert encode_tile(codec.restricted("jfif", 6), x, 1, 500) == encode_tile(codec, x, 1, 500)


def test_gain(tiny_codec):
    """A picture of the set takes less, and what a sample says is near it."""
    x = converted(64, 64)
    x[:, -3:] = x[:, -6:-3]
    codec = tiny_codec.restricted("jfif", best_escape(outside(triples("jfif"), x)))
    cost = Draft(codec, x, 3).cost(0)
    assert cost < 0.9 * Draft(tiny_codec, x, 3).cost(0)
    assert sample_cost(codec, [x], 3) == pytest.approx(cost, rel=0.2)


def test_undone(random_codec):
    """The codec of a model's levels and no shift is the plain one again."""
    codec, x = random_codec(), converted(20, 17)
    assert codec.scaled(256, 0) is codec
    again = codec.restricted("jfif", 6).scaled(256, 0)
    assert encode_tile(again, x, 3, 500) == encode_tile(codec, x, 3, 500)


def test_device(tiny_codec):
    """A device has only the plain form; the restricted one is of the CPU, and the same."""
    pytest.importorskip("torch")
    restricted, x = TileCodec(tiny_codec.model, "torch:cpu").restricted("jfif", 6), converted(20, 17)
    assert (restricted.device, restricted.backend) == (None, "cpu")
    assert encode_tile(restricted, x, 3, 500) == encode_tile(tiny_codec.restricted("jfif", 6), x, 3, 500)


def test_damage(random_codec):
    """Flipped bits and another set or escape do not pass."""
    codec, x = random_codec().restricted("jfif", 6), converted(17, 12)
    record, rng = encode_tile(codec, x, 3, 500), np.random.default_rng(1)
    for bit in rng.integers(0, 8 * len(record.data), 20).tolist():
        damaged = bytearray(record.data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            back(codec, TileRecord(record.method, bytes(damaged)), [(17, 12)], 3)
    for other in (random_codec(), random_codec().restricted("webp", 6), random_codec().restricted("jfif", 7)):
        with pytest.raises(CorruptFile):
            back(other, record, [(17, 12)], 3)
