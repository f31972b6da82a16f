"""PNG files come back byte for byte: every type, depth and filter; chunks, checksums and sizes as they were."""

import io
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import CorruptFile, ImageTooLarge, VlaeError
from vlae_codec.exact import filters, stream
from vlae_codec.exact.packing import Reader, Writer
from vlae_codec.exact.recipe import make, restore
from vlae_codec.images.picture import Picture
from vlae_codec.limits import DEFAULT, Limits
from vlae_codec.native.deflate import DYNAMIC

KINDS = [(colour, depth) for colour, depths in filters.DEPTHS.items() for depth in depths]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def smooth(height: int, width: int, colour: int, depth: int, seed: int = 1) -> np.ndarray:
    """(H, W, C) samples of a soft gradient with noise."""
    rng, channels = np.random.default_rng(seed), filters.CHANNELS[colour]
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] * 37 + rng.integers(0, 60, channels)
    values = (ramp + rng.integers(0, 40, ramp.shape)) % 60000 * (1 << depth) // 60000
    return values.astype(np.uint16 if depth == 16 else np.uint8)


def picture_of(samples: np.ndarray, colour: int, depth: int, **metadata: bytes) -> Picture:
    pixels = samples[..., 0] if samples.shape[2] == 1 else samples
    palette = np.arange(3 << depth, dtype=np.uint8).reshape(-1, 3) if colour == 3 else None
    return Picture(pixels, metadata, "P" if colour == 3 else "", 1 << depth, palette)


def plain_rows(samples: np.ndarray, colour: int, depth: int, interlaced: bool, kinds: str) -> bytes:
    """Rows behind their filters; kinds: "least" sums, or a digit for each row in turn."""
    passes = filters.scanlines(samples, depth, interlaced)
    step, rows = max(1, depth * filters.CHANNELS[colour] // 8), sum(map(len, passes))
    found = filters.predict(5, passes, step) if kinds == "least" else np.resize([*map(int, kinds)], rows)
    return filters.apply(passes, found.astype(np.uint8), step).tobytes()


def png(samples: np.ndarray, colour: int, depth: int, **given: Any) -> bytes:
    """A file; given: interlaced, kinds, pack (plain bytes to a zlib stream), size of chunks, before, behind."""
    interlaced, size = given.get("interlaced", False), given.get("size", 8192)
    plain = plain_rows(samples, colour, depth, interlaced, given.get("kinds", "least"))
    data = given.get("pack", zlib.compress)(plain)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", np.arange(3 << depth, dtype=np.uint8).tobytes()) if colour == 3 else b""
    parts = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    head = SIGNATURE + chunk(b"IHDR", header) + given.get("before", b"") + palette
    return head + b"".join(parts) + given.get("behind", b"") + chunk(b"IEND", b"")


def back(file: bytes, picture: Picture, most: int) -> bytes:
    """The recipe, which is at most so long and makes the file."""
    recipe = make(file, [picture])
    assert recipe is not None
    assert len(recipe) <= most
    assert restore([picture], recipe, DEFAULT) == file
    return recipe


def some(**given: Any) -> tuple[bytes, Picture]:
    samples = smooth(60, 50, 2, 8)
    return png(samples, 2, 8, **given), picture_of(samples, 2, 8)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_kinds(colour, depth, interlaced):
    for height, width in ((40, 53), (3, 1), (1, 5), (9, 9)):
        samples = smooth(height, width, colour, depth)
        for kinds in ("least", "01234", "0"):
            file = png(samples, colour, depth, interlaced=interlaced, kinds=kinds)
            back(file, picture_of(samples, colour, depth), 160 if kinds == "01234" else 95)


def test_filters():
    """The five filters by the formulas of the specification, byte by byte."""
    rows, step = smooth(7, 11, 2, 8).reshape(7, -1), 3
    for kind in range(5):
        made = filters.apply([rows], np.full(7, kind, np.uint8), step).reshape(7, -1)[:, 1:]
        for y, x in np.ndindex(rows.shape):
            a, b = int(rows[y, x - step]) if x >= step else 0, int(rows[y - 1, x]) if y else 0
            c = int(rows[y - 1, x - step]) if y and x >= step else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            guess = (0, a, b, (a + b) // 2, paeth)[kind]
            assert made[y, x] == (int(rows[y, x]) - guess) % 256


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("strategy", [0, 1, 2, 3, 4])
def test_zlib(level, strategy):
    """Recipes of what zlib makes are a few bytes, whatever its parameters."""
    for memory, window in ((8, 15), (9, 15), (3, 12)):

        def pack(plain, memory=memory, window=window):
            packer = zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
            return packer.compress(plain) + packer.flush()

        samples = smooth(90, 80, 2, 8)
        back(png(samples, 2, 8, pack=pack), picture_of(samples, 2, 8), 100 if level and memory > 3 else 900)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("how", [{}, {"optimize": True}, {"compress_level": 1}, {"compress_level": 0}], ids=str)
def test_pillow(mode, how):
    out, samples = io.BytesIO(), smooth(64, 70, 6, 8)
    image = Image.fromarray(samples, "RGBA") if mode in ("RGBA", "LA") else Image.fromarray(samples[..., :3], "RGB")
    image = image.convert(mode)
    image.save(out, "png", **how)
    if mode == "P":
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        picture = Picture(np.asarray(image), mode="P", palette=palette)
    else:
        picture = Picture(np.asarray(image))
    recipe = make(out.getvalue(), [picture])
    assert recipe is not None
    assert len(recipe) < 0.3 * len(out.getvalue()) + 60
    assert restore([picture], recipe, DEFAULT) == out.getvalue()


@pytest.mark.parametrize("name", ["deflate", "zlibng", "zopfli"])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_other_encoders(name, level):
    """Streams of other encoders come back, too, by larger recipes that are still far smaller than the files."""
    imagecodecs = pytest.importorskip("imagecodecs")
    encode = getattr(imagecodecs, f"{name}_encode")
    file, picture = some(pack=(lambda plain: encode(plain)) if name == "zopfli" else lambda p: encode(p, level=level))
    back(file, picture, len(file) * 2 // 3)


@pytest.mark.parametrize("level", [7, 8, 9])
def test_zlib_ng(level):
    """Its slow levels are known as well as zlib's."""
    imagecodecs = pytest.importorskip("imagecodecs")
    file, picture = some(pack=lambda plain: imagecodecs.zlibng_encode(plain, level=level))
    back(file, picture, 90)


def test_imagecodecs():
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = smooth(60, 70, 2, 16)
    for level in (1, 6, 9):
        back(imagecodecs.png_encode(samples, level=level), picture_of(samples, 2, 16), 90)


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_chunk_sizes(size):
    file, picture = some(size=size)
    back(file, picture, 90)


def test_odd_chunks():
    """Empty and uneven IDAT chunks, chunks of no known kind, and bytes behind the end stay where they are."""
    data = zlib.compress(plain_rows(smooth(9, 9, 2, 8), 2, 8, False, "1"))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))
    for cuts in ([0, 0, 5, 5, 99], [3, 50], [1, 2, 4, 8]):
        parts = [chunk(b"IDAT", data[a:b]) for a, b in zip([0, *cuts], [*cuts, None])]
        file = SIGNATURE + header + chunk(b"quUx", b"some") + b"".join(parts) + chunk(b"IEND", b"") + b"behind" * 9
        back(file, picture_of(smooth(9, 9, 2, 8), 2, 8), 160)


def test_checksums():
    """Wrong checksums of chunks and of the stream stay wrong, and bytes behind the stream stay."""
    good, picture = some(size=200)
    for place in (30, good.index(b"IDAT") + 4 + 200, good.rindex(b"IDAT") - 5, len(good) - 1):
        wrong = bytearray(good)
        wrong[place] ^= 1
        back(bytes(wrong), picture, 130)
    for change in (lambda d: d[:-4] + b"oops", lambda d: d[:-4], lambda d: d + b"more", lambda d: d[:-2]):
        file, picture = some(pack=lambda plain, change=change: change(zlib.compress(plain)))
        back(file, picture, 100)
    file, picture = some(pack=lambda plain: zlib.compress(plain + b"rows more"))
    back(file, picture, 100)


def test_padding():
    """Bits behind the last sample of a row need not be 0."""
    samples = smooth(9, 9, 0, 1)
    file = png(samples, 0, 1, kinds="0", pack=lambda plain: zlib.compress(plain.replace(b"\x80\0", b"\xff\0")))
    back(file, picture_of(samples, 0, 1), 90)


def test_metadata():
    """What stands in the metadata is not in the recipe once more."""
    text = np.random.default_rng(1).bytes(3000)
    file, picture = some(before=chunk(b"eXIf", text))
    alone, known = make(file, [picture]), make(file, [replace(picture, metadata={"exif": text, "file": b"this"})])
    assert alone is not None
    assert known is not None
    assert len(known) < 90 < 3000 < len(alone)
    assert restore([replace(picture, metadata={"exif": text})], known, DEFAULT) == file


def test_not_ours():
    """No recipe is made where the pixels are others, the rows are not all there, or there are several pictures."""
    file, picture = some()
    assert make(file, []) is None
    assert make(file, [picture, picture]) is None
    assert make(file, [picture.replaced(pixels=picture.pixels[:-1])]) is None
    assert make(file[:-400], [picture]) is None
    assert make(SIGNATURE, [picture]) is None
    assert make(b"", [picture]) is None
    assert make(b"GIF89a" + file, [picture]) is None
    short, picture = some(pack=lambda plain: zlib.compress(plain[:-1]))
    assert make(short, [picture]) is None


def test_other_pixels():
    """A few other pixels are corrected; with all of them other, the recipe is larger than the file."""
    file, picture = some()
    changed = picture.pixels.copy()
    changed[7, 7] ^= 9
    recipe = make(file, [picture.replaced(pixels=changed)])
    assert recipe is None or restore([picture.replaced(pixels=changed)], recipe, DEFAULT) == file
    noise = np.random.default_rng(1).integers(0, 256, changed.shape).astype(np.uint8)
    assert make(file, [picture.replaced(pixels=noise)]) is None


@pytest.mark.parametrize("encoder", ["zlib", "zopfli"])
def test_damaged(encoder):
    """A damaged or cut recipe is a typed error, and so is one with the pixels of another picture."""
    imagecodecs = pytest.importorskip("imagecodecs")
    pack = zlib.compress if encoder == "zlib" else imagecodecs.zopfli_encode
    file, picture = some(pack=pack, size=500)
    recipe = back(file, picture, len(file))
    for end in range(0, len(recipe), max(1, len(recipe) // 100)):
        with pytest.raises(CorruptFile):
            restore([picture], recipe[:end], DEFAULT)
    with pytest.raises(CorruptFile):
        restore([picture.replaced(pixels=picture.pixels[::-1])], recipe, DEFAULT)
    with pytest.raises(CorruptFile):
        restore([picture.replaced(pixels=picture.pixels[..., 0])], recipe, DEFAULT)
    rng = np.random.default_rng(1)
    for _ in range(300):
        wrong = bytearray(recipe)
        for at in rng.integers(0, len(wrong), 1 + rng.integers(3)):
            wrong[at] = rng.integers(256)
        with suppress(CorruptFile, ImageTooLarge):
            assert restore([picture], bytes(wrong), Limits(memory=1 << 24)) == file


def test_noise():
    """Noise behind the first bytes of a recipe does no harm."""
    _, picture = some()
    rng = np.random.default_rng(1)
    for kind in range(4):
        for _ in range(100):
            with pytest.raises(VlaeError):
                restore([picture], bytes([kind]) + rng.bytes(60), Limits(memory=1 << 24))


def test_empty_blocks():
    """A short recipe gets no stream of many blocks that hold nothing, and no more time than the limits allow."""
    file, picture = some()
    recipe = back(file, picture, 400)
    with pytest.raises(ImageTooLarge, match="seconds"):
        restore([picture], recipe, Limits(seconds=0.01))
    with pytest.raises(ImageTooLarge, match="memory"):
        restore([picture], recipe, Limits(memory=6 * picture.pixels.size))
    for count, error in ((4000, "makes no stream"), (1 << 24, "damaged")):
        out, plain = Writer(), np.zeros(100, np.uint8)
        for number in (15, 16 * 8 + 15):  # no matches
            out.number(number)
        for column in ([], [DYNAMIC, count], [0] * count, []):
            out.column(column)
        out.number(0)
        out.column([])
        with pytest.raises(CorruptFile, match=error):
            stream.read(Reader(bytes(out.data), DEFAULT), plain, DEFAULT)


SUITE = os.environ.get("VLAE_CODEC_PNGSUITE")


@pytest.mark.skipif(not SUITE, reason="VLAE_CODEC_PNGSUITE is not set")
def test_suite():
    """All valid files of PngSuite come back."""
    imagecodecs = pytest.importorskip("imagecodecs")
    assert SUITE
    for path in sorted(Path(SUITE).glob("[!x]*.png")):
        file = path.read_bytes()
        depth, colour = file[24], file[25]
        if colour == 3 or depth < 8 or b"tRNS" in file:  # which the reader of this test would expand
            continue
        samples = imagecodecs.png_decode(file)
        back(file, Picture(samples, levels=1 << depth), len(file) - 1)
