"""Lost JPEGs: found in their pixels, exactly; and none found where there was none."""

import numpy as np
import pytest
from baseline import read  # type: ignore[import-not-found]
from PIL import Image
from test_dct_decode import by_pillow, jpeg, picture  # type: ignore[import-not-found]

from vlae_codec.jpeg import decode
from vlae_codec.jpeg.coefficients import Cut
from vlae_codec.jpeg.grid import find_grid
from vlae_codec.jpeg.parameters import standard_table
from vlae_codec.jpeg.recover import recover
from vlae_codec.jpeg.tables import find_table, nearest, transform
from vlae_codec.native import library


def photo(width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8: smooth colours, texture, and nothing clipped."""
    rng = np.random.default_rng(5)
    small = rng.integers(60, 190, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    y, x = np.mgrid[:height, :width]
    texture = 12 * np.sin(x / 2.3 + y / 5) + rng.normal(0, 6, (height, width))
    return np.clip(smooth + texture[..., None], 5, 250).astype(np.uint8)


FOUND = [(60, "4:2:0"), (75, "4:2:0"), (90, "4:2:0"), (75, "4:2:2"), (90, "4:4:4"), (60, "grey"), (90, "grey")]


@pytest.mark.parametrize(("quality", "sampling"), FOUND)
def test_found(quality: int, sampling: str) -> None:
    pixels = photo(128, 96)
    data = jpeg(pixels[..., 1], quality) if sampling == "grey" else jpeg(pixels, quality, sampling)
    truth, seen = read(data), by_pillow(data)
    found = recover(seen)
    assert found is not None
    assert found.coefficients.sampling == truth.sampling
    assert found.wrong.mean() < 0.001
    assert np.array_equal((decode.decode(found.coefficients) != seen).reshape(*seen.shape[:2], -1).any(2), found.wrong)
    assert np.array_equal(found.coefficients.tables[0], truth.tables[0])
    luma, true_luma = found.coefficients.blocks[0], truth.blocks[0]
    assert (luma != true_luma).mean() < 0.002


@pytest.mark.parametrize("quality", [95, 98])
def test_small_steps(quality: int) -> None:
    """Rounding noise is half a step there: most nearest coefficients are right, and the search finds the others."""
    data = jpeg(photo(128, 96)[..., 0], quality)
    truth, seen = read(data), by_pillow(data)
    first = nearest(transform(seen), truth.tables[0])
    found = recover(seen)
    assert found is not None
    assert found.wrong.mean() < 0.002
    assert (first != truth.blocks[0]).mean() > 0.005
    assert (found.coefficients.blocks[0] != truth.blocks[0]).mean() < (first != truth.blocks[0]).mean() / 3


def test_clipped() -> None:
    """Clipped samples may be anything beyond: the coefficients need only fit them."""
    pixels = photo(128, 96)[..., 0].astype(int)
    seen = by_pillow(jpeg(np.clip((pixels - 128) * 2 + 128, 0, 255).astype(np.uint8), 80))
    assert ((seen == 0) | (seen == 255)).mean() > 0.02
    found = recover(seen)
    assert found is not None
    assert found.wrong.mean() < 0.001


@pytest.mark.parametrize(("width", "height"), [(121, 96), (128, 93), (67, 75)])
def test_cut_blocks(width: int, height: int) -> None:
    seen = by_pillow(jpeg(photo(width, height), 85))
    found = recover(seen)
    assert found is not None
    assert found.wrong[: height // 16 * 16 - 8, : width // 16 * 16 - 8].mean() < 0.002
    assert found.wrong.mean() < 0.15


def test_changed_since() -> None:
    """What was drawn over stays wrong, and nothing else."""
    seen = by_pillow(jpeg(photo(128, 96), 85, "4:4:4")).copy()
    seen[40:48, 64:80] = [[10, 200, 30]]
    found = recover(seen)
    assert found is not None
    wrong = found.wrong.copy()
    wrong[40:48, 64:80] = False
    assert wrong.mean() < 0.01


def test_none() -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:96, :128]
    for pixels in (
        photo(128, 96),
        picture(128, 96),
        photo(128, 96)[..., 0],
        np.full((96, 128), 70, np.uint8),
        (x + 40).astype(np.uint8),
        rng.integers(0, 256, (96, 128), np.uint8),
        rng.integers(0, 256, (96, 128, 3), np.uint8),
        ((x // 8 + y // 8) % 2 * 200 + 20).astype(np.uint8),
        np.full((96, 128), 255, np.uint8),
        photo(7, 7),
    ):
        assert find_grid(pixels) is None
        assert recover(pixels) is None


PARTS = [  # sampling, columns and rows before the part and its size, what it lacks of the JPEG
    ("4:2:0", (3, 5, 90, 78), Cut(3, 5, 0, 0)),
    ("4:2:0", (8, 0, 100, 96), Cut(8, 0, 4, 0)),
    ("4:2:0", (29, 26, 96, 67), Cut(13, 10, 0, 0)),
    ("4:2:2", (9, 16, 83, 70), Cut(9, 0, 4, 0)),
    ("4:4:4", (9, 14, 80, 64), Cut(1, 6, 0, 0)),
    ("grey", (7, 1, 75, 81), Cut(7, 1, 0, 0)),
]


@pytest.mark.parametrize(("sampling", "part", "cut"), PARTS)
def test_part(sampling: str, part: tuple[int, int, int, int], cut: Cut) -> None:
    """A picture that was cut out of a decoded JPEG: its whole blocks come back, and of the others nearly all pixels."""
    pixels = photo(128, 96)
    data = jpeg(pixels[..., 1], 85) if sampling == "grey" else jpeg(pixels, 85, sampling)
    truth, (x, y, w, h) = read(data), part
    found = recover(by_pillow(data)[y : y + h, x : x + w])
    assert found is not None
    assert found.coefficients.cut == cut
    assert found.coefficients.sampling == truth.sampling
    across, down = (8 * factor for factor in truth.sampling[0])
    assert not found.wrong[down : -down - 1, across : -across - 1].any()
    assert found.wrong.mean() < 0.15
    column, row = (x + 7) // 8, (y + 7) // 8
    inner = truth.blocks[0][row : (y + h) // 8, column : (x + w) // 8]
    begin = row - (y - cut.top) // 8, column - (x - cut.left) // 8
    same = found.coefficients.blocks[0][begin[0] :, begin[1] :][: inner.shape[0], : inner.shape[1]] == inner
    assert same.mean() > 0.999


def test_same_everywhere() -> None:
    """Every target of the core finds the same: no float decides."""
    seen = by_pillow(jpeg((photo(64, 48).astype(int) * 2 - 128).clip(0, 255).astype(np.uint8), 95))[3:, 6:]
    found = []
    for name in ("generic", library.target()):
        library.use(name)
        found.append(recover(seen))
    one, other = found
    assert one is not None
    assert other is not None
    assert one.coefficients.cut == other.coefficients.cut == Cut(6, 3, 0, 0)
    for kind in ("tables", "blocks"):
        pairs = zip(getattr(one.coefficients, kind), getattr(other.coefficients, kind), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)


def test_table_of_its_own() -> None:
    steps = np.random.default_rng(4).integers(8, 40, 64)
    data = jpeg(photo(256, 256)[..., 0], 75, qtables=[steps.tolist()])
    values, table = by_pillow(data), read(data).tables[0]
    blocks = values.reshape(32, 8, 32, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    found = find_table(transform(values).reshape(-1, 64)[::4], blocks[::4])
    assert (found == table).mean() > 0.4
    seen = recover(values)
    assert seen is not None
    assert seen.wrong.mean() < 0.01


def test_standard() -> None:
    """The same tables as libjpeg's at a quality."""
    for quality in (1, 49, 50, 75, 96, 100):
        data = read(jpeg(photo(16, 16), quality))
        assert np.array_equal(standard_table(quality), data.tables[0])
        assert np.array_equal(standard_table(100 + quality), data.tables[1])
