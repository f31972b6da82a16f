"""Coefficients decoded: the same pixels as libjpeg-turbo gives."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from baseline import read  # type: ignore[import-not-found]
from PIL import Image

from vlae_codec.errors import CorruptFile
from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.native.library import CoreError, core, pointer


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 with edges, clipped parts, waves and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 150 * np.sin(x / (3 + 2 * c) + y / 7 + c) * np.cos(y / 11 - c) for c in range(3)]
    made = np.stack(waves, 2) + rng.normal(0, 12, (height, width, 3)) + 90 * ((x // 9 + y // 13) % 2)[..., None] - 40
    return np.clip(made, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int, sampling: str = "4:2:0", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=sampling, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [1, 7, 30, 75, 92, 100])
def test_as_pillow(sampling: str, quality: int) -> None:
    width, height = 41 + quality % 16, 30 + quality % 17
    data = jpeg(picture(width, height, quality), quality, sampling)
    assert np.array_equal(decode.decode(read(data)), by_pillow(data))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 15, 16, 17, 18])
def test_sizes(width: int, height: int) -> None:
    for sampling in ("4:2:0", "4:2:2"):
        data = jpeg(picture(width, height), 85, sampling)
        assert np.array_equal(decode.decode(read(data)), by_pillow(data)), sampling


@pytest.mark.parametrize("sampling", ["440", "411"])
@pytest.mark.parametrize(("width", "height"), [(41, 37), (8, 3), (2, 5), (5, 2), (1, 1), (64, 17)])
def test_other_samplings(sampling: str, width: int, height: int) -> None:
    encode = pytest.importorskip("imagecodecs").jpeg8_encode
    data = encode(picture(width, height), level=85, subsampling=sampling)
    assert np.array_equal(decode.decode(read(data)), by_pillow(data))


def test_grey() -> None:
    data = jpeg(picture(37, 21)[..., 0], 80)
    coefficients = read(data)
    assert np.array_equal(decode.decode(coefficients), by_pillow(data))
    assert np.array_equal(decode.planes(coefficients)[0], by_pillow(data))


def test_rgb_kept() -> None:
    data = jpeg(picture(37, 21), 80, "4:4:4", keep_rgb=True)
    assert np.array_equal(decode.decode(read(data), converted=False), by_pillow(data))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_rows(sampling: str) -> None:
    """A part of the rows needs only the blocks that these see: all others may hold anything."""
    data = jpeg(picture(50, 77), 80, sampling)
    coefficients, whole = read(data), by_pillow(data)
    for top, bottom in [(0, 1), (0, 77), (15, 17), (16, 32), (31, 33), (76, 77), (40, 60)]:
        assert np.array_equal(decode.decode(coefficients, rows=(top, bottom)), whole[top:bottom])
    spoilt = tuple(each.copy() for each in coefficients.blocks)
    for component, blocks in enumerate(spoilt):
        down = decode.factors(coefficients, component)[1]
        blocks[: (24 // down - 1) // 8] = blocks[(41 // down) // 8 + 1 :] = 99
    assert np.array_equal(decode.decode(replace(coefficients, blocks=spoilt), rows=(24, 40)), whole[24:40])


def test_any_coefficients() -> None:
    """The largest numbers make some pixels, the same each time."""
    rng = np.random.default_rng(3)
    blocks = tuple(rng.integers(-32768, 32768, (2, 3, 64)).astype(np.int16) for _ in range(3))
    tables = (np.full(64, 65535, np.int32), np.full(64, 1, np.int32), np.full(64, 255, np.int32))
    coefficients = Coefficients(20, 13, ((1, 1),) * 3, tables, blocks)
    assert decode.decode(coefficients).shape == (13, 20, 3)
    assert np.array_equal(decode.decode(coefficients), decode.decode(coefficients))


def test_invalid() -> None:
    coefficients = read(jpeg(picture(20, 20), 80))
    for wrong in (
        replace(coefficients, sampling=((2, 2), (1, 1), (0, 1))),
        replace(coefficients, sampling=((3, 2), (2, 1), (1, 1))),
        replace(coefficients, sampling=((8, 1), (1, 1), (1, 1))),
        replace(coefficients, width=70),
        replace(coefficients, height=0),
        replace(coefficients, tables=(coefficients.tables[0][:63], *coefficients.tables[1:])),
    ):
        with pytest.raises(CorruptFile):
            decode.decode(wrong)
    with pytest.raises(CoreError):
        decode.decode(replace(coefficients, tables=(np.zeros(64, np.int32), *coefficients.tables[1:])))
    with pytest.raises(ValueError, match="no rows"):
        decode.decode(coefficients, rows=(5, 21))


def test_enlarge_checks() -> None:
    """The core refuses rows and columns that it was not given."""
    plane, out = np.zeros((4, 5), np.uint8), np.zeros((16, 16), np.uint8)

    def call(*numbers: int) -> int:
        return int(core.vlae_enlarge(pointer(plane, np.uint8), *numbers, pointer(out, np.uint8)))

    good = (4, 5, 0, 4, 5, 2, 2, 0, 8, 10)
    assert call(*good) == 0
    for at, value in [
        (0, 5),
        (0, 3),
        (2, 1),
        (3, 5),
        (3, 3),
        (4, 6),
        (5, 1),
        (6, 1),
        (5, 5),
        (6, 0),
        (7, 1),
        (8, 9),
        (9, 11),
    ]:
        assert call(*good[:at], value, *good[at + 1 :]) < 0, (at, value)
    assert call(2, 5, 1, 4, 5, 2, 2, 4, 1, 10) == 0  # needs rows 1 and 2
    assert call(2, 5, 1, 4, 5, 2, 2, 5, 1, 10) < 0 or call(2, 5, 1, 4, 5, 2, 2, 6, 1, 10) < 0
