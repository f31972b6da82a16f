"""Formats that imagecodecs reads exactly and Pillow does not: JPEG 2000 and AVIF of more than 8 bits, JPEG XL and
Radiance. imagecodecs is not installed with the package, but with its extra "formats". Its reader of JPEG-LS never ends
on some damaged files (tried with version 2026.3.6), so JPEG-LS is refused.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.metadata import from_pillow
from vlae_codec.images.picture import Picture
from vlae_codec.images.pillow import opened
from vlae_codec.images.wide_headers import Head, damaged, find, read_head
from vlae_codec.limits import Limits

_NAMES = {"jp2": "JPEG 2000", "avif": "AVIF", "jxl": "JPEG XL", "jls": "JPEG-LS", "hdr": "Radiance"}
_CODECS = {"jp2": "jpeg2k", "avif": "avif", "jxl": "jpegxl", "hdr": "rgbe"}
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the box of an XMP packet in JPEG 2000
PILLOW_TOO = ("jp2", "avif")  # Pillow reads their sizes, whatever the depth


def head_of(data: bytes) -> Head | None:
    """The header of a file that is to be read here, and not by Pillow; None for all others.

    Raises UnsupportedImage for a damaged header.
    """
    head = read_head(data)
    return None if head is None or (head.plain and not head.problem) else head


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The picture in a file. Raises UnsupportedImage, also where imagecodecs is not installed, and ImageTooLarge."""
    head = read_head(data)
    if head is None:
        raise damaged("no header")
    name = _NAMES[head.kind] + (f" of {head.bits} bits" if head.bits else "")
    if head.problem:
        raise UnsupportedImage(f"not supported ({name} with {head.problem}): save it in another format, such as TIFF")
    metadata, notes = _metadata(data, head)
    if head.kind == "avif":
        with opened(io.BytesIO(data)) as image:
            head = head._replace(width=image.width, height=image.height, channels=4)
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise UnsupportedImage(f"not supported ({frames} frames): save each as a picture of its own")
            metadata, notes = from_pillow(image)
    limits.check(head.width * head.height, 1, head.width * head.height * 8 * max(4, head.channels))
    codecs = _codecs(name)
    options: dict[str, Any] = {"keeporientation": True} if head.kind == "jxl" else {}
    try:
        pixels = np.asarray(getattr(codecs, f"{_CODECS[head.kind]}_decode")(data, **options))
    except Exception as error:  # each codec raises a type of its own
        raise damaged(str(error).splitlines()[0] if str(error) else name) from error
    if pixels.shape[:2] != (head.height, head.width) or pixels.ndim > 3:
        raise UnsupportedImage(f"not supported ({name} of several frames): save each as a picture of its own")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    levels = 1 << head.bits if head.bits and pixels.dtype in (np.uint8, np.uint16) else 0
    return [Picture(pixels, metadata, head.mode, levels, None, tuple(notes))]


def _codecs(name: str) -> Any:
    try:
        return import_module("imagecodecs")
    except ImportError as error:
        raise UnsupportedImage(
            f"not supported ({name}) without imagecodecs: pip install 'vlae-codec[formats]'"
        ) from error


def _metadata(data: bytes, head: Head) -> tuple[dict[str, bytes], list[str]]:
    """What stands in boxes or lines of text, and notes."""
    metadata: dict[str, bytes] = {}
    notes: list[str] = []
    if head.kind == "jp2" and data[4:6] == b"jP":
        for begin, end in find(data, "jp2h/colr"):
            if data[begin] == 2:
                metadata["icc"] = data[begin + 3 : end]
        for begin, end in find(data, "uuid"):
            if data[begin : begin + 16] == _XMP:
                metadata["xmp"] = data[begin + 16 : end]
            else:
                notes.append(f"a box of {end - begin} bytes")
        notes += ["the resolution"] if any(True for _ in find(data, "jp2h/res ")) else []
    elif head.kind == "jxl":
        notes.append("the colour space of JPEG XL")
        for begin, end in find(data, "Exif"):
            metadata["exif"] = data[begin + 4 : end]
        for begin, end in find(data, "xml "):
            metadata["xmp"] = data[begin:end]
    elif head.kind == "hdr":
        metadata["comment"] = data[: data.index(b"\n\n")]
    return metadata, notes
