"""Samples and symbols: every type there and back, tables of values, and what a file may not say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec.errors import CorruptFile
from vlae_codec.format.container import Part
from vlae_codec.format.header import BYTES, Form, Layout, Planes
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.pictures import modes

RNG = np.random.default_rng(3)
KINDS = ["bool", "uint8", "uint16", "int8", "int16", "uint32", "int32", "float16", "float32", "float64"]


def noise(kind, *shape):
    if kind == "bool":
        return RNG.integers(0, 2, shape).astype(bool)
    return np.frombuffer(RNG.bytes(np.dtype(kind).itemsize * int(np.prod(shape))), kind).reshape(shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4, 7])
def test_every_type(kind, channels):
    """All bits come back, also those of numbers that are none; symbols are bytes or, of 16 bits, numbers."""
    if kind == "bool" and channels:
        return
    pixels = noise(kind, *((5, 6, channels) if channels else (5, 6)))
    picture = check_picture(Picture(pixels, mode="bands" if channels == 1 else ""))
    layout, symbols = modes.layout_of(picture), modes.symbols_of(picture.pixels)
    assert symbols.shape == (5, 6, layout.coded_channels)
    assert symbols.dtype == (np.uint16 if layout.levels > 256 else np.uint8)
    assert int(symbols.max()) < layout.levels
    back = modes.picture_of(symbols, layout, {"icc": b"profile"})
    assert back.pixels.dtype == picture.pixels.dtype
    assert back.pixels.tobytes() == pixels.tobytes()
    assert (back.pixels.shape, back.mode, back.levels) == (pixels.shape, picture.mode, picture.levels)
    assert back.metadata == {"icc": b"profile"}


@pytest.mark.parametrize("kind", ["int8", "int16", "uint32", "int32", "float16", "float32", "float64"])
def test_order(kind):
    """Larger numbers have larger symbols, highest byte first: neighbours in value are neighbours for a coder."""
    if kind.startswith("float"):
        numbers = np.array([-np.inf, -3e4, -1.5, -1.0, -1e-7, -0.0, 0.0, 1e-7, 1.0, 1.5, 3e4, np.inf], kind)
    else:
        numbers = np.array(sorted({int(np.iinfo(kind).min), 0, 1, 77, int(np.iinfo(kind).max)}), kind)
    symbols = modes.symbols_of(numbers.reshape(1, -1))[0].tolist()
    assert symbols == sorted(symbols)
    assert len({tuple(one) for one in symbols}) == len(numbers)
    assert len(symbols[0]) == BYTES.get(kind, 1)


def test_palette():
    palette = RNG.integers(0, 256, (9, 4), np.uint8)
    picture = Picture(noise("uint8", 5, 6) // 32, mode="P", levels=16, palette=palette)
    layout = modes.layout_of(picture)
    assert (layout.colours, layout.columns, layout.levels) == (9, 4, 16)
    back = modes.picture_of(modes.symbols_of(picture.pixels), layout, {})
    assert back.palette is not None
    assert np.array_equal(back.palette, palette)
    for form in (Form(2, palette.tobytes()[:-1]), Form(3, b"?"), Form(5, b"?"), Form(9, b"")):
        with pytest.raises(CorruptFile):
            modes.picture_of(modes.symbols_of(picture.pixels), replace(layout, palette=form), {})


@settings(deadline=None)
@given(st.sampled_from([2, 5, 256, 257, 4096, 65536]), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_values(levels, channels, single, seed):
    """Tables, sorted or not, and numbers in place of their values."""
    rng = np.random.default_rng(seed)
    count = 1 if single else channels
    tables = [rng.permutation(levels)[: rng.integers(1, levels + 1)] for _ in range(count)]
    layout = Layout("bands", (), levels=levels, channels=channels)
    planes = Planes(channels, max(2, *map(len, tables)), values=modes.pack_values(tables, layout))
    found = modes.unpack_values(planes, layout)
    assert all(np.array_equal(one, other) for one, other in zip(found, tables, strict=True))
    values = np.stack([rng.choice(tables[0 if single else c], (4, 5)) for c in range(channels)], axis=2)
    values = values.astype(np.uint8 if levels <= 256 else np.uint16)
    numbers = modes.numbers_of(values, found, planes.levels)
    assert int(numbers.max()) < max(map(len, tables))
    back = modes.restored(Part(layout, planes, 0, ()), numbers, 4, 5)
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


@pytest.mark.parametrize(("steps", "levels"), [([3, 255], 256), ([1, 0, 3], 5), ([9], 5), ([0, 4], 5), ([250, 2], 251)])
def test_impossible_values(steps, levels):
    """Twice the same, or too large."""
    layout = Layout("L", (), levels=levels)
    planes = Planes(1, levels, values=((len(steps), Form(2, bytes(steps))),))
    with pytest.raises(CorruptFile, match="values"):
        modes.unpack_values(planes, layout)


def test_numbers_of_no_value():
    layout = Layout("L", ())
    planes = Planes(1, 4, values=((3, Form(2, bytes([7, 0, 2]))),))
    assert modes.unpack_values(planes, layout)[0].tolist() == [7, 8, 11]
    symbols = np.array([[[0], [2]]], np.uint8)
    assert modes.restored(Part(layout, planes, 0, ()), symbols, 1, 2)[..., 0].tolist() == [[7, 11]]
    with pytest.raises(CorruptFile, match="value"):
        modes.restored(Part(layout, planes, 0, ()), symbols + 1, 1, 2)


def test_scale():
    """A sample stands for a block, of which the picture may cut off some."""
    planes = Planes(1, 256, scale=(3, 2))
    symbols = np.array([[[1], [2]], [[3], [4]]], np.uint8)
    found = modes.restored(Part(Layout("L", (planes,)), planes, 0, ()), symbols, 3, 5)[..., 0]
    assert found.tolist() == [[1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [3, 3, 3, 4, 4]]


def test_tile_of():
    grey = noise("uint8", 3, 4, 1)
    tile = modes.tile_of(grey, 3)
    assert tile.flags.c_contiguous
    assert np.array_equal(tile, np.concatenate([grey] * 3, axis=2))
