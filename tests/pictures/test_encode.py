"""What an encoder chooses for pictures of every kind; all of it comes back (`compress` verifies each file)."""

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

from vlae_codec import compress, compress_many
from vlae_codec.api import decompress_pictures
from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.format.container import Metadata, Method
from vlae_codec.images.picture import Picture
from vlae_codec.weights.model import find_model

RNG = np.random.default_rng(8)


def noise(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def parts_of(data):
    return container.read(data).parts


def test_models_of_groups():
    """Colours have the default model of colours, alpha that of grey, noise none at all."""
    base = make_golden.synthetic(40, 48, 3)
    alpha = make_golden.synthetic(40, 48, 4)[..., :1]
    first, second = parts_of(compress(np.concatenate([base, alpha], axis=2), effort=1))
    assert first.planes.model_id == find_model("photo").id
    assert second.planes.model_id == find_model("luma").id
    assert (first.channel, first.planes.channels, second.channel, second.planes.channels) == (0, 3, 3, 1)
    assert all(part.planes.model_id is None for part in parts_of(compress(noise(20, 20, 4), effort=1)))


def test_together():
    """Of a drawing with alpha all channels are one group in WebP."""
    drawn = np.zeros((64, 64, 4), np.uint8)
    drawn[8:40:3, 5:60:2] = (200, 10, 10, 255)
    (part,) = parts_of(compress(drawn, effort=1))
    assert part.planes.channels == 4
    assert [record.method for record in part.records] == [Method.WEBP]


def test_layouts():
    """Pictures that mean the same share a layout, whatever stands between them."""
    pictures = [Picture(noise(5, 6)), Picture(noise(5, 6, 3)), Picture(noise(7, 6)), Picture(noise(5, 6), levels=0)]
    for data in (compress(pictures, effort=1), compress_many(pictures, effort=1)):
        header = container.read(data).header
        assert [layout.mode for layout in header.layouts] == ["L", "RGB"]
        assert header.runs == ((1, 0, 6, 5), (1, 1, 6, 5), (1, 0, 6, 7), (1, 0, 6, 5))
        for one, other in zip(decompress_pictures(data), pictures, strict=True):
            assert np.array_equal(one.pixels, other.pixels)


def test_metadata():
    """What neighbours share stands once."""
    some, other = {"icc": b"profile", "xmp": b"1"}, {"icc": b"profile", "xmp": b"2"}
    pictures = [Picture(noise(3, 3), metadata) for metadata in (some, some, other, {}, some)]
    data = compress(pictures, effort=1)
    assert container.read(data).metadata == (
        Metadata(0, 3, "icc", b"profile"),
        Metadata(4, 1, "icc", b"profile"),
        Metadata(0, 2, "xmp", b"1"),
        Metadata(2, 1, "xmp", b"2"),
        Metadata(4, 1, "xmp", b"1"),
    )
    assert [one.metadata for one in decompress_pictures(data)] == [one.metadata for one in pictures]


@pytest.mark.parametrize("chains", [None, 2])
def test_nothing_but_bytes(chains):
    """The same pictures give the same file, on one thread or two."""
    pictures = [Picture(make_golden.synthetic(20, 22, seed)) for seed in range(3)]
    files = {
        compress(pictures, effort=1, threads=threads)
        if chains is None
        else compress_many(pictures, effort=1, groups=chains, threads=threads)
        for threads in (1, 2)
    }
    assert len(files) == 1


def test_invalid():
    with pytest.raises(InputError, match="seed"):
        compress(noise(3, 3), seed=-1)
    with pytest.raises(InputError, match="effort"):
        compress(noise(3, 3), effort=0)
