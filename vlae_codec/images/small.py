"""Two small formats whose samples Pillow changes: SGI, of which it cuts 16 bits down to 8, and BMP of 32 bits a pixel,
of which it drops the fourth byte. Here that byte is alpha, unless it is 0 everywhere.
"""

from __future__ import annotations

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.metadata import make_resolution
from vlae_codec.images.picture import Picture
from vlae_codec.limits import Limits

_SGI = b"\x01\xda"
_SGI_HEADER = 512
_BAND = 1 << 20  # samples that are unpacked at a time


def accepts(data: bytes) -> bool:
    """Whether a file that begins so is one that `read` reads."""
    return _is_sgi(data) or _is_bmp(data)


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The picture in a file. Raises UnsupportedImage and ImageTooLarge."""
    return [_read_sgi(data, limits) if _is_sgi(data) else _read_bmp(data, limits)]


def _is_sgi(data: bytes) -> bool:
    return data[:2] == _SGI and len(data) >= 12 and data[2] < 2 and data[3] in (1, 2)


def _is_bmp(data: bytes) -> bool:
    """Whether it is a BMP of 32 bits a pixel in the usual order."""
    return data[:2] == b"BM" and _little(data, 14) >= 40 and _little(data, 28, 2) == 32 and _little(data, 30) == 0


def _little(data: bytes, at: int, count: int = 4, signed: bool = False) -> int:
    return int.from_bytes(data[at : at + count], "little", signed=signed)


def _damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged image ({what}): get a fresh copy of it")


def _read_bmp(data: bytes, limits: Limits) -> Picture:
    begin, width, height = _little(data, 10), _little(data, 18, signed=True), _little(data, 22, signed=True)
    rows = abs(height)
    if width < 1 or not rows or begin + 4 * width * rows > len(data):
        raise _damaged("BMP: it ends too early")
    limits.check(width * rows, 1, 8 * width * rows)
    stored = np.frombuffer(data, np.uint8, 4 * width * rows, begin).reshape(rows, width, 4)
    stored = stored[::-1] if height > 0 else stored
    order = [2, 1, 0, 3] if stored[..., 3].any() else [2, 1, 0]
    x, y = _little(data, 38, signed=True), _little(data, 42, signed=True)
    metadata = {"resolution": make_resolution(x, y, "metre")} if x > 0 and y > 0 else {}
    return Picture(np.ascontiguousarray(stored[..., order]), metadata)


def _read_sgi(data: bytes, limits: Limits) -> Picture:
    if len(data) < _SGI_HEADER:
        raise _damaged("SGI: it ends too early")
    numbers = [int.from_bytes(data[at : at + 2], "big") for at in range(4, 12, 2)]
    dimensions, width, height, channels = numbers
    height, channels = height if dimensions > 1 else 1, channels if dimensions > 2 else 1
    if int.from_bytes(data[104:108], "big"):
        raise UnsupportedImage("not supported (SGI with a colour map): save it in another format, such as PNG")
    if not (1 <= dimensions <= 3 and width and height and 0 < channels < 256):
        raise _damaged(f"SGI: a size of {width}x{height}x{channels}")
    dtype = np.dtype(np.uint8 if data[3] == 1 else ">u2")
    limits.check(width * height, 1, 2 * width * height * channels * dtype.itemsize + 64 * _BAND + 64 * width)
    if data[2]:
        planes = _unpack(data, width, height * channels, dtype)
    elif _SGI_HEADER + width * height * channels * dtype.itemsize <= len(data):
        planes = np.frombuffer(data, dtype, width * height * channels, _SGI_HEADER)
    else:
        raise _damaged("SGI: it ends too early")
    planes = planes.reshape(channels, height, width)[:, ::-1].astype(dtype.newbyteorder("="))
    pixels = planes[0] if channels == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    name = data[24:104].partition(b"\0")[0]
    return Picture(pixels, {"description": name} if name not in (b"", b"no name") else {})


def _unpack(data: bytes, width: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """(rows, width): the samples of run-length coded rows, whose places stand in a table behind the header.

    A row is of runs: a count in the low 7 bits, and either so many samples (bit 7 set) or one that is repeated so
    often; a count of 0 ends it. All rows of a band take their next run at once.
    """
    if _SGI_HEADER + 8 * rows > len(data):
        raise _damaged("SGI: it ends too early")
    begins = np.frombuffer(data, ">u4", rows, _SGI_HEADER).astype(np.int64)
    out = np.empty((rows, width), dtype)
    size = dtype.itemsize
    whole = np.frombuffer(data, np.uint8)
    for first in range(0, rows, band := max(1, _BAND // width)):
        at, done = begins[first : first + band].copy(), np.zeros(len(begins[first : first + band]), np.int64)
        active, runs = np.arange(len(at)), []
        while active.size:
            where = at[active]
            if int(where.max()) + size > len(data):
                raise _damaged("SGI: it ends too early")
            code = whole[where + size - 1].astype(np.int64)  # the low byte of a code
            count, literal = code & 127, code >> 7
            after = where + size * (1 + np.where(literal, count, np.minimum(count, 1)))
            if np.any(done[active] + count > width) or np.any((count == 0) & (done[active] < width)):
                raise _damaged("SGI: a row of another length")
            if int(after.max()) > len(data):
                raise _damaged("SGI: it ends too early")
            runs.append(np.stack((active * width + done[active], where + size, count, literal)))
            at[active], done[active] = after, done[active] + count
            active = active[done[active] < width]
        starts, sources, counts, literals = np.concatenate(runs, axis=1)
        order = np.argsort(starts)
        inside = np.arange(len(at) * width) - np.repeat(starts[order], counts[order])
        source = np.repeat(sources[order], counts[order]) + size * inside * np.repeat(literals[order], counts[order])
        samples = whole[source] if size == 1 else whole[source].astype(np.uint16) << 8 | whole[source + 1]
        out[first : first + band] = samples.reshape(-1, width)
    return out
