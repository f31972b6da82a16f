"""An encoder's choice of groups, scales, values and the order of palettes."""

import numpy as np
import pytest

from vlae_codec.format.header import CHANNELS, MAX_TILE, MODES, Layout, Planes
from vlae_codec.pictures import layout as choices
from vlae_codec.pictures.modes import restored, unpack_values

RNG = np.random.default_rng(4)


def noise(*shape, most=256):
    return RNG.integers(0, most, shape).astype(np.uint8 if most <= 256 else np.uint16)


@pytest.mark.parametrize("mode", MODES)
def test_groups(mode):
    """Groups take all channels in order, three colours together."""
    layout = Layout(mode, (), channels=CHANNELS[mode] or 5)
    groups = choices.groups_of(layout)
    assert sum(groups) == layout.channels
    assert groups[0] == (3 if layout.channels in (3, 4) else 1)
    assert choices.groups_of(Layout("RGB", (), "float32", channels=3)) == [1] * 12


@pytest.mark.parametrize(("sx", "sy"), [(1, 1), (2, 1), (1, 3), (4, 4), (5, 2)])
@pytest.mark.parametrize(("width", "height"), [(9, 7), (70, 66)])
def test_scale(sx, sy, width, height):
    """Blocks are found, cut ones at the edges too, and no others."""
    picture = noise(height, width, 3).repeat(sy, axis=0).repeat(sx, axis=1)
    assert choices.find_scale([picture]) == (sx, sy)
    assert choices.find_scale([picture[: -(sy // 2) or None, : -(sx // 2) or None]]) == (sx, sy)
    other = noise(height * sy, width * sx, 3)
    assert choices.find_scale([picture, other]) == (1, 1)
    if sx == 4:
        broken = picture.copy()
        broken[-1, 5] ^= 1
        assert choices.find_scale([broken]) == (1, 1)


def test_scale_of_one_colour():
    assert choices.find_scale([np.zeros((300, 20, 1), np.uint8)]) == (20, 255)
    assert choices.find_scale([np.zeros((1, 1, 1), np.uint8)]) == (1, 1)


@pytest.mark.parametrize("levels", [256, 65536])
def test_values(levels):
    """Tables where values are missing, one for all channels where these are nearly the same; none where most occur."""
    full = noise(80, 90, 3, most=levels if levels == 256 else 4000)
    assert choices.find_values([full], levels) == [] or levels > 256
    sparse = (full // 8 * 8).astype(full.dtype)
    tables = choices.find_values([sparse], levels)
    assert len(tables) in (1, 3)
    for c in range(3):
        assert set(np.unique(sparse[..., c])) <= set(tables[c if len(tables) > 1 else 0].tolist())
    mixed = np.stack([sparse[..., 0], sparse[..., 1] + 1, sparse[..., 2] + 2], axis=2)
    assert [table[0] % 8 for table in choices.find_values([mixed], levels)] == [0, 1, 2]


def test_rare_values():
    """Values that occur in rows that are not looked at first are in the table."""
    picture = (noise(100, 40, 1) // 16 * 16).astype(np.uint8)
    picture[50, 7] = 33
    (table,) = choices.find_values([picture], 256)
    assert 33 in table


@pytest.mark.parametrize("levels", [256, 65536])
def test_source(levels):
    """A group's samples: every one of the channels from the first on, by scale and values; and back."""
    dtype = np.uint8 if levels == 256 else np.uint16
    picture = (noise(6, 7, 5) // 32 * 32).astype(dtype).repeat(3, axis=0).repeat(2, axis=1)[:17, :13]
    layout = Layout("bands", (), levels=levels, channels=5)
    tables = choices.find_values([picture[..., 2:4]], levels)
    planes = choices.with_values(Planes(2, levels, scale=(2, 3)), tables, layout)
    source = choices.make_source(layout, planes, 2, {4: picture, 6: picture[:9]}, tables)
    assert source.part.pictures == ((4, 7, 6), (6, 7, 3))
    assert planes.levels == max(map(len, tables)) < levels
    assert all(np.array_equal(one, other) for one, other in zip(unpack_values(planes, layout), tables, strict=True))
    for i, whole in ((4, picture), (6, picture[:9])):
        assert int(source.symbols[i].max()) < planes.levels
        assert np.array_equal(restored(source.part, source.symbols[i], len(whole), 13), whole[..., 2:4])
    assert np.array_equal(source.piece((4, (1, 2, 3, 4))), source.symbols[4][1:4, 2:6])


def test_lightness():
    """From dark to light; indices beyond the palette come last."""
    palette = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 0], [0, 0, 0], [255, 0, 0]], np.uint8)
    assert choices.by_lightness(palette, 8).tolist() == [3, 1, 4, 2, 0, 5, 6, 7]
    assert choices.by_lightness(palette, 4).tolist() == [3, 1, 2, 0]


def test_whole_tile():
    layout = Layout("L", (Planes(1, 256, bytes(8)),))
    for edge, size in ((5, 8), (16, 16), (513, 520), (MAX_TILE + 5, MAX_TILE)):
        source = choices.make_source(layout, layout.planes[0], 0, {0: np.zeros((3, edge, 1), np.uint8)})
        whole = choices.whole_tile(source)
        assert whole is not None
        assert (whole.part.planes.tile_size, whole.part.planes.model_id) == (size, None)
    chained = choices.make_source(layout, Planes(1, 256, chains=1), 0, {0: np.zeros((3, 3, 1), np.uint8)})
    assert choices.whole_tile(chained) is None
