"""Animated PNG <-> frames. Each frame is handed to the reader and the writer of PNG as a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from vlae_codec.errors import OutputError
from vlae_codec.images import png, png_chunks
from vlae_codec.images.compose import Part, check, composed, read_words, shows_below, words
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.png_chunks import SIGNATURE, Chunk, chunk, damaged, read_chunks, read_header
from vlae_codec.limits import UNLIMITED, Limits

_DISPOSE, _BLEND = ("none", "background", "previous"), ("source", "over")
_OF_COLOURS = (b"PLTE", b"tRNS")
_MOST = 0xFFFF  # of a numerator or denominator of seconds


def read(data: bytes, limits: Limits) -> list[Picture]:
    """All frames; the first has the metadata of the file. Raises UnsupportedImage or ImageTooLarge."""
    header, (chunks, notes) = read_header(data), read_chunks(data, limits)
    parts, bodies, rest, loop, default = _split(chunks)
    canvas = header.width, header.height
    if default:
        parts[0] = Part(*canvas, 0, 0, (0, 100))
    elif (parts[0].width, parts[0].height) != canvas:
        raise damaged("its first frame has another size")
    check(parts, canvas, limits, 8 if header.depth == 16 else 4)
    colours = [entry for entry in rest if entry[0] in _OF_COLOURS]

    def decoded(part: Part, body: list[bytes], others: list[Chunk]) -> Picture:
        at = next((i for i, (kind, _) in enumerate(others) if kind == b"IDAT"), len(others))
        kept = [*others[:at], *((b"IDAT", piece) for piece in body), *others[at + 1 :]]
        head = png.header_chunk(header._replace(width=part.width, height=part.height))
        file = b"".join([SIGNATURE, head, *(chunk(*entry) for entry in kept), chunk(b"IEND", b"")])
        return png.read(file, limits)[0]

    first = decoded(parts[0], bodies[0], rest)
    pictures = [first, *(decoded(part, body, colours) for part, body in zip(parts[1:], bodies[1:]))]
    shown = parts[1:] if default else parts
    frames = _frames(shown, pictures[1:] if default else pictures, canvas, first.metadata)
    if default:
        hidden = pictures[:1]
        if (hidden[0].mode, hidden[0].levels) != (frames[0].mode, frames[0].levels):
            hidden = _frames(parts[:1], hidden, canvas, first.metadata, alpha=True)
        frames = [*hidden, *frames]
    found = []
    for number, (frame, part) in enumerate(zip(frames, parts)):
        head = {"format": "apng", "canvas": f"{canvas[0]}x{canvas[1]}", "loop": loop}
        if default and not number:
            metadata = _without_key(first.metadata, frame) | {"frame": words(default=1, **head)}
        else:
            base = {} if number else _without_key(first.metadata, frame)
            metadata = base | {"frame": part.words(**({} if number else head))}
        lost = tuple(dict.fromkeys([*notes, *(note for each in pictures for note in each.notes)]))
        found.append(check_picture(frame.replaced(metadata=metadata, notes=() if number else lost)))
    return found


def _split(
    chunks: Sequence[tuple[bytes, memoryview]],
) -> tuple[list[Part], list[list[bytes]], list[Chunk], int, bool]:
    """Parts, their compressed rows, all other chunks and an empty IDAT, the loops, and whether the first is hidden."""
    parts: list[Part] = []
    bodies: list[list[bytes]] = []
    rest: list[Chunk] = []
    loop, sequence, promised = 0, 0, 0
    for kind, data in chunks:
        if kind in (b"fcTL", b"fdAT"):
            if len(data) < (26 if kind == b"fcTL" else 4) or int.from_bytes(data[:4], "big") != sequence:
                raise damaged("its frames are not in order")
            sequence += 1
        if kind == b"acTL":
            if len(data) != 8 or promised:
                raise damaged("an animation that is none")
            promised, loop = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        elif kind == b"fcTL":
            if bodies and not bodies[-1]:
                raise damaged("a frame has no pixels")
            parts.append(_part(data))
            bodies.append([])
        elif kind == b"fdAT":
            if not parts or not parts[-1].width:
                raise damaged("its frames are not in order")
            bodies[-1].append(bytes(data[4:]))
        elif kind == b"IDAT":
            if not bodies or not bodies[0]:
                rest.append((b"IDAT", b""))
            if not parts:
                parts.append(Part(0, 0, 0, 0, (0, 100)))  # it is hidden
                bodies.append([])
            bodies[0].append(bytes(data))
        else:
            rest.append((kind, bytes(data)))
    hidden = bool(parts) and not parts[0].width
    if not parts or not bodies[-1] or len(parts) - hidden != promised or len(parts) == hidden:
        raise damaged("frames are missing")
    return parts, bodies, rest, loop, hidden


def _part(data: memoryview) -> Part:
    width, height, x, y = (int.from_bytes(data[at : at + 4], "big") for at in range(4, 20, 4))
    top, bottom = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big") or 100
    if data[24] > 2 or data[25] > 1 or not width or not height:
        raise damaged("a frame of unknown rules")
    return Part(width, height, x, y, (top, bottom), _DISPOSE[data[24]], _BLEND[data[25]])


def _frames(
    parts: Sequence[Part], pictures: list[Picture], canvas: tuple[int, int], metadata: dict[str, bytes],
    alpha: bool = False,
) -> list[Picture]:  # fmt: skip
    """The composed frames: as they are stored if nothing is transparent, or stays what it is, else with alpha."""
    first = pictures[0]
    keyed = any(kind == b"tRNS" for kind, _ in png_chunks.unpack(metadata.get("png", b"")))
    below, blended = shows_below(parts, canvas), any(part.blend == "over" for part in parts)
    clear: int | None = None
    masked = first.palette is not None and first.palette.shape[1] == 4
    if masked and first.palette is not None:
        transparency = first.palette[:, 3]
        clear = int(np.argmin(transparency)) if transparency.min() == 0 else None
        partly = bool(((transparency > 0) & (transparency < 255)).any())
        alpha |= (below and clear is None) or (blended and partly)
    elif first.mode in ("L", "RGB", "1", "P"):
        alpha |= below or (keyed and blended)
    if alpha:
        pictures = [_with_alpha(picture, metadata) for picture in pictures]
        first, masked = pictures[0], False

    def pixels() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for part, picture in zip(parts, pictures):
            mask = None
            if masked and part.blend == "over" and first.palette is not None:
                hides = np.ones(256, bool)
                hides[: len(first.palette)] = first.palette[:, 3] > 0
                mask = hides[picture.pixels]
            yield picture.pixels, mask

    empty = np.full((*canvas[::-1], *first.pixels.shape[2:]), clear or 0, first.pixels.dtype)
    return [first.replaced(pixels=frame, notes=()) for frame in composed(parts, pixels(), empty)]


def _with_alpha(picture: Picture, metadata: dict[str, bytes]) -> Picture:
    """The same in mode LA or RGBA, of 8 or 16 bits."""
    pixels, mode, levels = picture.pixels, picture.mode, picture.levels
    if mode in ("LA", "RGBA"):
        return picture
    if picture.palette is not None:
        palette = np.zeros((256, 4), np.uint8)
        palette[:, 3] = 255
        palette[: len(picture.palette), : picture.palette.shape[1]] = picture.palette
        return Picture(palette[pixels], picture.metadata)
    key = next((data for kind, data in png_chunks.unpack(metadata.get("png", b"")) if kind == b"tRNS"), b"")
    samples = pixels.reshape(*pixels.shape[:2], -1)
    hides = np.ones(pixels.shape[:2], bool)
    if len(key) == 2 * samples.shape[2]:
        hides = (samples != np.frombuffer(key, ">u2").astype(np.uint16)).any(axis=2)
    dtype = np.uint16 if levels > 256 else np.uint8
    most = int(np.iinfo(dtype).max)
    scaled = (samples.astype(np.uint32) * (most // (levels - 1))).astype(dtype)
    return Picture(np.concatenate([scaled, (hides * most).astype(dtype)[..., None]], axis=2), picture.metadata)


def _without_key(metadata: dict[str, bytes], frame: Picture) -> dict[str, bytes]:
    """Metadata without a transparent colour or palette that the frames no longer have."""
    if frame.mode not in ("LA", "RGBA") or "png" not in metadata:
        return dict(metadata)
    gone = (b"tRNS", b"=pal", b"=alp", b"hIST", b"bKGD")
    kept = [entry for entry in png_chunks.unpack(metadata["png"]) if entry[0] not in gone]
    return metadata | {"png": png_chunks.pack(kept)}


def write(pictures: Sequence[Picture]) -> tuple[bytes, list[str]]:
    """An APNG of frames of one size and mode, and what it could not hold. Raises OutputError.

    Each frame is stored as the part that differs from the one before.
    """
    first = pictures[0]
    if not all(_alike(picture, first) for picture in pictures):
        raise OutputError("frames of several sizes, modes or palettes are no APNG: use .tif")
    head = read_words(first.metadata.get("frame", b""))
    loop = int(head["loop"]) if head.get("loop", "").isdecimal() else 0
    hidden = "default" in head
    metadata = {key: value for key, value in first.metadata.items() if key != "frame"}
    out, tail, notes, sequence = [], [], [], 0
    before: np.ndarray | None = None
    for number, picture in enumerate(pictures):
        y, x, h, w = _changed(before, picture.pixels)
        part = np.ascontiguousarray(picture.pixels[y : y + h, x : x + w])
        file, lost = png.write([picture.replaced(pixels=part, metadata={} if number else metadata)])
        notes += lost
        chunks, _ = read_chunks(file, UNLIMITED)
        control = []
        if number or not hidden:
            delay, inexact = _delay(read_words(picture.metadata.get("frame", b"")).get("delay", ""))
            notes += ["the exact time of a frame"] * inexact
            place = b"".join(value.to_bytes(4, "big") for value in (sequence, w, h, x, y))
            control, sequence = [chunk(b"fcTL", place + delay + bytes(2))], sequence + 1
            before = picture.pixels
        if number:
            out += control
            for data in (data for kind, data in chunks if kind == b"IDAT"):
                out.append(chunk(b"fdAT", sequence.to_bytes(4, "big") + data))
                sequence += 1
        else:
            at = next(i for i, (kind, _) in enumerate(chunks) if kind == b"IDAT")
            out += [file[:33], chunk(b"acTL", (len(pictures) - hidden).to_bytes(4, "big") + loop.to_bytes(4, "big"))]
            out += [*(chunk(*entry) for entry in chunks[:at]), *control]
            out += [chunk(*entry) for entry in chunks[at:] if entry[0] == b"IDAT"]
            tail = [chunk(*entry) for entry in chunks[at:] if entry[0] != b"IDAT"]
    return b"".join([*out, *tail, chunk(b"IEND", b"")]), list(dict.fromkeys(notes))


def _alike(picture: Picture, first: Picture) -> bool:
    """Whether both fit one header and palette."""
    same = (picture.mode, picture.levels, picture.pixels.shape) == (first.mode, first.levels, first.pixels.shape)
    if picture.palette is None or first.palette is None:
        return same
    return same and np.array_equal(picture.palette, first.palette)


def _changed(before: np.ndarray | None, pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of what differs; of the whole frame if there is none before it."""
    if before is None:
        return 0, 0, pixels.shape[0], pixels.shape[1]
    differs = before != pixels
    differs = differs.any(axis=2) if differs.ndim == 3 else differs
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _delay(text: str) -> tuple[bytes, bool]:
    """Numerator and denominator as an APNG has them, and whether they are not exact."""
    top, _, bottom = text.partition("/")
    if not top.isdecimal() or not bottom.isdecimal() or not int(bottom):
        return (0).to_bytes(2, "big") + (100).to_bytes(2, "big"), bool(text)
    pair = int(top), int(bottom)
    if max(pair) <= _MOST:
        return pair[0].to_bytes(2, "big") + pair[1].to_bytes(2, "big"), False
    exact = Fraction(*pair)
    nearest = min(exact, Fraction(_MOST)).limit_denominator(min(_MOST, max(1, int(_MOST / max(exact, Fraction(1, 2))))))
    numerator, denominator = min(nearest.numerator, _MOST), nearest.denominator
    return numerator.to_bytes(2, "big") + denominator.to_bytes(2, "big"), Fraction(numerator, denominator) != exact
