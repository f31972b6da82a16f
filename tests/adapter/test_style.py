"""Styles: the one that a file names is the one that fits, and what names none that there is is refused."""

from dataclasses import replace

import numpy as np
import pytest

from vlae_codec import compress, decompress
from vlae_codec.adapter import style
from vlae_codec.adapter.chunk import adapt
from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import CorruptFile, WeightsError
from vlae_codec.format import container
from vlae_codec.pictures.codec import with_adapter
from vlae_codec.views.describe import describe
from vlae_codec.weights.model import build, load_weights, read_weights

RNG = np.random.default_rng(1)
FIT = bytes([3, 1])  # the style of the model `styled` that makes it the tiny model


def test_undoes(tiny, styled):
    """The spoilt network in the style is the one before, to the last number."""
    before, model = load_weights(tiny).local, load_weights(styled)
    after = adapt(model.local, style.style(model, FIT))
    for one, other in zip(before.layers, after.layers, strict=True):
        assert np.array_equal(one.weight, other.weight)
        assert np.array_equal(one.addend, other.addend)


def test_chosen(tiny, styled, synthetic, backend):
    """The file names the style that fits, and takes the tiny model's bytes and those of the chunk."""
    pixels = synthetic(40, 48, 4)
    options = {"effort": 1, "origin": "none", "device": backend}
    data, plain = (compress(pixels, model=path, **options) for path in (styled, tiny))
    (part,) = container.read(data).parts
    assert part.adapter == FIT
    assert len(data) == len(plain) + 9
    assert container.itemise(data)["adapter"] > 0
    assert describe(data)["planes"][0]["adapter"] == 2
    for device in ("cpu", "torch:cpu"):
        assert np.array_equal(decompress(data, model=styled, device=device), pixels)
    assert compress(pixels, model=styled, threads=2, effort=1, origin="none") == data


def test_deep(styled, synthetic):
    """Samples of other levels, too, have the style that fits."""
    deep = synthetic(90, 110, 4)[..., 1].astype(np.uint16) * 16
    data = compress(deep, model=styled, effort=1)
    (part,) = container.read(data).parts
    assert part.adapter == FIT
    assert np.array_equal(decompress(data, model=styled), deep)


def test_not_worth_it(tiny, styled, synthetic):
    """Styles that make things worse are left alone, and so are all where a picture is so small that none pays."""
    model, styles = load_weights(tiny), load_weights(styled).styles
    assert styles is not None
    tile = synthetic(90, 110, 4)
    assert style.choose_style(TileCodec(replace(model, styles=-styles)), [tile], 3) is None
    assert style.choose_style(TileCodec(model), [tile], 3) is None
    assert container.read(compress(tile[:3, :4], model=styled, effort=1)).parts[0].adapter is None


def test_chains(styled, synthetic):
    """Small pictures that go together have no style."""
    from vlae_codec import compress_many, decompress_many

    some = [synthetic(16, 12, seed) for seed in range(6)]
    data = compress_many(some, model=styled, effort=1)
    assert all(part.adapter is None for part in container.read(data).parts)
    assert all(map(np.array_equal, decompress_many(data, model=styled), some))


def test_at_rest(styled, synthetic):
    """Above effort 1, where nothing that is fitted is smaller, the style is kept."""
    pixels = synthetic(90, 110, 4)
    lazy = compress(pixels, model=styled, effort=1)
    assert len(compress(pixels, model=styled, effort=2)) <= len(lazy)


def test_refused(styled, tiny):
    model = load_weights(styled)
    wrong = [(model, payload) for payload in (b"\x04\x00", b"\x00\x04", b"\x01", b"\x01\x01\x01")]
    for one, payload in (*wrong, (load_weights(tiny), b"\x00"), (load_weights(tiny), b"\x00\x00")):
        with pytest.raises(CorruptFile, match="style"):
            with_adapter(TileCodec(one), payload)


@pytest.mark.parametrize(
    ("styles", "shape"),
    [
        ((2, 3), (1, 3, 9)),
        ((2, 3), None),
        ((0, 0), (2, 3, 9)),
        ((3, 2), (2, 3, 9)),
        ((5, 3), (5, 3, 9)),
        ((2, 65), (2, 65, 9)),
        ((2, -1), None),
        (2, None),
        ("23", None),
    ],
)
def test_weights(styled, styles, shape):
    """A weight file with styles has as many as it says, and numbers for all outputs."""
    config, tensors, _ = read_weights(styled)
    if shape is None:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "styles"}
    else:
        numbers = np.zeros((*shape[:2], tensors["styles"].shape[2]), np.int8)
        tensors = {**tensors, "styles": numbers}
    with pytest.raises(WeightsError, match="styles"):
        build({**config, "styles": styles}, tensors)
