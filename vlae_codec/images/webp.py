"""Animated WebP -> frames. libwebp composes them; their rules are read from the file's chunks."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.compose import Part, check, opaque
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.pillow import opened
from vlae_codec.limits import Limits

_KEYS = {b"ICCP": "icc", b"EXIF": "exif", b"XMP ": "xmp"}


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged WebP ({what}): get a fresh copy of it")


def is_animation(data: bytes) -> bool:
    """Whether a file is a WebP with the chunk ANIM."""
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and any(kind == b"ANIM" for kind, _ in _chunks(data))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    at, view = 12, memoryview(data)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], view[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All frames of an animation. Raises UnsupportedImage or ImageTooLarge."""
    parts: list[Part] = []
    metadata: dict[str, bytes] = {}
    canvas, loop, background, lossless = (0, 0), 0, "", True
    for kind, body in _chunks(data):
        if kind == b"VP8X" and len(body) >= 10:
            canvas = _number(body, 4, 3) + 1, _number(body, 7, 3) + 1
        elif kind == b"ANIM" and len(body) >= 6:
            background, loop = ",".join(str(body[i]) for i in (2, 1, 0, 3)), _number(body, 4, 2)
        elif kind == b"ANMF":
            if len(body) < 16:
                raise damaged("a frame ends early")
            x, y, width, height, delay = (_number(body, at, 3) for at in range(0, 15, 3))
            dispose, blend = "background" if body[15] & 1 else "none", "source" if body[15] & 2 else "over"
            parts.append(Part(width + 1, height + 1, 2 * x, 2 * y, (delay, 1000), dispose, blend))
            limits.check(0, len(parts))
            lossless &= b"VP8 " not in (bytes(body[16:20]), bytes(body[24 + _number(body, 20, 4) :][:4]))
        elif kind in _KEYS:
            metadata[_KEYS[kind]] = bytes(body).removeprefix(b"Exif\0\0")
    if not parts:
        raise damaged("it has no frame")
    check(parts, canvas, limits, 8)
    frames = []
    with opened(io.BytesIO(data)) as image:
        if image.size != canvas or getattr(image, "n_frames", 1) != len(parts):
            raise damaged("frames are missing")
        for number in range(len(parts)):
            image.seek(number)
            frames.append(np.array(image))
    frames = opaque(frames) if frames[0].shape[2] == 4 else frames
    found = []
    for number, (frame, part) in enumerate(zip(frames, parts)):
        head = {"format": "webp", "canvas": f"{canvas[0]}x{canvas[1]}", "loop": loop, "background": background}
        base = {} if number else {key: value for key, value in metadata.items() if value}
        words = part.words(**({} if number else head))
        notes = () if number or lossless else ("the lossy coding of frames",)
        found.append(check_picture(Picture(frame, base | {"frame": words}, notes=notes)))
    return found


def _number(body: memoryview, at: int, size: int) -> int:
    return int.from_bytes(body[at : at + size], "little")
