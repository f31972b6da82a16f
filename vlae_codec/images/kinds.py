"""Files of which Pillow reads a part only, or reads it rounded, and says nothing: refused by their own headers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Literal

from PIL import IcnsImagePlugin

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.pillow import GIVE_WAY

_PSD_CHANNELS = {0: (1,), 1: (1,), 2: (1,), 3: (3, 4), 4: (4,), 7: (1,), 8: (1,), 9: (3,)}  # of its modes
_VECTORS = {b"%!PS": "EPS", b"\xc5\xd0\xd3\xc6": "EPS", b"\xd7\xcd\xc6\x9a": "WMF", b"%PDF": "PDF"}
_HALF_FLOATS = (94, 95, 96)  # BC6H of DDS


def check_kind(data: bytes) -> tuple[str, ...]:
    """Notes of what Pillow drops that is no pixels. Raises UnsupportedImage for a file that is not read whole.

    It looks at formats that have no reader of their own here; all others pass.
    """
    for accepts, check in _CHECKS:
        if accepts(data):
            return check(data)
    return ()


def _number(data: bytes, at: int, size: int, order: Literal["little", "big"] = "little") -> int:
    """0 where the data end."""
    return int.from_bytes(data[at : at + size], order)


def _psd(data: bytes) -> tuple[str, ...]:
    channels, bits, mode = (_number(data, at, 2, "big") for at in (12, 22, 24))
    if bits not in (1, 8):
        raise UnsupportedImage(f"a PSD of {bits} bits per sample is not supported: save it as TIFF or PNG")
    if channels not in _PSD_CHANNELS.get(mode, ()):
        raise UnsupportedImage(f"a PSD of mode {mode} with {channels} channels is not supported: save it as TIFF")
    at = 26
    for _ in range(2):  # colours, resources
        at += 4 + _number(data, at, 4, "big")
    layers = _number(data, at + 8, 2, "big") if _number(data, at, 4, "big") and _number(data, at + 4, 4, "big") else 0
    layers = min(layers, (1 << 16) - layers)  # negative: the first alpha channel is that of the whole picture
    if layers > 1:
        raise UnsupportedImage(
            f"a PSD of {layers} layers is not supported: flatten it, or save each layer as a picture"
        )
    return ("the resources of the PSD",) if _number(data, 30 + _number(data, 26, 4, "big"), 4, "big") else ()


def _vector(data: bytes) -> tuple[str, ...]:
    kind = next((name for magic, name in _VECTORS.items() if data.startswith(magic)), "EMF")
    raise UnsupportedImage(f"{kind} is made of shapes, not pixels: draw it in a program, and save it as PNG")


def _film(data: bytes) -> tuple[str, ...]:
    if (count := _number(data, 6, 2)) > 1:
        raise UnsupportedImage(f"an FLI of {count} frames is not supported: save it as APNG")
    return ()


def _dcx(data: bytes) -> tuple[str, ...]:
    count = next((index for index in range(1024) if not _number(data, 4 + 4 * index, 4)), 1024)
    if count > 1:
        raise UnsupportedImage(f"a DCX of {count} pages is not supported: save it as TIFF")
    return ()


def _dds(data: bytes) -> tuple[str, ...]:
    extended = data[84:88] == b"DX10"
    if _number(data, 112, 4) & 0x200200 or (extended and (_number(data, 140, 4) > 1 or _number(data, 136, 4) & 4)):
        raise UnsupportedImage("a DDS of several pictures (cube, volume or array) is not supported: save each as PNG")
    if extended and _number(data, 128, 4) in _HALF_FLOATS:
        raise UnsupportedImage("a DDS of half floats (BC6H) is not supported: save it as TIFF")
    return ("the smaller copies (mipmaps)",) if _number(data, 28, 4) > 1 else ()


def _fits(data: bytes) -> tuple[str, ...]:
    values = dict(re.findall(rb"(?:^|\n)(\w+) *= *([^/\n]*?) *(?:/|\n|$)", b"\n".join(_cards(data))))
    plain = {b"BITPIX": b"8", b"NAXIS": b"2", b"XTENSION": None, b"BZERO": None, b"BSCALE": None}
    if any(values.get(key) != value for key, value in plain.items()):
        raise UnsupportedImage("a FITS of other than one plane of 8 bits is not supported: save it as TIFF")
    return ("the header of the FITS",)


def _cards(data: bytes) -> list[bytes]:
    cards = [data[at : at + 80] for at in range(0, min(len(data), 1 << 16), 80)]
    return cards[: next((i for i, card in enumerate(cards) if card[:8].strip() == b"END"), len(cards))]


def _icns(data: bytes) -> tuple[str, ...]:
    try:
        with GIVE_WAY:
            sizes = IcnsImagePlugin.IcnsFile(io.BytesIO(data)).itersizes()
    except Exception as error:
        raise UnsupportedImage(f"damaged image ({error}): get a fresh copy of it") from error
    if len(sizes) > 1:
        raise UnsupportedImage(f"an ICNS of {len(sizes)} sizes is not supported: save each as PNG")
    return ()


def _im(data: bytes) -> tuple[str, ...]:
    said = re.search(rb"File size \(no of images\): *(\d{1,9})", data[:512])
    if said and int(said[1]) > 1:
        raise UnsupportedImage(f"an IM of {int(said[1])} pictures is not supported: save them as TIFF")
    return ()


def _mcidas(data: bytes) -> tuple[str, ...]:
    if (bands := _number(data, 52, 4, "big")) > 1:
        raise UnsupportedImage(f"a McIDAS area of {bands} bands is not supported: save it as TIFF")
    return ()


def _photo_cd(data: bytes) -> tuple[str, ...]:
    raise UnsupportedImage("a PhotoCD holds its picture in several sizes: convert the largest to TIFF or PNG")


def _flash_pix(data: bytes) -> tuple[str, ...]:
    raise UnsupportedImage("FlashPix and MIC hold several pictures: save each as PNG")


def _magic(*magics: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda data: data[at : at + len(magics[0])] in magics


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], tuple[str, ...]]], ...] = (
    (_magic(b"8BPS"), _psd),
    (lambda data: data.startswith(tuple(_VECTORS)), _vector),
    (lambda data: data[:4] == b"\1\0\0\0" and data[40:44] == b" EMF", _vector),
    (_magic(b"\x11\xaf", b"\x12\xaf", at=4), _film),
    (_magic(b"\xb1\x68\xde\x3a"), _dcx),
    (_magic(b"DDS "), _dds),
    (_magic(b"SIMPLE  ="), _fits),
    (_magic(b"icns"), _icns),
    (lambda data: b"File size (no of images):" in data[:512], _im),
    (_magic(b"\0\0\0\0\0\0\0\4"), _mcidas),
    (_magic(b"PCD_", at=2048), _photo_cd),
    (_magic(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), _flash_pix),
)
