"""The account of files of pictures with an origin."""

import numpy as np
import pytest

import vlae_codec
from vlae_codec.bench.account import account
from vlae_codec.bench.theory import starts
from vlae_codec.format import container
from vlae_codec.origins.origin import Origin, rebuild


def picture(origin: Origin, width: int = 64, height: int = 48) -> np.ndarray:
    """Textured luma and smooth chroma, and some pixels that are exceptions."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    luma = 120 + 40 * np.sin(x / 9 + y / 14) + rng.normal(0, 3, (height, width))
    chroma = [(128 + 20 * np.sin(x / 11 - y / (9 + k)))[::2, ::2] for k in range(2)]
    pixels = rebuild(origin, [plane.astype(np.uint8) for plane in (luma, *chroma)], width, height)
    pixels[8:10, 20:30] = 7
    return pixels


@pytest.mark.parametrize(
    ("name", "origin"), [("webp", Origin("webp", "triangle", (2, 2))), ("values", Origin("jfif", "box", (2, 2)))]
)
def test_origins(name: str, origin: Origin) -> None:
    """All bits of all streams: of the model -ELBO, of others their bytes."""
    data = vlae_codec.compress(picture(origin), effort=1, threads=1, origin=name)
    contents = container.read(data)
    assert contents.header.first.origin is not None
    spent = account(data)
    assert len(spent.parts) == len(contents.records)
    assert ("exceptions" in spent.bits) == (name == "webp")
    streams = 8 * sum(len(record.data) for record in contents.records)
    coded = sum(record.coded for record in contents.records)
    assert 0 <= streams - sum(spent.bits.values()) <= 81 * coded + 1
    begun = starts(data, [vlae_codec.decompress(data, threads=1)], None)
    assert len(begun) == len(contents.records)
