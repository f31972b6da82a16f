"""Animations, icons, MPO and JPEG, against Pillow as reader and writer of its own."""

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from vlae_codec.errors import ImageTooLarge, OutputError, UnsupportedImage
from vlae_codec.images import compose, frames, jpeg
from vlae_codec.images.picture import Picture
from vlae_codec.images.png_chunks import SIGNATURE, chunk
from vlae_codec.limits import DEFAULT, Limits

RNG = np.random.default_rng(16)
CASES = Path(os.environ.get("VLAE_CODEC_CASES", ""))
needs_cases = pytest.mark.skipif(not CASES.is_dir() or not CASES.name, reason="VLAE_CODEC_CASES is not set")
CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}
DELAYS = [50, 100, 20, 300]


def pixels_of(mode, count=4, transparent=0.3):
    """Frames of which each differs from the one before in a part; alpha is 0 or 255."""
    array = RNG.integers(0, 256, (20, 30, *CHANNELS[mode]), np.uint8)
    found = []
    for number in range(count):
        part = array[number : number + 8, 2 * number : 2 * number + 9]
        part[:] = RNG.integers(0, 256, part.shape, np.uint8)
        if mode == "RGBA":
            array[..., 3] = np.where(RNG.random(array.shape[:2]) < transparent, 0, 255)
        found.append(array.copy())
    return found


def written(arrays, kind, **options):
    images = [Image.fromarray(array) for array in arrays]
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def shown(picture: Picture) -> np.ndarray:
    """RGBA, with 0 where nothing is seen."""
    array: Any = picture.pixels
    if picture.palette is not None:
        palette = np.full((256, 4), 255, np.uint8)
        palette[: len(picture.palette), : picture.palette.shape[1]] = picture.palette
        array = palette[array]
    rgba = np.array(Image.fromarray(array).convert("RGBA"))
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return [shown(Picture(np.array(frame.convert("RGBA")))) for frame in ImageSequence.Iterator(image)]


def words(picture):
    return compose.read_words(picture.metadata["frame"])


def check_apng(pictures):
    """That an APNG of them is what Pillow and our reader read again."""
    data, notes = frames.write_apng(pictures)
    assert notes == []
    again = frames.read_apng(data, DEFAULT)
    assert len(again) == len(pictures)
    for picture, other, seen in zip(pictures, again, by_pillow(data)):
        assert np.array_equal(picture.pixels, other.pixels)
        assert (picture.mode, picture.levels) == (other.mode, other.levels)
        assert np.array_equal(shown(picture), seen)
        mine, theirs = words(picture), words(other)
        assert all(mine.get(name) == theirs.get(name) for name in ("delay", "loop", "canvas", "default"))
    return data


@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GIF", {"loop": 3}),
        ("GIF", {"disposal": 2}),
        ("GIF", {"disposal": 3}),
        ("PNG", {"loop": 2}),
        ("PNG", {"disposal": 1, "blend": 1}),
        ("PNG", {"disposal": 0, "blend": 1}),
        ("PNG", {"disposal": 2, "blend": 1}),
        ("PNG", {"disposal": 0, "blend": 1, "default_image": True}),
        ("WEBP", {"lossless": True, "exact": True, "loop": 7}),
    ],
)
def test_animations(mode, kind, options):
    if mode == "L" and (kind == "WEBP" or options.get("disposal")):
        mode = "RGB"  # Pillow's writer makes these of it anyway, or fails
    data = written(pixels_of(mode), kind, duration=DELAYS[: 3 if "default_image" in options else 4], **options)
    pictures = frames.read(data, DEFAULT)
    seen = by_pillow(data)
    assert len(pictures) == len(seen) == 4
    previous = options.get("disposal") == (3 if kind == "GIF" else 2)
    if not previous and not ("default_image" in options and mode == "RGBA"):  # which Pillow does not show by the rules
        assert all(map(np.array_equal, map(shown, pictures), seen))
    assert words(pictures[0])["format"] == {"GIF": "gif", "PNG": "apng", "WEBP": "webp"}[kind]
    assert words(pictures[0])["canvas"] == "30x20"
    if "loop" in options:
        assert words(pictures[0])["loop"] == str(options["loop"] + (kind == "GIF"))
    timed = pictures["default_image" in options :]
    assert [eval(words(picture)["delay"]) for picture in timed] == [delay / 1000 for delay in DELAYS[: len(timed)]]
    check_apng(pictures)


def test_one_frame():
    """A GIF of one frame keeps its palette, the order and the unused entries."""
    image = Image.new("P", (10, 9))
    indices = RNG.integers(0, 7, (9, 10), np.uint8)
    palette = RNG.integers(0, 256, (16, 3), np.uint8)
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.tobytes())
    file = io.BytesIO()
    image.save(file, "GIF", optimize=False, transparency=3, comment=b"a note", interlace=1)
    (picture,) = frames.read(file.getvalue(), DEFAULT)
    assert (picture.mode, picture.levels, picture.notes) == ("P", 16, ())
    assert picture.metadata == {"comment": b"a note"}
    assert np.array_equal(picture.pixels, indices)
    assert picture.palette is not None
    assert np.array_equal(picture.palette[:, :3], palette)
    assert picture.palette[:, 3].tolist() == [255] * 3 + [0] + [255] * 12


def gif(*blocks, width=6, height=4, colours=bytes(range(12)), end=b";"):
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81 if colours else 0, 0, 0)
    return head + colours + b"".join(blocks) + end


def control(delay=0, dispose=0, transparent=None):
    packed = dispose << 2 | (transparent is not None)
    return struct.pack("<BBBBHBB", 0x21, 0xF9, 4, packed, delay, transparent or 0, 0)


def part(array, x=0, y=0, colours=b""):
    """An image of indices below 4, coded without compression: each code is followed by a clear."""
    height, width = array.shape
    codes = [code for value in array.ravel().tolist() for code in (4, value)] + [5]
    number = sum(code << 3 * index for index, code in enumerate(codes))
    body = number.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = b"".join(bytes([len(body[at : at + 255])]) + body[at : at + 255] for at in range(0, len(body), 255))
    flags = 0x81 if colours else 0
    return b"," + struct.pack("<HHHHB", x, y, width, height, flags) + colours + b"\2" + blocks + b"\0"


def test_gif_by_palette():
    """Frames of one palette stay indices; what they dispose of is as the rules say."""
    full, small = RNG.integers(0, 3, (4, 6)).astype(np.uint8), np.full((2, 3), 1, np.uint8)
    data = gif(
        control(5, 1, 3), part(full), control(6, 3, 3), part(small, 1, 1), control(7, 2, 3), part(small, 3, 2),
        control(8, 0, 3), part(np.array([[3, 2]], np.uint8)),
    )  # fmt: skip
    pictures = frames.read(data, DEFAULT)
    first, second, third, fourth = (picture.pixels for picture in pictures)
    assert pictures[0].mode == "P"
    assert np.array_equal(first, full)
    expected = full.copy()
    expected[1:3, 1:4] = 1
    assert np.array_equal(second, expected)
    expected = full.copy()
    expected[2:4, 3:6] = 1
    assert np.array_equal(third, expected)
    expected[2:4, 3:6] = 3
    expected[0, 1] = 2
    assert np.array_equal(fourth, expected)
    assert [words(picture)["dispose"] for picture in pictures] == ["none", "previous", "background", "none"]
    assert words(pictures[1])["x"] == "1"
    check_apng(pictures)


def test_first_is_disposed_of():
    """What is before the first frame comes back, and is transparent."""
    arrays = [np.full((4, 6, 4), 255, np.uint8), np.full((1, 2, 4), 9, np.uint8)]
    parts = [compose.Part(6, 4, 0, 0, (1, 1), "previous"), compose.Part(2, 1, 3, 2, (1, 1), "none", "over")]
    empty = np.zeros((4, 6, 4), np.uint8)
    found = list(compose.composed(parts, ((array, None) for array in arrays), empty))
    empty[2, 3:5] = 9
    assert np.array_equal(found[1], empty)


def test_gif_by_colours():
    """Palettes of their own, and a frame that does not fill the canvas."""
    small = np.array([[0, 1], [2, 3]], np.uint8)
    other = bytes(range(100, 112))
    pictures = frames.read(gif(control(1), part(small, 1, 1), control(1), part(small, 2, 2, other)), DEFAULT)
    assert pictures[1].mode == "RGBA"
    assert pictures[1].pixels[1, 1].tolist() == [0, 1, 2, 255]
    assert pictures[1].pixels[2, 2].tolist() == [100, 101, 102, 255]
    assert pictures[1].pixels[0, 0].tolist() == [0, 0, 0, 0]
    check_apng(pictures)


def test_gif_extensions():
    small = np.zeros((4, 6), np.uint8)
    xmp = b"<x:xmpmeta>" + b"a" * 300 + b"</x:xmpmeta>"
    tail = bytes([1, *range(255, -1, -1), 0])
    blocks = b"!\xff\x0bXMP DataXMP" + xmp + tail + b"!\xfe\x02ab\0!\xfe\x01c\0!\xff\x0bUNKNOWN 1.0\x01x\0"
    (picture,) = frames.read(gif(blocks, control(9), part(small), end=b";rest"), DEFAULT)
    assert picture.metadata == {"xmp": xmp, "comment": b"ab\0c"}
    assert picture.notes == (
        "the extension 'UNKNOWN 1.0'",
        "data behind the end of the GIF",
        "the delay of the only frame",
    )


def test_apng_of_16_bits():
    arrays = [RNG.integers(0, 65536, (7, 8, 4), np.uint16) for _ in range(3)]
    given = [Picture(array, {"frame": b"delay=1/7"}) for array in arrays]
    data, notes = frames.write_apng(given)
    assert notes == []
    assert all(np.array_equal(p.pixels, a) and p.levels == 65536 for p, a in zip(frames.read(data, DEFAULT), arrays))


@pytest.mark.parametrize("bits", [8, 16])
def test_apng_blended(bits):
    """Over: as the specification says, within what integers leave out."""
    most = (1 << bits) - 1
    below, above = (RNG.integers(0, most + 1, (9, 9, 4)).astype(f"u{bits // 8}") for _ in range(2))
    above[0, :3, 3] = 0, most, 1
    below[1, :3, 3] = 0, most, 1
    found = compose.over(below, above)
    a, b = above[..., 3:] / most, below[..., 3:] / most
    alpha = a + b * (1 - a)
    colours = (above[..., :3] * a + below[..., :3] * b * (1 - a)) / np.maximum(alpha, 1e-9)
    assert np.abs(found[..., 3:] / most - alpha).max() <= 1.01 / most
    seen = alpha[..., 0] > 0
    assert np.abs(found[..., :3] - colours)[seen].max() <= 1.01
    assert np.array_equal(found[0, 0], below[0, 0])
    assert np.array_equal(found[0, 1], above[0, 1])


def test_apng_metadata():
    metadata = {"icc": b"", "comment": b"a film", "resolution": b"600/1 600/1 metre"}
    given = [Picture(array, {"frame": b"delay=1/10 loop=3"}) for array in pixels_of("RGB")]
    given[0] = given[0].replaced(metadata=given[0].metadata | {key: value for key, value in metadata.items() if value})
    data, _ = frames.write_apng(given)
    again = frames.read(data, DEFAULT)
    assert again[0].metadata["resolution"] == b"600/1 600/1 metre"
    assert b"a film" in again[0].metadata.get("comment", b"") + again[0].metadata.get("png", b"")
    assert set(again[1].metadata) == {"frame"}
    assert words(again[0])["loop"] == "3"


def test_apng_of_others():
    first, second = Picture(np.zeros((3, 4), np.uint8)), Picture(np.zeros((4, 4), np.uint8))
    with pytest.raises(OutputError, match=r"use \.tif"):
        frames.write_apng([first, second])
    assert not frames.is_animation([first, second])
    timed = first.replaced(metadata={"frame": b"delay=70000/1"})
    assert frames.is_animation([timed])
    _, notes = frames.write_apng([timed, timed])
    assert notes == ["the exact time of a frame"]


def test_apng_damaged():
    data = written(pixels_of("RGB"), "PNG", duration=50)
    for at in RNG.integers(0, len(data), 300):
        damaged = bytearray(data)
        damaged[at] ^= int(RNG.integers(1, 256))
        with suppress(UnsupportedImage, ImageTooLarge):
            frames.read(bytes(damaged), Limits(memory=1 << 24))
    with pytest.raises(UnsupportedImage):
        frames.read(data[:-200], DEFAULT)


def test_limits():
    """What a small file promises is refused before it is taken."""
    rows = zlib.compress(bytes(5))
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", 30000, 30000, 8, 2, 0, 0, 0)) + chunk(
        b"acTL", struct.pack(">LL", 9, 0)
    )
    first = chunk(b"fcTL", struct.pack(">LLLLLHHBB", 0, 30000, 30000, 0, 0, 1, 1, 0, 0)) + chunk(b"IDAT", rows)
    rest = b"".join(
        chunk(b"fcTL", struct.pack(">LLLLLHHBB", 2 * i + 1, 1, 1, 0, 0, 1, 1, 0, 0))
        + chunk(b"fdAT", struct.pack(">L", 2 * i + 2) + rows)
        for i in range(8)
    )
    with pytest.raises(ImageTooLarge):
        frames.read(SIGNATURE + head + first + rest + chunk(b"IEND", b""), DEFAULT)
    one = part(np.zeros((1, 1), np.uint8))
    with pytest.raises(ImageTooLarge):
        frames.read(gif(*[one] * 100, width=60000, height=60000), DEFAULT)
    webp = written(pixels_of("RGB"), "WEBP", lossless=True)
    with pytest.raises(ImageTooLarge):
        frames.read(webp, Limits(pixels=2399))


@pytest.mark.parametrize("end", range(0, 60, 7))
def test_gif_truncated(end):
    small = RNG.integers(0, 4, (4, 6)).astype(np.uint8)
    data = gif(control(1), part(small))
    with pytest.raises(UnsupportedImage):
        frames.read(data[: min(end, len(data) - 4)], DEFAULT)


def test_icons():
    arrays = [np.dstack([array[..., :3], array[..., 3:]]) for array in pixels_of("RGBA", 2)]
    sizes = [(16, 16), (32, 32), (48, 48)]
    file = io.BytesIO()
    Image.fromarray(arrays[0]).resize((48, 48), Image.Resampling.NEAREST).save(
        file, "ICO", sizes=sizes, bitmap_format="bmp"
    )
    pictures = frames.read(file.getvalue(), DEFAULT)
    assert [picture.pixels.shape[:2] for picture in pictures] == sizes
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        image: Any = opened
        for picture in pictures:
            assert np.array_equal(picture.pixels, np.asarray(image.ico.getimage(picture.pixels.shape[:2])))
    with pytest.raises(UnsupportedImage, match="damaged icon"):
        frames.read(file.getvalue()[:-500], DEFAULT)
    with pytest.raises(ImageTooLarge):
        frames.read(file.getvalue(), Limits(pixels=3000))


@needs_cases
def test_case_of_an_icon():
    pictures = frames.read((CASES / "multi.ico").read_bytes(), DEFAULT)
    assert sorted(picture.pixels.shape[:2] for picture in pictures) == [(12, 16), (24, 32), (36, 48)]


def photo(height=90, width=70):
    y, x = np.mgrid[:height, :width]
    noise = RNG.normal(0, 8, (height, width, 1))
    return np.clip(np.stack([2 * x, y + x, 255 - 2 * y], 2) + noise, 0, 255).astype(np.uint8)


def jpeg_of(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize(
    "options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("grey", [False, True])
def test_jpeg(quality, options, grey):
    array = photo()[..., 0] if grey else photo()
    data = jpeg_of(array, quality=quality, **options)
    (picture,) = frames.read(data, DEFAULT)
    assert picture.notes == ()
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(picture.pixels, np.asarray(image))
    assert jpeg.is_jpeg(data)
    if "progressive" in options:
        return
    scan = data.index(b"\xff\xda") + 14
    for share in (0.2, 0.6, 0.9):  # with the end put back
        cut = data[: int(scan + share * (len(data) - scan))].rstrip(b"\xff") + b"\xff\xd9"
        assert any("the file is damaged" in note for note in jpeg.notes(cut)), share


@pytest.mark.parametrize("quality", [10, 75, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}])
def test_jpeg_of_any_size(monkeypatch, quality, subsampling, options):
    """Of sound files nothing is said, however they are checked."""
    for followed in (jpeg._FOLLOWED, 0):
        monkeypatch.setattr(jpeg, "_FOLLOWED", followed)
        for shape in ((16, 16, 3), (33, 47, 3), (90, 70, 3), (90, 70)):
            for array in (RNG.integers(0, 256, shape, np.uint8), np.full(shape, 7, np.uint8), photo(90, 70)):
                assert jpeg.notes(jpeg_of(array, quality=quality, subsampling=subsampling, **options)) == ()


def test_large_jpeg():
    """More than what is followed code by code; cut with the end put back, or with bytes too many."""
    data = jpeg_of(RNG.integers(0, 256, (500, 500, 3), np.uint8), quality=95)
    assert len(data) > jpeg._FOLLOWED
    assert jpeg.notes(data) == ()
    assert "is damaged" in jpeg.notes(data[:-200].rstrip(b"\xff") + b"\xff\xd9")[0]
    assert "is damaged" in jpeg.notes(data[:-2] + data[-300:-2] + b"\xff\xd9")[0]


@pytest.mark.parametrize(("shape", "least"), [((90, 70), 0.3), ((280, 360), 0.6)])
def test_jpeg_damaged(shape, least):
    """What is overwritten is often no code, or makes more or fewer blocks; the rest decodes, and cannot be told."""
    data = jpeg_of(photo(*shape), quality=75)
    found = total = 0
    for at in RNG.integers(700, len(data) - 100, 100):
        damaged = data[:at] + bytes(RNG.integers(0, 255, 40).astype(np.uint8)) + data[at + 40 :]
        total += 1
        found += any("the file is damaged" in note for note in jpeg.notes(damaged))
    assert found >= least * total


def test_jpeg_metadata():
    exif = Image.Exif()
    exif[274] = 6
    data = jpeg_of(photo(), exif=exif, comment=b"roll 12", dpi=(300, 200), xmp=b"<x:xmpmeta/>", icc_profile=b"p" * 200)
    (picture,) = frames.read(data, DEFAULT)
    assert picture.metadata["exif"] == exif.tobytes().removeprefix(b"Exif\0\0")
    assert picture.metadata["comment"] == b"roll 12"
    assert picture.metadata["xmp"] == b"<x:xmpmeta/>"
    assert picture.metadata["icc"] == b"p" * 200
    assert picture.metadata["resolution"] == b"300/1 200/1 inch"
    assert picture.pixels.shape == (90, 70, 3)


def test_behind_a_jpeg():
    data = jpeg_of(photo())
    assert jpeg.notes(data + data) == (f"a second JPEG of {len(data)} bytes behind the end of the JPEG",)
    assert jpeg.notes(data + b"\0\0\0\x18ftypmp42") == ("a video of 12 bytes behind the end of the JPEG",)
    assert jpeg.notes(data + bytes(100)) == ()


def test_mpo():
    arrays = [photo(), photo(50, 60)]
    data = written(arrays, "MPO", quality=95)
    pictures = frames.read(data, DEFAULT)
    with Image.open(io.BytesIO(data)) as image:
        for number, picture in enumerate(pictures):
            image.seek(number)
            assert np.array_equal(picture.pixels, np.asarray(image))
            assert picture.notes == ()
    assert words(pictures[0]) == {"page": "0", "format": "mpo"}
    with pytest.raises(UnsupportedImage, match="damaged MPO"):
        frames.read(data[:-1], DEFAULT)
    assert frames.read(data + b"more", DEFAULT)[1].notes == ("data of 4 bytes behind the end of the MPO",)


@needs_cases
@pytest.mark.parametrize(
    ("name", "count", "note"),
    [("jpg_meta", 1, ""), ("jpg_motion", 1, "behind the end"), ("jpg_mpo", 2, ""), ("jpg_trunc_eoi", 1, "is damaged")],
)
def test_cases_of_jpeg(name, count, note):
    pictures = frames.read((CASES / f"{name}.jpg").read_bytes(), DEFAULT)
    assert len(pictures) == count
    assert note in "".join(pictures[0].notes)
    assert bool(note) == bool(pictures[0].notes)


def test_no_frames():
    with pytest.raises(UnsupportedImage, match="give a GIF"):
        frames.read(b"nothing", DEFAULT)
