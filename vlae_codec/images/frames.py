"""Files of several frames or sizes -> pictures: GIF, animated PNG and WebP, MPO (and JPEG), ICO and CUR."""

from __future__ import annotations

from collections.abc import Sequence

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import apng, gif, ico, jpeg, webp
from vlae_codec.images.compose import read_words
from vlae_codec.images.picture import Picture
from vlae_codec.images.png_chunks import SIGNATURE
from vlae_codec.limits import Limits

read_apng = apng.read
write_apng = apng.write


def accepts(data: bytes) -> bool:
    """Whether a file is one for `read`: a GIF, JPEG, ICO or CUR, or an animated PNG or WebP."""
    if data[:8] == SIGNATURE:
        at = 8
        while data[at + 4 : at + 8] not in (b"IDAT", b""):
            if data[at + 4 : at + 8] == b"acTL":
                return True
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        return False
    icon = data[:4] in (b"\0\0\1\0", b"\0\0\2\0") and data[4:6] != b"\0\0"
    return data[:4] == b"GIF8" or jpeg.is_jpeg(data) or icon or webp.is_animation(data)


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All frames in order, composed on the canvas. Raises UnsupportedImage or ImageTooLarge.

    The first picture has the metadata of the file; all have "frame" (`images.compose`) where there are several.
    """
    if data[:3] == b"GIF":
        return gif.read(data, limits)
    if data[:8] == SIGNATURE:
        return apng.read(data, limits)
    if jpeg.is_jpeg(data):
        return jpeg.read(data, limits)
    if data[:4] in (b"\0\0\1\0", b"\0\0\2\0"):
        return ico.read(data, limits)
    if webp.is_animation(data):
        return webp.read(data, limits)
    raise UnsupportedImage("no file of several frames: give a GIF, APNG, animated WebP, MPO or ICO")


def is_animation(pictures: Sequence[Picture]) -> bool:
    """Whether the pictures are frames with times, which `write_apng` keeps and a TIFF does not."""
    return any("delay" in read_words(picture.metadata.get("frame", b"")) for picture in pictures)
