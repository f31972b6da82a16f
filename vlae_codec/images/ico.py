"""ICO and CUR -> pictures, one for each size, in the order of the file."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import IcoImagePlugin, Image

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import png
from vlae_codec.images.compose import words
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.pillow import GIVE_WAY
from vlae_codec.images.png_chunks import SIGNATURE
from vlae_codec.limits import Limits

_ENTRY = struct.Struct("<BBBBHHLL")


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged icon ({what}): get a fresh copy of it")


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All sizes. Raises UnsupportedImage or ImageTooLarge."""
    if len(data) < 6 or data[:2] != b"\0\0" or data[2:4] not in (b"\1\0", b"\2\0"):
        raise damaged("it has no header")
    cursor, count = data[2] == 2, int.from_bytes(data[4:6], "little")
    if not count or len(data) < 6 + 16 * count:
        raise damaged("it has no pictures")
    if sum(_ENTRY.unpack_from(data, 6 + 16 * number)[6] for number in range(count)) > 2 * len(data):
        raise damaged("its pictures overlap")
    found: list[Picture] = []
    pixels = memory = 0
    for number in range(count):
        width, height, colours, reserved, planes, bits, size, at = _ENTRY.unpack_from(data, 6 + 16 * number)
        body = data[at : at + size]
        if len(body) < max(size, 16):
            raise damaged("a picture ends early")
        if body[:8] == SIGNATURE:
            picture = png.read(body, limits)[0]
        else:
            bits = int.from_bytes(body[14:16], "little") if cursor else bits
            picture = _bitmap(_ENTRY.pack(width, height, colours, reserved, 1, bits, size, 22) + body, limits)
        pixels, memory = pixels + picture.pixels.shape[0] * picture.pixels.shape[1], memory + picture.pixels.nbytes
        limits.check(pixels, number + 1, memory)
        about: dict[str, object] = {"x": planes, "y": bits} if cursor else {}  # the point that a cursor points with
        if cursor:
            about["y"] = _ENTRY.unpack_from(data, 6 + 16 * number)[5]
        if count > 1:
            about["page"] = number
        if about and not number:
            about["format"] = "ico"
        metadata = picture.metadata | ({"frame": words(**about)} if about else {})
        found.append(check_picture(picture.replaced(metadata=metadata)))
    return found


def _bitmap(entry: bytes, limits: Limits) -> Picture:
    """Of an entry and the bitmap that it is about, by Pillow: RGBA, or what has no mask."""
    width, height = struct.unpack_from("<ll", entry, 16 + 4)
    limits.check(abs(width * height), 1, 8 * abs(width * height))
    try:
        with GIVE_WAY:
            image: Image.Image = IcoImagePlugin.IcoFile(io.BytesIO(b"\0\0\1\0\1\0" + entry)).frame(0)
            image.load()
    except Exception as error:
        raise damaged(str(error)) from error
    pixels = np.array(image if image.mode in ("RGB", "RGBA") else image.convert("RGBA"))
    # where a bitmap of 32 bits has no alpha, some readers look into the mask, Pillow does not
    masked = _ENTRY.unpack_from(entry)[5] == 32 and not pixels[..., -1].any()
    return Picture(pixels, notes=("the mask of an icon",) if masked else ())
