"""Netpbm's files <-> pictures: PBM, PGM, PPM (P1 to P6), PAM (P7) and, of floats, PFM (PF, Pf).

A file may hold several pictures, one after another; its comments are kept. Samples stay as they are: levels are the
file's maximum value plus 1. In PBM 1 is black, and so False.

PAM's TUPLTYPE                      mode
BLACKANDWHITE                       1
GRAYSCALE, RGB, CMYK                L, RGB, CMYK
BLACKANDWHITE_ALPHA, GRAYSCALE_ALPHA, RGB_ALPHA   LA (2 levels), LA, RGBA
any other                           bands
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlae_codec.errors import OutputError, UnsupportedImage
from vlae_codec.images.metadata import not_kept
from vlae_codec.images.picture import Picture
from vlae_codec.limits import Limits

KINDS = ("pbm", "pgm", "ppm", "pnm", "pam", "pfm")
_MAGIC = re.compile(rb"P[1-7fF]\s")
_BLANKS = rb"(?:\s|#[^\n\r]*[\n\r])"
_FIELD = re.compile(rb"(%b+)(\d{1,10})(?=[\s#])" % _BLANKS)
_SCALE = re.compile(rb"\s+(-?[0-9.eE+-]{1,40})\s")
_COMMENT = re.compile(rb"#[ ]?([^\n\r]*)")
_MOST_HEADER = 1 << 20  # bytes
_MODES = {  # TUPLTYPE -> mode and channels
    b"BLACKANDWHITE": ("1", 1),
    b"GRAYSCALE": ("L", 1),
    b"RGB": ("RGB", 3),
    b"CMYK": ("CMYK", 4),
    b"BLACKANDWHITE_ALPHA": ("LA", 2),
    b"GRAYSCALE_ALPHA": ("LA", 2),
    b"RGB_ALPHA": ("RGBA", 4),
}
_TYPES = {"1": "BLACKANDWHITE", "L": "GRAYSCALE", "RGB": "RGB", "CMYK": "CMYK", "LA": "GRAYSCALE_ALPHA"}
_HOLDS = {"pbm": ("1",), "pgm": ("L",), "ppm": ("RGB",), "pnm": ("1", "L", "RGB"), "pfm": ("L", "RGB")}


class _Header(NamedTuple):
    magic: bytes
    width: int
    height: int
    maxval: int
    mode: str
    channels: int
    begin: int  # of the samples
    comment: bytes
    note: str = ""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.maxval < 256 else ">u2")

    @property
    def shape(self) -> tuple[int, ...]:
        flat = self.channels == 1 and self.mode != "bands"
        return (self.height, self.width) if flat else (self.height, self.width, self.channels)


def accepts(data: bytes) -> bool:
    """Whether a file that begins so is one of these."""
    return _MAGIC.match(data) is not None


def size(data: bytes) -> tuple[int, int]:
    """The (width, height) of the first picture of a file that begins so. Raises UnsupportedImage."""
    header = _read_header(data, 0)
    return header.width, header.height


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The pictures in a file. Raises UnsupportedImage and ImageTooLarge."""
    pictures: list[Picture] = []
    pixels = at = 0
    while not pictures or _MAGIC.match(data, at):
        header = _read_header(data, at)
        pixels += header.width * header.height
        limits.check(pixels, len(pictures) + 1, pixels * header.channels * 8)
        read_samples = _read_plain if header.magic in (b"P1", b"P2", b"P3") else _read_raw
        samples, at = read_samples(data, header)
        metadata = {"comment": header.comment} if header.comment else {}
        levels = 0 if samples.dtype == np.float32 else header.maxval + 1
        pictures.append(Picture(samples, metadata, header.mode, levels, None, (header.note,) if header.note else ()))
    if rest := len(data[at:].strip(b" \t\r\n\0")):
        pictures[-1] = pictures[-1].replaced(notes=(*pictures[-1].notes, f"{rest} bytes after the end of the picture"))
    return pictures


def _damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged image (PNM: {what}): get a fresh copy of it")


def _read_header(data: bytes, at: int) -> _Header:
    magic, at = data[at : at + 2], at + 2
    if magic == b"P7":
        return _read_pam(data, at)
    fields: list[int] = []
    comments: list[bytes] = []
    for _ in range(2 if magic in (b"P1", b"P4", b"PF", b"Pf") else 3):
        found = _FIELD.match(data, at, at + _MOST_HEADER)
        if not found:
            raise _damaged("a number of the header is missing")
        comments += _COMMENT.findall(found[1])
        fields.append(int(found[2]))
        at = found.end()
    width, height, maxval = (*fields, 1)[:3]
    if not (width and height and 1 <= maxval <= 65535):
        raise _damaged(f"a size of {width}x{height} and a maximum value of {maxval}")
    mode, note = {b"P1": "1", b"P4": "1", b"P3": "RGB", b"P6": "RGB", b"PF": "RGB"}.get(magic, "L"), ""
    if magic in (b"PF", b"Pf"):
        scale = _SCALE.match(data, at)
        maxval, value = _byte_order(scale[1] if scale else b"")
        at = scale.end() if scale else at
        note = f"the scale {value:g}" if value != 1 else ""
    elif magic not in (b"P1", b"P2", b"P3"):
        while data[at : at + 1] == b"#":  # Netpbm allows a comment behind the last number
            end = data.find(b"\n", at, at + _MOST_HEADER) + 1
            if not end:
                raise _damaged("a comment without an end")
            comments += _COMMENT.findall(data[at:end])
            at = end - 1
        at += 1
    comment = b"\0".join(comments)
    return _Header(magic, width, height, maxval, mode, 3 if mode == "RGB" else 1, at, comment, note)


def _byte_order(scale: bytes) -> tuple[int, float]:
    """0 for little-endian floats, 1 for big-endian ones, and the size of a PFM's scale."""
    try:
        value = float(scale)
    except ValueError:
        value = 0.0
    if not value or value != value or abs(value) == float("inf"):
        raise _damaged("no scale")
    return int(value > 0), abs(value)


def _read_pam(data: bytes, at: int) -> _Header:
    end = re.compile(rb"[\n\r]\s*ENDHDR[ \t\r]*\n").search(data, at, at + _MOST_HEADER)
    if not end:
        raise _damaged("no ENDHDR")
    fields: dict[bytes, bytes] = {}
    comments: list[bytes] = []
    for line in data[at : end.start()].splitlines():
        if line.lstrip().startswith(b"#"):
            comments += _COMMENT.findall(line)
        elif words := line.split(None, 1):
            name, value = words[0], words[1].strip() if len(words) > 1 else b""
            fields[name] = fields[name] + b" " + value if name == b"TUPLTYPE" and name in fields else value
    try:
        width, height, channels, maxval = (
            int(fields[name][:10]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
    except (KeyError, ValueError) as error:
        raise _damaged("a number of the header is missing") from error
    if not (width > 0 and height > 0 and 1 <= channels <= 255 and 1 <= maxval <= 65535):
        raise _damaged(f"a size of {width}x{height}x{channels} and a maximum value of {maxval}")
    kind, note = fields.get(b"TUPLTYPE", b""), ""
    mode, needed = _MODES.get(kind, ("L" if channels == 1 else "bands", channels))
    if kind and (kind not in _MODES or needed != channels):
        mode, note = "L" if channels == 1 else "bands", f"the tuple type {kind[:80].decode('latin-1')}"
    if mode == "1" and maxval != 1:
        mode = "L"
    return _Header(b"P7", width, height, maxval, mode, channels, end.end(), b"\0".join(comments), note)


def _read_raw(data: bytes, header: _Header) -> tuple[np.ndarray, int]:
    floats = header.magic in (b"PF", b"Pf")
    dtype = np.dtype(">f4" if header.maxval else "<f4") if floats else header.dtype
    row = (header.width + 7) // 8 if header.magic == b"P4" else header.width * header.channels * dtype.itemsize
    end = header.begin + header.height * row
    if end > len(data):
        raise _damaged("it ends too early")
    rows = np.frombuffer(data, np.uint8, header.height * row, header.begin).reshape(header.height, row)
    if header.magic == b"P4":
        return np.unpackbits(rows, axis=1, count=header.width) == 0, end
    samples = rows.view(dtype).astype(dtype.newbyteorder("=")).reshape(header.shape)
    return np.ascontiguousarray(samples[::-1]) if floats else _checked(samples, header), end


def _read_plain(data: bytes, header: _Header) -> tuple[np.ndarray, int]:
    count = header.width * header.height * header.channels
    if header.magic == b"P1":
        digits, at = _plain_bits(data, header.begin, count)
        return digits.reshape(header.shape) == 0, at
    following = re.compile(rb"\sP[1-7fF]\s").search(data, header.begin)
    end = following.start() + 1 if following else len(data)
    text = re.sub(rb"#[^\n\r]*", b"", data[header.begin : end])
    if text.translate(None, b"0123456789 \t\r\n\v\f"):
        raise _damaged("a sample that is no number")
    blank = np.frombuffer(b" " + text, np.uint8) <= 32
    if np.count_nonzero(blank[:-1] & ~blank[1:]) < count:
        raise _damaged("it ends too early")
    samples = np.fromstring(text, np.int64, count, sep=" ")
    if int(samples.max()) > header.maxval:
        raise _damaged(f"a sample is over the maximum value {header.maxval}")
    return samples.astype(header.dtype.newbyteorder("=")).reshape(header.shape), end


def _plain_bits(data: bytes, at: int, count: int) -> tuple[np.ndarray, int]:
    """(count,) uint8 of the digits 0 and 1, which need no blanks between them."""
    text = bytearray()
    while len(text) < count:
        part = data[at : at + (1 << 16)]
        if not part:
            raise _damaged("it ends too early")
        if part[:1] == b"#":
            at = data.find(b"\n", at) + 1 or len(data)
            continue
        part = part.partition(b"#")[0]
        digits = part.translate(None, b" \t\r\n\v\f")
        if digits.translate(None, b"01"):
            begin = re.compile(rb"[^01\s]").search(part)
            part = part[: begin.start()] if begin else part
            digits = part.translate(None, b" \t\r\n\v\f")
            if len(text) + len(digits) < count:
                raise _damaged("a sample that is neither 0 nor 1")
        at += len(part)
        text += digits
    return np.frombuffer(bytes(text[:count]), np.uint8) - np.uint8(48), at


def _checked(samples: np.ndarray, header: _Header) -> np.ndarray:
    if header.maxval not in (255, 65535) and int(samples.max()) > header.maxval:
        raise _damaged(f"a sample is over the maximum value {header.maxval}")
    return samples == 1 if header.mode == "1" else samples


def write(pictures: Sequence[Picture], kind: str = "pnm") -> tuple[bytes, list[str]]:
    """A file of a kind of `KINDS` with all pictures, and what it could not hold. Raises OutputError."""
    parts, notes = [], []
    for picture in pictures:
        check(picture, kind)
        parts += [_write_header(picture, kind), _write_samples(picture, kind)]
        notes += not_kept(picture.metadata, ("comment",))
    return b"".join(parts), list(dict.fromkeys(notes))


def check(picture: Picture, kind: str) -> None:
    """Raises OutputError if a file of the kind cannot hold the picture."""
    modes, dtype = _HOLDS.get(kind, (*_TYPES, "RGBA", "bands")), picture.pixels.dtype
    if picture.mode not in modes or (
        dtype != np.float32 if kind == "pfm" else dtype not in (bool, np.uint8, np.uint16)
    ):
        other = "png" if picture.mode in ("1", "L", "LA", "RGB", "RGBA", "P") and picture.levels else "tif"
        raise OutputError(f".{kind} cannot hold a picture of mode {picture.mode} and samples of {dtype}: use .{other}")


def _write_header(picture: Picture, kind: str) -> bytes:
    height, width = picture.pixels.shape[:2]
    comments = re.split(rb"[\0\n\r]+", picture.metadata.get("comment", b""))
    lines = [b"# " + line for line in comments if line]
    maxval = b"%d" % (picture.levels - 1)
    if kind == "pam":
        name = {"RGBA": "RGB_ALPHA", "bands": ""}.get(picture.mode) or _TYPES.get(picture.mode, "")
        values = (b"WIDTH %d" % width, b"HEIGHT %d" % height, b"DEPTH %d" % picture.channels, b"MAXVAL " + maxval)
        kinds = [b"TUPLTYPE " + name.encode()] if name else []
        return b"\n".join([b"P7", *lines, *values, *kinds, b"ENDHDR", b""])
    size = b"%d %d" % (width, height)
    if kind == "pfm":
        return b"\n".join([b"PF" if picture.channels == 3 else b"Pf", *lines, size, b"-1.0", b""])
    if picture.mode == "1":
        return b"\n".join([b"P4", *lines, size, b""])
    return b"\n".join([b"P6" if picture.mode == "RGB" else b"P5", *lines, size, maxval, b""])


def _write_samples(picture: Picture, kind: str) -> bytes:
    pixels = picture.pixels
    if kind == "pfm":
        return pixels[::-1].astype("<f4").tobytes()
    if picture.mode == "1" and kind != "pam":
        return np.packbits(~pixels, axis=1).tobytes()
    return pixels.astype(np.uint8 if picture.levels <= 256 else ">u2").tobytes()
