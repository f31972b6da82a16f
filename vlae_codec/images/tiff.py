"""TIFF files: all pages, sample by sample as they stand in the file.

Modes: what the photometric interpretation says (grey, RGB, palette, CMYK, YCbCr, LAB), with alpha where the tag of the
extra samples says so (associated: RGBa, La). 1 bit grey is mode 1. All other channels make the mode "bands", which
keeps the tags that say what they are. Where white is zero, unsigned grey samples are inverted, so that 0 is black in
every picture of mode L and 1, and inverted back when they are written.
"""

from __future__ import annotations

import re

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import tiff_layout as names
from vlae_codec.images.ifd import Directory, Reader, Tag, damaged
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.tiff_layout import Layout, layout
from vlae_codec.images.tiff_pixels import JPEG, samples
from vlae_codec.images.tiff_tags import INK_SET, MOST, SUB_DIRECTORIES, metadata
from vlae_codec.images.tiff_write import check, write
from vlae_codec.limits import DEFAULT, Limits

__all__ = ["accepts", "check", "read", "size", "write"]
_MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
_COLOURS = {"L": 1, "RGB": 3, "P": 1, "CMYK": 4, "YCbCr": 3, "LAB": 3}
_ALPHA = {("L", 2): "LA", ("RGB", 2): "RGBA", ("P", 2): "PA", ("L", 1): "La", ("RGB", 1): "RGBa"}
_OF_YCBCR = (529, 531, 532)
_MEANING = {names.PHOTOMETRIC, names.EXTRA, names.COLOUR_MAP}  # of bands, kept with them


def accepts(data: bytes) -> bool:
    """Whether a file is a TIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All pages in order. Raises UnsupportedImage or ImageTooLarge."""
    reader = Reader(data, limits)
    pages = reader.pages()
    _check_hidden(pages)
    pixels = memory = 0
    found = []
    for index, page in enumerate(pages):
        _check_inner(reader, page)
        laid = layout(page, data, limits)
        pixels += laid.width * laid.height
        memory += laid.width * laid.height * laid.samples * laid.dtype.itemsize
        limits.check(pixels, len(pages), memory)
        picture = _picture(samples(data, index, page, laid, reader.order), page, laid)
        found.append(check_picture(picture))
    return found


def size(data: bytes) -> tuple[int, int]:
    """The (width, height) of the first page of a whole file, not turned. Raises UnsupportedImage."""
    reader = Reader(data, DEFAULT)
    page, _ = reader.directory(reader.first)
    width, height = page.get(names.WIDTH), page.get(names.LENGTH)
    if not isinstance(width, Tag) or not isinstance(height, Tag):
        raise damaged("a page has no size")
    return int(width.values()[0]), int(height.values()[0])


def _picture(array: np.ndarray, page: Directory, laid: Layout) -> Picture:
    mode, levels, palette, kept = "bands", 0, None, set(_MEANING)
    if laid.kind == "u" and laid.bits <= 16:
        levels = 1 << laid.bits
    whole_jpeg = laid.compression == JPEG and laid.bits == 8
    if whole_jpeg:
        page = {number: value for number, value in page.items() if number not in _OF_YCBCR}  # it is RGB now
    if name := {1: "L", 3: "RGB", 4: "CMYK"}[array.shape[2]] if whole_jpeg else _mode(page, laid):
        mode, kept = name, {names.PHOTOMETRIC} if laid.photometric == 0 else set()
    if mode in ("P", "PA"):
        palette, exact = _palette(page, laid.bits)
        kept = set() if exact else {names.COLOUR_MAP}
    if laid.photometric == 0 and mode in ("L", "LA", "La") and levels:
        array[..., 0] = levels - 1 - array[..., 0]
    if levels and MOST in page and (limit := _levels(page, array, levels)):
        levels, page = limit, {number: value for number, value in page.items() if number != MOST}
    if array.shape[2] == 1 and mode != "bands":
        array = array[..., 0]
    if mode == "L" and laid.bits == 1:
        mode, array = "1", array != 0
    found, notes = metadata(page, kept)
    if whole_jpeg:
        notes.append("the JPEG stream of a page")
    return Picture(array, found, mode, levels, palette, tuple(notes))


def _mode(page: Directory, laid: Layout) -> str:
    """The mode that the tags say, "" where no mode is theirs."""
    name = _MODES.get(laid.photometric, "")
    beyond = laid.samples - _COLOURS.get(name, 0)
    if name and beyond < 0:
        raise damaged("a page has fewer samples than colours")
    if name == "YCbCr" and beyond == 0:
        _check_subsampling(page)
        return "YCbCr" if laid.kind == "u" and laid.bits == 8 else ""
    ink = page.get(INK_SET)
    if isinstance(ink, Tag) and name == "CMYK" and ink.values()[0] != 1:
        return ""
    if name == "LAB" and (laid.kind, laid.bits) != ("u", 8):
        return ""
    if name == "P" and (laid.kind != "u" or laid.bits > 8):
        return ""
    return name if not beyond else _ALPHA.get((name, laid.extra[0]), "") if beyond == 1 == len(laid.extra) else ""


def _check_subsampling(page: Directory) -> None:
    value = page.get(names.SUBSAMPLING)
    if isinstance(value, Tag) and set(value.values().tolist()) != {1}:
        raise UnsupportedImage(
            "YCbCr with chroma of half size, uncompressed in a TIFF, is not supported: convert it to RGB"
        )


def _levels(page: Directory, array: np.ndarray, levels: int) -> int:
    """The levels that MaxSampleValue says, if it is a depth and not only the largest value of this picture, or 0."""
    value = page[MOST]
    most = set(value.values().tolist()) if isinstance(value, Tag) and value.kind else set()
    if len(most) != 1:
        return 0
    number = int(most.pop()) + 1
    return number if 2 <= number <= levels and not number & (number - 1) and int(array.max()) < number else 0


def _palette(page: Directory, bits: int) -> tuple[np.ndarray, bool]:
    """The palette, and whether its 8 bits say all that the colour map says."""
    value = page.get(names.COLOUR_MAP)
    if not isinstance(value, Tag) or value.kind != 3 or value.count != 3 << bits:
        raise damaged("its palette is missing")
    wide = value.values().reshape(3, -1).T
    palette = (wide >> 8).astype(np.uint8)
    return palette, bool((palette.astype(np.uint16) * 257 == wide).all())


def _check_hidden(pages: list[Directory]) -> None:
    """Raises UnsupportedImage for files with more pictures than pages, and raw files of cameras."""
    text = value.data if isinstance(value := pages[0].get(270), Tag) else b""
    said = re.search(rb"\bimages=(\d{1,9})\b", text) if text.startswith(b"ImageJ=") else None
    if said and int(said[1]) > len(pages):
        raise UnsupportedImage(
            f"an ImageJ stack of {int(said[1])} pictures behind {len(pages)} pages is not supported: save it as pages"
        )
    if len(pages) == 1 and b'"truncated": true' in text:
        raise UnsupportedImage("a truncated series of tifffile is not supported: save all its pages")
    if 50706 in pages[0] and SUB_DIRECTORIES in pages[0]:
        raise UnsupportedImage("a DNG is a raw file of a camera, not a picture: develop it to TIFF or PNG")


def _check_inner(reader: Reader, page: Directory) -> None:
    """Raises UnsupportedImage where SubIFDs hold more than reduced copies of the page."""
    value = page.get(SUB_DIRECTORIES)
    if isinstance(value, Tag) and value.kind:
        for at in value.values().tolist():
            inner, _ = reader.directory(int(at), 1)
            kind = inner.get(254)
            if not isinstance(kind, Tag) or not int(kind.values()[0]) & 1:
                raise UnsupportedImage("pictures in SubIFDs of a TIFF are not supported: save each as a page")
