"""Headers of formats that imagecodecs reads: sizes and depths, before anything is decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from vlae_codec.errors import UnsupportedImage

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, of JPEG XL
_SYCC, _CMYK = 18, 12  # enumerated colour spaces of JPEG 2000


class Head(NamedTuple):
    """kind: jp2, avif, jxl, jls or hdr; bits: of a sample, 0 for floats; problem: what of it cannot be kept, or ""."""

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    mode: str = ""
    problem: str = ""
    plain: bool = False  # unsigned samples of 8 bits in 1 to 4 channels


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged image ({what}): get a fresh copy of it")


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of the contents of each box, as ISO media files and JPEG 2000 have them."""
    end = len(data) if end is None else min(end, len(data))
    while at + 8 <= end:
        length, kind, begin = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        stop = at + length if length else end
        if length == 1:
            begin, stop = at + 16, at + int.from_bytes(data[at + 8 : at + 16], "big")
        if stop < begin:
            return
        yield kind, begin, min(stop, end)
        at = stop


def find(data: bytes, path: str, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Begin and end of the boxes with a path of types, such as "meta/iprp"."""
    name, _, rest = path.partition("/")
    for kind, begin, stop in boxes(data, at, end):
        if kind == name.encode():
            inner = begin + 4 if kind == b"meta" else begin  # a version and flags come first
            if rest:
                yield from find(data, rest, inner, stop)
            else:
                yield begin, stop


def read_head(data: bytes) -> Head | None:
    """The header of a file that begins so; None of other formats. Raises UnsupportedImage for a damaged one."""
    if data.startswith((_JP2, b"\xff\x4f\xff\x51")):
        return _read_jp2(data)
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"msf1"):
        return _read_avif(data)
    if data.startswith((b"\xff\x0a", _JXL)):
        return _read_jxl(data)
    if data.startswith(b"\xff\xd8"):
        return _read_jls(data)
    if data.startswith((b"#?RADIANCE", b"#?RGBE")):
        found = re.compile(rb"\n\n-Y (\d{1,9}) \+X (\d{1,9})\n").search(data, 0, 1 << 20)
        if not found:
            raise UnsupportedImage("not supported (Radiance of another order of pixels): save it as TIFF")
        return Head("hdr", int(found[2]), int(found[1]), 3, 0)
    return None


def _read_jp2(data: bytes) -> Head | None:
    """By the marker SIZ of the codestream."""
    boxed = data.startswith(_JP2)
    at = next((begin for begin, _ in find(data, "jp2c")), -1) if boxed else 0
    if at < 0 or data[at + 2 : at + 4] != b"\xff\x51" or len(data) < at + 42:
        return None
    sizes = [int.from_bytes(data[begin : begin + 4], "big") for begin in range(at + 8, at + 24, 4)]
    width, height = sizes[0] - sizes[2], sizes[1] - sizes[3]
    channels = int.from_bytes(data[at + 40 : at + 42], "big")
    components = [tuple(data[begin : begin + 3]) for begin in range(at + 42, at + 42 + 3 * channels, 3)]
    if width < 1 or height < 1 or not components or len(components[-1]) < 3:
        raise damaged("JPEG 2000: its sizes")
    space = 0
    for begin, _ in find(data, "jp2h/colr") if boxed else ():
        space = space or (int.from_bytes(data[begin + 3 : begin + 7], "big") if data[begin] == 1 else 0)
    depths = {depth for depth, _, _ in components}
    bits = (depths.pop() & 127) + 1 if len(depths) == 1 else 0
    signed = components[0][0] > 127
    problem = ""
    if not bits or bits > 16:
        problem = "channels of several depths, or of more than 16 bits"
    elif space == _SYCC or any(component[1:] != (1, 1) for component in components):
        problem = "YCbCr, or channels of several sizes"
    elif bits != 8 and boxed and any(True for _ in find(data, "jp2h/pclr")):
        problem = f"a palette of {bits} bits"
    plain = bits == 8 and not signed and channels <= 4
    return Head(
        "jp2", width, height, channels, bits, "CMYK" if space == _CMYK and channels == 4 else "", problem, plain
    )


def _read_avif(data: bytes) -> Head | None:
    """The depth of the deepest of its streams; Pillow knows the rest."""
    bits = 0
    for begin, end in find(data, "meta/iprp/ipco/av1C"):
        if end - begin >= 4:
            high, twelve = data[begin + 2] >> 6 & 1, data[begin + 2] >> 5 & 1
            bits = max(bits, 8 + 2 * high + 2 * (high & twelve))
    return Head("avif", 0, 0, 0, bits, plain=bits == 8) if bits else None


def _read_jls(data: bytes) -> Head | None:
    """By the marker SOF55, or None: other JPEG files have none."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xF7:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return Head("jls", width, height, data[at + 9], data[at + 4], problem="readers that damage can make hang")
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


class _Bits:
    """Bits from the lowest of each byte upwards, as JPEG XL has them."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "little"), 8 * len(data)

    def read(self, count: int) -> int:
        if count > self.left:
            raise damaged("JPEG XL: it ends too early")
        found = self.value & (1 << count) - 1
        self.value, self.left = self.value >> count, self.left - count
        return found

    def size(self) -> tuple[int, int]:
        """Width and height."""
        small = self.read(1)

        def edge() -> int:
            return 8 * (self.read(5) + 1) if small else self.read((9, 13, 18, 30)[self.read(2)]) + 1

        height, ratio = edge(), self.read(3)
        if not ratio:
            return edge(), height
        over, under = _RATIOS[ratio - 1]
        return height * over // under, height


def _read_jxl(data: bytes) -> Head:
    """By the beginning of its codestream. The depth is 0 where it is of floats or stands farther on."""
    if data.startswith(_JXL):
        begin = next((begin for begin, _ in find(data, "jxlc")), -1)
        if begin < 0:
            begin = next((begin + 4 for begin, _ in find(data, "jxlp")), -1)
    else:
        begin = 0
    if begin < 0 or data[begin : begin + 2] != b"\xff\x0a":
        raise damaged("JPEG XL: no codestream")
    stream = _Bits(data[begin + 2 : begin + 34])
    width, height = stream.size()
    if stream.read(1):
        return Head("jxl", width, height, 0, 8)
    if stream.read(1) and stream.read(6) >> 3:  # behind the orientation: an inner size, a preview, an animation
        return Head("jxl", width, height, 0, 0)
    floats, selector = stream.read(1), stream.read(2)
    bits = (8, 10, 12)[selector] if selector < 3 else 1 + stream.read(6)
    return Head("jxl", width, height, 0, 0 if floats else bits)
