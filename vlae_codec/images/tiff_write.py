"""Pictures -> a little-endian TIFF file, a page each; deflate, with the predictor of the type of its samples.

Bits a sample are those of the picture's levels where they are 1, 2, 4, 8, 12 or 16, else 8 or 16 with the largest
value in the tag MaxSampleValue.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from vlae_codec.errors import OutputError
from vlae_codec.images import tiff_layout as names
from vlae_codec.images.ifd import LONG, SHORT, Directory, Tag, header, pack, tag
from vlae_codec.images.picture import Picture
from vlae_codec.images.tiff_tags import MOST, tags

# mode -> photometric interpretation, extra samples
_MODES: dict[str, tuple[int, tuple[int, ...]]] = {
    "L": (1, ()),
    "1": (1, ()),
    "LA": (1, (2,)),
    "La": (1, (1,)),
    "RGB": (2, ()),
    "RGBA": (2, (2,)),
    "RGBa": (2, (1,)),
    "RGBX": (2, (0,)),
    "P": (3, ()),
    "PA": (3, (2,)),
    "CMYK": (5, ()),
    "YCbCr": (6, ()),
    "LAB": (8, ()),
}
_BITS = (1, 2, 4, 8, 12, 16)
_STRIP = 1 << 18  # bytes of a strip, before they are compressed
_CLASSIC = 0xFF000000  # longer files are BigTIFF
_WIDE = (16, 17, 18)  # types that only BigTIFF has


def write(pictures: Sequence[Picture]) -> tuple[bytes, list[str]]:
    """The file, and what it does not hold. Raises OutputError for modes that TIFF does not have."""
    pages, notes = [], []
    for picture in pictures:
        strips, page, lost = _page(picture)
        pages.append((strips, page))
        notes += lost
    size = sum(len(strip) for strips, _ in pages for strip in strips)
    held = sum(_size(page) + 12 * len(strips) for strips, page in pages)
    big = size + held > _CLASSIC or any(_has_wide(page) for _, page in pages)
    file, next_at = bytearray(header(big, 0)), 8 if big else 4
    position = "<Q" if big else "<L"
    for strips, page in pages:
        offsets = []
        for strip in strips:
            offsets.append(len(file))
            file += strip
        file += bytes(len(file) % 2)
        page[names.STRIP_OFFSETS] = tag(16 if big else LONG, *offsets)
        struct.pack_into(position, file, next_at, len(file))
        packed, at = pack(page, len(file), big)
        next_at = len(file) + at
        file += packed
    return bytes(file), list(dict.fromkeys(notes))


def check(picture: Picture) -> None:
    """Raises OutputError for a mode that TIFF does not have."""
    if picture.mode not in _MODES and picture.mode != "bands":
        raise OutputError(f"TIFF has no mode {picture.mode}: use an array, such as .npy")


def _size(page: Directory) -> int:
    return sum(32 + (len(value.data) if isinstance(value, Tag) else _size(value)) for value in page.values())


def _has_wide(page: Directory) -> bool:
    return any(value.kind in _WIDE if isinstance(value, Tag) else _has_wide(value) for value in page.values())


def _page(picture: Picture) -> tuple[list[bytes], Directory, list[str]]:
    """The strips and tags of a page, and what it does not hold."""
    check(picture)
    page, notes = tags(picture.metadata)
    picture = _without_transparency(picture, notes)
    array, levels = picture.pixels, picture.levels
    array = array.reshape(*array.shape[:2], -1)
    height, width, samples = array.shape
    meaning, bits = _meaning(picture, page), _bits(picture, page)
    if meaning[names.PHOTOMETRIC] == tag(SHORT, 0) and levels and picture.mode in ("L", "1", "LA", "La"):
        array = array.astype(np.uint8) if picture.mode == "1" else array.copy()
        array[..., 0] = levels - 1 - array[..., 0]  # the file's white is zero
    if levels & (levels - 1):
        notes.append(f"the maximum value {levels - 1}")
    if levels and bits > picture.bits:
        page[MOST] = tag(SHORT, *[levels - 1] * samples)
    kind, size = array.dtype.kind, array.itemsize
    plain = picture.mode == "YCbCr"  # Pillow turns it into RGB where it is compressed
    predictor = 1 if bits not in (8, 16, 32) or plain or "P" in picture.mode else 2
    predictor = 3 if kind == "f" else predictor
    rows = max(1, min(height, _STRIP // max(1, width * samples * size)))
    strips = [_packed(array[y : y + rows], bits, predictor) for y in range(0, height, rows)]
    strips = strips if plain else [zlib.compress(strip) for strip in strips]
    page |= meaning
    page |= {
        names.WIDTH: tag(LONG, width),
        names.LENGTH: tag(LONG, height),
        names.BITS: tag(SHORT, *[bits] * samples),
        names.COMPRESSION: tag(SHORT, 1 if plain else 8),
        names.STRIP_OFFSETS: tag(LONG, 0),
        names.SAMPLES: tag(SHORT, samples),
        names.ROWS: tag(LONG, rows),
        names.STRIP_COUNTS: tag(LONG, *map(len, strips)),
        names.PLANAR: tag(SHORT, 1),
        names.PREDICTOR: tag(SHORT, predictor),
        names.FORMAT: tag(SHORT, *[{"u": 1, "b": 1, "i": 2, "f": 3}[kind]] * samples),
    }
    return strips, page, notes


def _without_transparency(picture: Picture, notes: list[str]) -> Picture:
    """A palette with alpha as one without, the alpha a channel."""
    palette = picture.palette
    if palette is None or palette.shape[1] == 3:
        return picture
    alpha = np.full(256, 255, np.uint8)
    alpha[: len(palette)] = palette[:, 3]
    if picture.mode == "PA":
        notes.append("the alpha of the palette")
        return picture.replaced(palette=palette[:, :3])
    notes.append("the alpha of the palette, other than as a channel")
    pixels = np.stack([picture.pixels, alpha[picture.pixels]], axis=2)
    return picture.replaced(pixels=pixels, mode="PA", levels=256, palette=palette[:, :3])


def _meaning(picture: Picture, page: Directory) -> Directory:
    """The tags that say what the samples are; those of the page itself where the mode does not say it."""
    if picture.mode == "bands":
        kept = {number: page[number] for number in (names.PHOTOMETRIC, names.EXTRA, names.COLOUR_MAP) if number in page}
        if names.PHOTOMETRIC not in kept:
            kept[names.PHOTOMETRIC] = tag(SHORT, 1)
            if picture.channels > 1:
                kept[names.EXTRA] = tag(SHORT, *[0] * (picture.channels - 1))
        return kept
    photometric, extra = _MODES[picture.mode]
    white = page.get(names.PHOTOMETRIC) == tag(SHORT, 0) and picture.mode in ("L", "1", "LA", "La")
    found: Directory = {names.PHOTOMETRIC: tag(SHORT, 0 if white else photometric)}
    if extra:
        found[names.EXTRA] = tag(SHORT, *extra)
    if picture.mode == "YCbCr":
        found[names.SUBSAMPLING] = tag(SHORT, 1, 1)
    if picture.palette is not None:
        found[names.COLOUR_MAP] = _colour_map(picture, page)
    return found


def _colour_map(picture: Picture, page: Directory) -> Tag:
    """The page's own, if its upper bytes are the palette; else the palette's values times 257."""
    assert picture.palette is not None
    entries = 1 << _bits(picture, page)
    whole = np.zeros((3, entries), np.uint16)
    whole[:, : len(picture.palette)] = picture.palette[:entries].T
    own = page.get(names.COLOUR_MAP)
    fits = isinstance(own, Tag) and own.kind == SHORT and own.count == 3 * entries
    if isinstance(own, Tag) and fits and np.array_equal(own.values() >> 8, whole.reshape(-1)):
        return own
    return tag(SHORT, *(whole.reshape(-1) * np.uint16(257)).tolist())


def _bits(picture: Picture, page: Directory) -> int:
    """Bits a sample in the file."""
    if not picture.levels:
        return 8 * picture.pixels.itemsize
    if picture.palette is not None:
        return next(bits for bits in (1, 2, 4, 8) if 1 << bits >= max(picture.levels, len(picture.palette)))
    exact = picture.bits in _BITS and picture.levels == 1 << picture.bits
    return picture.bits if exact else 8 * picture.pixels.itemsize


def _packed(array: np.ndarray, bits: int, predictor: int) -> bytes:
    """The bytes of rows of samples (H, W, C), after the predictor."""
    height, width, samples = array.shape
    size = array.itemsize
    if bits != 8 * size or array.dtype == bool:
        flat = array.reshape(height, -1).astype(np.uint16)
        if bits == 12:
            return _packed_12(flat)
        each = np.empty((height, flat.shape[1], bits), np.uint8)
        for bit in range(bits):
            each[..., bit] = flat >> (bits - 1 - bit) & 1
        return np.packbits(each.reshape(height, -1), axis=1).tobytes()
    if predictor == 2:
        whole = np.ascontiguousarray(array).view(f"u{size}")
        steps = whole.copy()
        steps[:, 1:] -= whole[:, :-1]
        return steps.astype(steps.dtype.newbyteorder("<")).tobytes()
    if predictor == 3:
        high_first = np.ascontiguousarray(array.astype(array.dtype.newbyteorder(">"))).view(np.uint8)
        planes = high_first.reshape(height, width * samples, size).transpose(0, 2, 1).reshape(height, -1, samples)
        steps = np.ascontiguousarray(planes)
        steps[:, 1:] -= planes[:, :-1]
        return steps.tobytes()
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _packed_12(flat: np.ndarray) -> bytes:
    """Rows of numbers of 12 bits, two in three bytes."""
    height, count = flat.shape
    flat = np.pad(flat, ((0, 0), (0, count % 2)))
    even, odd = flat[:, ::2], flat[:, 1::2]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=2).astype(np.uint8)
    return packed.reshape(height, -1)[:, : (12 * count + 7) // 8].tobytes()
