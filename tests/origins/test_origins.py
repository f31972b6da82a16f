"""Pictures are rebuilt exactly from the planes they came from, and the planes are found again."""

import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import CorruptFile
from vlae_codec.origins.find import find, invert
from vlae_codec.origins.origin import Origin, needs, rebuild

SOME = ("jfif", "photocd", "webp")  # of the conversions
HALVED = ((2, 2), (2, 1), (1, 2))


def origins() -> list[Origin]:
    found = [Origin("grey")]
    for conversion, kind in product(SOME, ("none", "box", "triangle", "photocd")):
        for halved in ((1, 1),) if kind == "none" else HALVED:
            for phase in product(range(halved[0]), range(halved[1])):
                found.append(Origin(conversion, kind, halved, phase))
    return found


def scene(rng: np.random.Generator, height: int = 192, width: int = 256) -> np.ndarray:
    """A colourful picture with some texture."""
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int64)
    smooth = 128 + (smooth - 128) * 3 // 5
    return (smooth + rng.integers(-12, 13, (height, width, 1))).clip(0, 255).astype(np.uint8)


def through(pixels: np.ndarray, kind: str, **options: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))


@pytest.mark.parametrize("origin", origins(), ids=str)
def test_numbers(origin: Origin) -> None:
    assert Origin.from_numbers(*origin.numbers) == origin
    assert all(0 <= number < 256 for number in origin.numbers)
    assert origin.words


@pytest.mark.parametrize("numbers", [(99, 0, 0), (1, 9, 0), (1, 0, 3), (1, 2, 4), (0, 1, 1), (1, 1, 99), (-1, 0, 0)])
def test_bad_numbers(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(CorruptFile):
        Origin.from_numbers(*numbers)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (17, 10)])
@pytest.mark.parametrize("origin", origins(), ids=str)
def test_any_planes(origin: Origin, size: tuple[int, int]) -> None:
    """Any values of any size make a picture, and each part of it alone is the same."""
    rng = np.random.default_rng(1)
    width, height = size
    planes = [rng.integers(0, 256, (h, w), np.uint8) for w, h in origin.sizes(width, height)]
    whole = rebuild(origin, planes, width, height)
    assert whole.shape == (height, width, 3)
    for _ in range(4):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        region = x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
        parts = [
            plane[b : b + d, a : a + c]
            for plane, (a, b, c, d) in zip(planes, needs(origin, width, height, region), strict=True)
        ]
        part = rebuild(origin, parts, width, height, region)
        assert np.array_equal(part, whole[y : y + region[3], x : x + region[2]])
    with pytest.raises(ValueError, match="planes of"):
        rebuild(origin, [*planes[:-1], planes[-1][:, :-1]], width, height)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (3, 2), (16, 9)])
@pytest.mark.parametrize("origin", origins(), ids=str)
def test_invert_counts(origin: Origin, size: tuple[int, int]) -> None:
    """What is said of exceptions is true, also of pictures that were never of this origin."""
    pixels = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    found = invert(origin, pixels)
    assert [plane.shape[::-1] for plane in found.planes] == origin.sizes(*size)
    again = rebuild(origin, found.planes, *size)
    assert np.count_nonzero((again != pixels).any(2)) == found.exceptions


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize(("subsampling", "halved"), [(0, (1, 1)), (1, (2, 1)), (2, (2, 2))])
def test_jpeg(quality: int, subsampling: int, halved: tuple[int, int]) -> None:
    """Also with an odd size, and cropped."""
    pixels = through(scene(np.random.default_rng(3))[:-1, :-3], "JPEG", quality=quality, subsampling=subsampling)
    found = find(pixels)
    assert found is not None
    assert found.origin == Origin("jfif", "triangle" if subsampling else "none", halved)
    assert found.exceptions < 0.01 * pixels.shape[0] * pixels.shape[1]
    found = find(pixels[3:, 5:])
    assert found is not None
    assert found.origin.halved == halved
    assert found.origin.phase == tuple(size - 1 for size in halved)
    assert found.exceptions < 0.02 * pixels.shape[0] * pixels.shape[1]


def test_jpeg_planes() -> None:
    """The planes are those that libjpeg decoded."""
    file = io.BytesIO()
    Image.fromarray(scene(np.random.default_rng(4))).save(file, "JPEG", quality=90, subsampling=0)
    decoder = Image.open(io.BytesIO(file.getvalue()))
    decoder.draft("YCbCr", decoder.size)
    planes = np.asarray(decoder)
    pixels = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    found = find(pixels)
    assert found is not None
    free = (pixels.min(2) > 0) & (pixels.max(2) < 255)
    for k in range(3):
        assert np.array_equal(found.planes[k][free], planes[..., k][free])


def test_webp() -> None:
    pixels = through(scene(np.random.default_rng(5)), "WEBP", quality=80)
    found = find(pixels)
    assert found is not None
    assert found.origin == Origin("webp", "triangle", (2, 2))
    assert found.exceptions < 0.01 * pixels.shape[0] * pixels.shape[1]


PHOTOCD = [
    Origin("photocd"),
    *(Origin("photocd", "photocd", (2, 2), phase) for phase in ((0, 0), (1, 0), (0, 1), (1, 1))),
]


@pytest.mark.parametrize("origin", PHOTOCD, ids=str)
def test_photocd(origin: Origin) -> None:
    """Pictures made by the formula, clipped ones too, are found with their phase."""
    rng = np.random.default_rng(6)
    planes = [scene(rng, 192, 192)[..., 0] for _ in range(3)]
    planes[1:] = [
        (centre + (plane.astype(np.int64)[:h, :w] - 128) // 5).astype(np.uint8)
        for plane, centre, (w, h) in zip(planes[1:], (156, 137), origin.sizes(128, 128)[1:], strict=True)
    ]
    planes[0] = planes[0][:128, :128]
    pixels = rebuild(origin, planes, 128, 128)
    assert (pixels == 255).any()
    found = find(pixels)
    assert found is not None
    assert found.origin == origin
    assert found.exceptions < 0.01 * 128 * 128


def test_part_of_a_picture() -> None:
    """A picture with something laid over it is found all the same."""
    pixels = through(scene(np.random.default_rng(7)), "JPEG", quality=90, subsampling=0).copy()
    pixels[40:80, 30:140] = np.random.default_rng(8).integers(0, 256, (40, 110, 3))
    found = find(pixels)
    assert found is not None
    assert found.origin.conversion == "jfif"
    assert 0 < found.exceptions <= 40 * 110


def test_grey() -> None:
    plane = np.random.default_rng(9).integers(0, 256, (30, 40), np.uint8)
    found = find(np.repeat(plane[..., None], 3, 2))
    assert found is not None
    assert found.origin == Origin("grey")
    assert found.exceptions == 0
    assert np.array_equal(found.planes[0], plane)


def test_no_past() -> None:
    rng = np.random.default_rng(10)
    y, x = np.mgrid[:200, :300]
    gradient = np.stack([x * 255 // 299, y * 255 // 199, (x + y) * 255 // 498], 2).astype(np.uint8)
    noise = rng.integers(0, 256, (200, 300, 3), np.uint8)
    flat = np.full((200, 300, 3), (10, 200, 90), np.uint8)
    palette = rng.integers(0, 256, (40, 3), np.uint8)[rng.integers(0, 40, (200, 300))]
    for pixels in (gradient, noise, flat, palette, scene(rng), scene(rng)[:1, :1], scene(rng)[:0]):
        assert find(pixels) is None


def test_rough_chroma() -> None:
    """A first guess fits chroma at half size hardly better than that of half as many rows: a longer look tells."""
    rng, origin = np.random.default_rng(1), Origin("webp", "triangle", (2, 2))
    y, x = np.mgrid[:128, :160]
    luma = 125 + 30 * np.sin(x / 9 + y / 7) + rng.normal(0, 6, (128, 160))
    chroma = [(128 + 20 * np.sin(x / (13 + k) - y / 11))[::2, ::2] + rng.normal(0, 10, (64, 80)) for k in range(2)]
    found = find(rebuild(origin, [luma.astype(np.uint8), *(plane.astype(np.uint8) for plane in chroma)], 160, 128))
    assert found is not None
    assert found.origin == origin
    assert found.exceptions < 0.01 * 128 * 160
