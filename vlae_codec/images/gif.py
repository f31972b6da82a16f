"""GIF -> pictures. One frame is a picture with a palette; several are composed, with the palette if it is the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.compose import Part, check, composed, opaque, shows_below
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.pillow import opened
from vlae_codec.limits import Limits

_MOST_NOTES = 16
_DISPOSE = {2: "background", 3: "previous"}


@dataclass
class _File:
    canvas: tuple[int, int]
    background: int
    parts: list[Part] = field(default_factory=list)
    palettes: list[bytes] = field(default_factory=list)
    transparent: list[int | None] = field(default_factory=list)
    coded: list[bytes] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    comments: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loop: int = 1


def damaged(what: str) -> UnsupportedImage:
    return UnsupportedImage(f"damaged GIF ({what}): get a fresh copy of it")


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All frames. Raises UnsupportedImage or ImageTooLarge."""
    try:
        file = _read_blocks(data, limits)
    except IndexError as error:
        raise damaged("it ends early") from error
    if not file.parts:
        raise damaged("it has no picture")
    width = max(file.canvas[0], *(part.x + part.width for part in file.parts), 1)
    height = max(file.canvas[1], *(part.y + part.height for part in file.parts), 1)
    file.canvas = width, height
    check(file.parts, file.canvas, limits, 4)
    indices = [_indices(coded, part) for coded, part in zip(file.coded, file.parts)]
    pictures = _by_palette(file, indices) or _by_colours(file, indices)
    several = len(file.parts) > 1
    if not several and file.parts[0].delay[0]:
        file.notes.append("the delay of the only frame")
    found = []
    for number, (picture, part) in enumerate(zip(pictures, file.parts)):
        first = {"format": "gif", "canvas": f"{width}x{height}", "loop": file.loop, "background": file.background}
        metadata = dict(file.metadata) if not number else {}
        if several:
            metadata["frame"] = part.words(**({} if number else first))
        notes = () if number else tuple(dict.fromkeys(file.notes))
        found.append(check_picture(picture.replaced(metadata=metadata, notes=notes)))
    return found


def _read_blocks(data: bytes, limits: Limits) -> _File:
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise damaged("it has no header")
    canvas = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    flags, aspect, at = data[10], data[12], 13
    file = _File(canvas, data[11])
    if aspect:  # of a pixel, width to height, times 64, less 15
        file.metadata["resolution"] = b"64/1 %d/1 none" % (aspect + 15)
    palette = b""
    if flags & 128:
        palette, at = data[at : at + (6 << (flags & 7))], at + (6 << (flags & 7))
    control = Part(0, 0, 0, 0, (0, 100), blend="over")
    transparent: int | None = None
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            label, at = data[at + 1], at + 2
            blocks, at = _sub_blocks(data, at)
            if label == 0xF9 and blocks and len(blocks[0]) >= 4:
                packed, index = blocks[0][0], blocks[0][3]
                delay = int.from_bytes(blocks[0][1:3], "little")
                control = replace(control, delay=(delay, 100), dispose=_DISPOSE.get(packed >> 2 & 7, "none"))
                transparent = index if packed & 1 else None
            else:
                _extension(file, label, blocks)
        elif data[at] == 0x2C:
            x, y, width, height = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7))
            flags, at = data[at + 9], at + 10
            own = palette
            if flags & 128:
                own, at = data[at : at + (6 << (flags & 7))], at + (6 << (flags & 7))
            begin = at
            _, at = _sub_blocks(data, at + 1, keep=False)
            file.parts.append(replace(control, x=x, y=y, width=width, height=height))
            file.palettes.append(own)
            file.transparent.append(transparent)
            file.coded.append(bytes([flags & 64]) + data[begin:at])
            limits.check(0, len(file.parts))
            control, transparent = Part(0, 0, 0, 0, (0, 100), blend="over"), None
        else:
            raise damaged("a block of no kind")
    if file.comments:
        file.metadata["comment"] = b"\0".join(file.comments)
    if at >= len(data):
        file.notes.append("the file is damaged: it has no end")
    elif data[at + 1 :].strip(b"\0"):
        file.notes.append("data behind the end of the GIF")
    return file


def _sub_blocks(data: bytes, at: int, keep: bool = True) -> tuple[list[bytes], int]:
    """Blocks of up to 255 bytes, and where they end."""
    found = []
    while data[at]:
        if keep:
            found.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return found, at + 1


def _extension(file: _File, label: int, blocks: list[bytes]) -> None:
    if label == 0xFE:
        file.comments.append(b"".join(blocks))
    elif label == 0x01 and len(file.notes) < _MOST_NOTES:
        file.notes.append("a plain text extension")
    elif label == 0xFF and blocks:
        name, rest = blocks[0], blocks[1:]
        if name in (b"NETSCAPE2.0", b"ANIMEXTS1.0") and rest and len(rest[0]) >= 3 and rest[0][0] & 7 == 1:
            times = int.from_bytes(rest[0][1:3], "little")
            file.loop = times + 1 if times else 0  # the number of times it is shown again, or for ever
        elif name == b"XMP DataXMP":
            # not in blocks, but as it is, with a tail that leads readers of blocks to its end
            whole = b"".join(bytes([len(block)]) + block for block in rest)
            file.metadata["xmp"] = whole.partition(b"\x01\xff\xfe\xfd")[0]
        elif name == b"ICCRGBG1012":
            file.metadata["icc"] = b"".join(rest)
        elif len(file.notes) < _MOST_NOTES:
            file.notes.append(f"the extension {name.decode('latin-1').strip()!r}")


def _indices(coded: bytes, part: Part) -> np.ndarray:
    """(H, W) uint8; Pillow decodes them as the grey of a GIF without a palette."""
    size = part.width.to_bytes(2, "little") + part.height.to_bytes(2, "little")
    file = b"GIF89a" + size + b"\0\0\0," + bytes(4) + size + coded + b";"
    with opened(io.BytesIO(file)) as image:
        return np.array(image)


def _by_palette(file: _File, indices: list[np.ndarray]) -> list[Picture] | None:
    """The frames as indices, if they have one palette, and one colour of it for what is transparent."""
    if len(set(file.palettes)) > 1 or not file.palettes[0]:
        return None
    palette = np.frombuffer(file.palettes[0], np.uint8).reshape(-1, 3)
    colours = {colour for colour in file.transparent if colour is not None}
    clear = next(iter(colours), None)
    if len(colours) > 1 or (clear is None and shows_below(file.parts, file.canvas)):
        return None
    if clear is not None:
        opaque_too = any(colour is None and (part == clear).any() for colour, part in zip(file.transparent, indices))
        if opaque_too or (clear >= len(palette) and shows_below(file.parts, file.canvas)):
            return None
        if clear >= len(palette) and any((part == clear).any() for part in indices):
            return None
        if clear < len(palette):
            alpha = np.full(len(palette), 255, np.uint8)
            alpha[clear] = 0
            palette = np.column_stack((palette, alpha))
    pixels = ((part, part != clear if clear is not None else None) for part in indices)
    canvas = np.full(file.canvas[::-1], clear or 0, np.uint8)
    frames = list(composed(file.parts, pixels, canvas))
    most = max(len(palette) - 1, *(int(part.max()) for part in indices), clear or 0)
    levels = next(levels for levels in (2, 4, 16, 256) if most < levels)
    return [Picture(frame, {}, "P", levels, palette) for frame in frames]


def _by_colours(file: _File, indices: list[np.ndarray]) -> list[Picture]:
    def coloured() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part, colours, clear in zip(indices, file.palettes, file.transparent):
            palette = np.zeros((256, 4), np.uint8)
            palette[:, 3] = 255
            if colours:
                palette[: len(colours) // 3, :3] = np.frombuffer(colours, np.uint8).reshape(-1, 3)
            else:
                palette[:, :3] = np.arange(256)[:, None]
            yield palette[part], part != clear if clear is not None else np.ones(part.shape, bool)

    canvas = np.zeros((*file.canvas[::-1], 4), np.uint8)
    return [Picture(frame) for frame in opaque(list(composed(file.parts, coloured(), canvas)))]
