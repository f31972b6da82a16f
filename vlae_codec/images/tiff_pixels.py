"""The samples of a page of TIFF, exactly as they stand in the file.

Strips and tiles are decompressed one by one: by zlib, or by Pillow's libtiff. libtiff would convert most layouts to 8
bits; therefore it is given the compressed bytes as a page of 8-bit grey, as wide as a row has bytes, and what comes
back are the decompressed bytes. Predictors and samples of any number of bits are undone here.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import tiff_layout as names
from vlae_codec.images.ifd import LONG, SHORT, Directory, damaged, header, pack, tag
from vlae_codec.images.pillow import GIVE_WAY, opened
from vlae_codec.images.tiff_layout import Layout

NONE, LZW, JPEG, WEBP = 1, 5, 7, 50001
_DEFLATE = (8, 32946)
_FAX = (2, 3, 4, 32771)
_BYTES = (LZW, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
# JPEG of other depths, JPEG XR, Aperio's and NDPI's kinds of JPEG 2000 and XR, JPEG 2000, LERC, PNG, JPEG XL
_FOREIGN = (6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34887, 34892, 34933, 34934, 48124, 50002, 52546)
_PREDICTED = (*_DEFLATE, LZW, 34925, 50000)
_BATCH = 1 << 25  # bytes that libtiff decompresses at once
_BITS = 1 << 22  # bits that are taken apart at once
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_JPEG_TAGS = (names.SUBSAMPLING, 347, 529, 532)


def samples(data: bytes, index: int, page: Directory, layout: Layout, order: str) -> np.ndarray:
    """The samples, (H, W, samples) of `layout.dtype`, of a page; `order` is the file's byte order, < or >.

    JPEG pages come back in the colours that Pillow makes of them. Raises UnsupportedImage.
    """
    if layout.compression == JPEG and layout.bits == 8:
        return _jpeg(data, page, layout)
    if layout.compression not in (NONE, WEBP, *_DEFLATE, *_FAX, *_BYTES):
        return _foreign(data, index, layout)
    planes = layout.samples // layout.inner
    out = np.empty((layout.height, layout.width, layout.samples), layout.dtype)
    for piece, raw in _pieces(data, page, layout):
        found = _taken_apart(raw, layout, layout.rows(piece), order)
        plane, place = divmod(piece, layout.across * layout.down)
        y, x = (place // layout.across * layout.piece[1], place % layout.across * layout.piece[0])
        part = out[
            y : y + found.shape[0], x : x + found.shape[1], slice(plane, plane + 1) if planes > 1 else slice(None)
        ]
        part[:] = found[: part.shape[0], : part.shape[1]]
    return out


def _raw(data: bytes, layout: Layout, index: int) -> bytes:
    at, count = int(layout.offsets[index]), int(layout.counts[index])
    raw = data[at : at + count]
    return raw.translate(_REVERSED) if layout.reversed else raw


def _pieces(data: bytes, page: Directory, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """The index and decompressed bytes of each strip or tile."""
    batch: list[int] = []
    for index in range(len(layout.offsets)):
        size = layout.row * layout.rows(index)
        if not layout.offsets[index] and not layout.counts[index]:
            yield index, bytes(size)  # left out, as GDAL does with empty ones
        elif layout.compression in (*_FAX, *_BYTES):
            batch.append(index)
            last = layout.rows(index) < layout.piece[1] or len(batch) * size >= _BATCH
            if last or index + 1 == len(layout.offsets):
                yield from _by_libtiff(data, page, layout, batch)
                batch = []
        else:
            raw = _raw(data, layout, index)
            if layout.compression in _DEFLATE:
                raw = _inflated(raw, size)
            elif layout.compression == WEBP:
                raw = _webp(raw, layout, layout.rows(index))
            if len(raw) < size:
                raise damaged("a strip or tile ends early")
            yield index, raw[:size]
    if batch:
        yield from _by_libtiff(data, page, layout, batch)


def _inflated(raw: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, size)
    except zlib.error as error:
        raise damaged(f"deflate: {error}") from error


def _webp(raw: bytes, layout: Layout, rows: int) -> bytes:
    with opened(io.BytesIO(raw)) as image:
        if image.size != (layout.piece[0], rows) or layout.bits != 8 or layout.samples not in (3, 4):
            raise damaged("a WebP strip or tile has another size")
        return image.convert("RGB" if layout.samples == 3 else "RGBA").tobytes()


def _by_libtiff(data: bytes, page: Directory, layout: Layout, indices: list[int]) -> Iterator[tuple[int, bytes]]:
    """Strips or tiles, all but the last of the same height, as one page whose samples are bytes, or bits of a fax."""
    fax = layout.compression in _FAX
    if fax and layout.bits * layout.inner != 1:
        raise damaged("a fax has more than one bit a pixel")
    rows = [layout.rows(index) for index in indices]
    tags: Directory = {number: page[number] for number in (292, 293) if fax and number in page}
    tags |= {
        names.WIDTH: tag(LONG, layout.piece[0] if fax else layout.row),
        names.BITS: tag(SHORT, 1 if fax else 8),
        names.LENGTH: tag(LONG, sum(rows)),
        names.COMPRESSION: tag(SHORT, layout.compression),
        names.PHOTOMETRIC: tag(SHORT, 1),
        names.SAMPLES: tag(SHORT, 1),
        names.ROWS: tag(LONG, rows[0]),
    }
    image = _opened([_raw(data, layout, index) for index in indices], tags, tiled=False)
    decompressed, at = image.tobytes(), 0
    for index, height in zip(indices, rows):
        yield index, decompressed[at : at + height * layout.row]
        at += height * layout.row


def _opened(pieces: list[bytes], directory: Directory, tiled: bool) -> Image.Image:
    """Pillow's image of a file made of strips or tiles and the tags that say what they are."""
    offsets = [8, *(8 + end for end in np.cumsum([len(piece) for piece in pieces]).tolist())]
    end = offsets.pop()
    start = end + end % 2
    if start > 0xFFFF0000:
        raise UnsupportedImage("strips or tiles of more than 4 GB are not supported: use smaller ones")
    directory[names.TILE_OFFSETS if tiled else names.STRIP_OFFSETS] = tag(LONG, *offsets)
    directory[names.TILE_COUNTS if tiled else names.STRIP_COUNTS] = tag(LONG, *map(len, pieces))
    file = b"".join((header(False, start), *pieces)).ljust(start, b"\0") + pack(directory, start)[0]
    try:
        with GIVE_WAY:
            image = TiffImagePlugin.TiffImageFile(io.BytesIO(file))
            image.load()
    except Exception as error:  # Pillow's readers raise many types on damaged files
        raise damaged(f"its pixels cannot be decompressed: {error}") from error
    return image


def _jpeg(data: bytes, page: Directory, layout: Layout) -> np.ndarray:
    directory: Directory = {number: page[number] for number in _JPEG_TAGS if number in page}
    directory |= {
        names.PHOTOMETRIC: tag(SHORT, layout.photometric or 1),  # Pillow would invert it where white is zero
        names.WIDTH: tag(LONG, layout.width),
        names.LENGTH: tag(LONG, layout.height),
        names.BITS: tag(SHORT, *[8] * layout.samples),
        names.COMPRESSION: tag(SHORT, JPEG),
        names.SAMPLES: tag(SHORT, layout.samples),
        names.PLANAR: tag(SHORT, 2 if layout.planar else 1),
    }
    if layout.tiled:
        directory |= {names.TILE_WIDTH: tag(LONG, layout.piece[0]), names.TILE_LENGTH: tag(LONG, layout.piece[1])}
    else:
        directory[names.ROWS] = tag(LONG, layout.piece[1])
    image = _opened([_raw(data, layout, index) for index in range(len(layout.offsets))], directory, layout.tiled)
    if image.mode not in ("L", "RGB", "CMYK"):
        raise UnsupportedImage(f"a JPEG of mode {image.mode} in a TIFF is not supported: use grey, RGB or CMYK")
    return np.array(image).reshape(layout.height, layout.width, -1)


def _foreign(data: bytes, index: int, layout: Layout) -> np.ndarray:
    """By tifffile and imagecodecs, where they are."""
    what = f"TIFF compression {layout.compression} with {layout.bits} bits"
    if layout.compression not in _FOREIGN:
        raise UnsupportedImage(f"{what} is not supported: use deflate or LZW")
    try:
        import imagecodecs  # noqa: F401
        import tifffile
    except ImportError as error:
        raise UnsupportedImage(f"{what} needs other packages: pip install 'vlae-codec[formats]'") from error
    try:
        with GIVE_WAY, tifffile.TiffFile(io.BytesIO(data)) as file:
            found: Any = file.pages[index].asarray(squeeze=False)
    except Exception as error:
        raise UnsupportedImage(f"{what} is not supported ({error}): use deflate or LZW") from error
    found = np.asarray(found)  # planes, depth, rows, columns, samples
    if found.ndim == 5 and found.shape[1] == 1:
        found = np.moveaxis(found[:, 0], 0, 2).reshape(*found.shape[2:4], -1)
    if found.shape != (layout.height, layout.width, layout.samples) or found.dtype != layout.dtype:
        raise UnsupportedImage(f"{what} gives an array of {found.dtype} {found.shape}: use deflate or LZW")
    return found


def _taken_apart(raw: bytes, layout: Layout, rows: int, order: str) -> np.ndarray:
    """The samples of a strip or tile, (rows, columns, samples of a piece), of its decompressed bytes."""
    shape, bits = (rows, layout.piece[0], layout.inner), layout.bits
    predictor = layout.predictor if layout.compression in _PREDICTED else 1
    if predictor == 3 and layout.kind == "f":
        return _float_predicted(raw, shape, layout.dtype)
    if predictor not in (1, 2) or (predictor == 2 and bits not in (8, 16, 32, 64)):
        raise UnsupportedImage(f"predictor {predictor} of a TIFF with {bits} bits is not supported: use none")
    if bits in (8, 16, 32, 64):
        word = layout.dtype.newbyteorder(order)  # type: ignore[arg-type]
        found = np.frombuffer(raw, word).reshape(shape).astype(layout.dtype, copy=predictor == 2)
        if predictor == 2:
            whole = found.view(f"u{bits // 8}")
            np.cumsum(whole, axis=1, dtype=whole.dtype, out=whole)
        return found
    if bits == 24:
        parts = np.frombuffer(raw, np.uint8).reshape(*shape, 3)
        high, low = (0, 2) if order == ">" else (2, 0)
        return (parts[..., high].astype(np.uint32) << 16) | (parts[..., 1].astype(np.uint32) << 8) | parts[..., low]
    return unpacked(np.frombuffer(raw, np.uint8).reshape(rows, layout.row), bits, shape[1] * shape[2]).reshape(shape)


def unpacked(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The first `count` numbers of each row of bytes, the highest bits first: (rows, count) uint8 or uint16."""
    if bits == 12:
        return _unpacked_12(packed, count)
    out = np.zeros((len(packed), count), np.uint8 if bits <= 8 else np.uint16)
    step = max(1, _BITS // max(1, count * bits))
    for y in range(0, len(packed), step):
        each = np.unpackbits(packed[y : y + step], axis=1, count=count * bits).reshape(-1, count, bits)
        for bit in range(bits):
            out[y : y + step] |= each[..., bit].astype(out.dtype) << (bits - 1 - bit)
    return out


def _unpacked_12(packed: np.ndarray, count: int) -> np.ndarray:
    """The same of 12 bits: two numbers of three bytes."""
    whole = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 3))).reshape(len(packed), -1, 3).astype(np.uint16)
    pairs = np.stack([whole[..., 0] << 4 | whole[..., 1] >> 4, (whole[..., 1] & 15) << 8 | whole[..., 2]], axis=2)
    return pairs.reshape(len(packed), -1)[:, :count]


def _float_predicted(raw: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Of each row the differences of bytes, those of the highest bytes of all samples first."""
    rows, columns, inner = shape
    steps = np.frombuffer(raw, np.uint8).reshape(rows, columns * dtype.itemsize, inner)
    planes = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, columns * inner)
    found = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    return found.reshape(shape).astype(dtype)
