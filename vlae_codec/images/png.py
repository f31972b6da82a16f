"""PNG files <-> pictures, sample by sample and chunk by chunk.

type of colour   bits         mode   levels
grey             1            1
grey             2, 4, 8, 16  L      4, 16, 256, 65536
RGB              8, 16        RGB    256, 65536
indices          1, 2, 4, 8   P      2, 4, 16, 256; a palette of (n, 4) with transparency
grey and alpha   8, 16        LA     256, 65536
RGB and alpha    8, 16        RGBA   256, 65536

A transparent colour of grey or RGB is the chunk tRNS in the metadata "png", where all chunks are that have no key of
their own. Whether a file was interlaced is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import compress

import numpy as np

from vlae_codec.errors import OutputError, UnsupportedImage
from vlae_codec.images.metadata import not_kept
from vlae_codec.images.picture import Picture
from vlae_codec.images.png_chunks import (
    DEPTHS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    SIGNATURE,
    Chunk,
    Header,
    chunk,
    damaged,
    read_chunks,
    read_header,
)
from vlae_codec.images.png_places import read_places, write_places
from vlae_codec.images.png_rows import read_samples, write_samples
from vlae_codec.limits import Limits

_MODES = {GREY: "L", RGB: "RGB", PALETTE: "P", GREY_ALPHA: "LA", RGB_ALPHA: "RGBA"}
_COLOURS = {mode: colour for colour, mode in _MODES.items()} | {"1": GREY}
_IDAT = 1 << 20  # bytes in a chunk that is written
_PLACED: tuple[str, ...] = ("icc", "exif", "xmp", "resolution", "png")
_KEYS = (*_PLACED, "iptc", "comment", "description")


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The picture in a PNG. Raises UnsupportedImage, also for an animation (`is_animation`), and ImageTooLarge."""
    header = read_header(data)
    chunks, notes = read_chunks(data, limits)
    if is_animation(data):
        raise UnsupportedImage("an animated PNG: save each frame as a picture of its own")
    rest, parts, palette = _split(header, chunks)
    samples, more = read_samples(header, parts, limits)
    values, lost = read_places(rest, palette)
    return [make_picture(header, samples, values, (*notes, *more, *lost))]


def is_animation(data: bytes) -> bool:
    """Whether a chunk acTL stands before the pixels of a file."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        if kind in (b"acTL", b"IDAT"):
            return kind == b"acTL"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _split(
    header: Header, chunks: Sequence[tuple[bytes, memoryview]]
) -> tuple[list[Chunk], list[memoryview], bytes | None]:
    """The chunks with one IDAT of no data, the compressed rows, and the palette of a picture of indices.

    Raises UnsupportedImage.
    """
    rest: list[Chunk] = []
    parts: list[memoryview] = []
    palette = None
    for kind, data in chunks:
        if kind == b"IDAT":
            if not parts:
                rest.append((kind, b""))
            elif rest[-1][0] != b"IDAT":
                raise damaged("its pixels are in several places")
            parts.append(data)
            continue
        if kind == b"PLTE":
            if palette is not None or parts or len(data) % 3 or not 3 <= len(data) <= 768:
                raise damaged("a palette that is none, or is not in its place")
            palette = bytes(data)
        elif kind[:1].isupper():
            raise UnsupportedImage(
                f"a PNG with the chunk {kind.decode()}, which no reader knows: save it as another PNG"
            )
        rest.append((kind, bytes(data)))
    if not parts:
        raise damaged("it has no pixels")
    if header.colour == PALETTE and palette is None:
        raise damaged("it has no palette")
    return rest, parts, palette if header.colour == PALETTE else None


def make_picture(header: Header, samples: np.ndarray, values: dict[str, bytes], notes: tuple[str, ...] = ()) -> Picture:
    """The picture of samples as `read_samples` gives them and values as `read_places` does."""
    values = dict(values)
    colours, alpha = values.pop("palette", None), values.pop("alpha", None)
    if header.colour == GREY and header.depth == 1:
        return Picture(samples.view(bool), values, "1", 2, None, notes)
    palette = None
    if colours is not None:
        palette = np.frombuffer(colours, np.uint8).reshape(-1, 3)
        if alpha is not None:
            palette = np.column_stack((palette, np.frombuffer(alpha, np.uint8)))
    return Picture(samples, values, _MODES[header.colour], 1 << header.depth, palette, notes)


def write(pictures: Sequence[Picture]) -> tuple[bytes, list[str]]:
    """A PNG of one picture, and what it could not hold. Raises OutputError for modes and samples that no PNG has."""
    if len(pictures) != 1:
        raise OutputError(f"a PNG holds one picture, not {len(pictures)}: use .tif")
    picture = pictures[0]
    header, notes = make_header(picture)
    chunks, lost = write_places(_values(picture))
    body = memoryview(write_samples(header, picture.pixels))
    parts = [SIGNATURE, header_chunk(header)]
    for kind, data in chunks:
        if kind == b"IDAT":
            parts += [chunk(*text) for text in _texts(picture.metadata)]
            parts += [chunk(kind, body[begin : begin + _IDAT]) for begin in range(0, len(body), _IDAT)]
        else:
            parts.append(chunk(kind, data))
    parts.append(chunk(b"IEND", b""))
    return b"".join(parts), [*notes, *lost, *not_kept(picture.metadata, _KEYS)]


def make_header(picture: Picture) -> tuple[Header, list[str]]:
    """The header of the least depth that holds a picture's samples, and notes. Raises OutputError."""
    mode, pixels = picture.mode, picture.pixels
    if mode not in _COLOURS or pixels.dtype not in (bool, np.uint8, np.uint16):
        raise OutputError(f"a PNG cannot hold a picture of mode {mode} and samples of {pixels.dtype}: use .tif")
    colour = _COLOURS[mode]
    depth = next((depth for depth in DEPTHS[colour] if depth >= picture.bits), 0)
    if not depth:
        raise OutputError(f"a PNG cannot hold indices of {picture.bits} bits: use .tif")
    exact = colour == PALETTE or picture.levels == 1 << depth
    notes = [] if exact else [f"the maximum value {picture.levels - 1}"]
    return Header(pixels.shape[1], pixels.shape[0], depth, colour, False), notes


def header_chunk(header: Header) -> bytes:
    """The chunk IHDR."""
    size = header.width.to_bytes(4, "big") + header.height.to_bytes(4, "big")
    return chunk(b"IHDR", size + bytes([header.depth, header.colour, 0, 0, header.interlaced]))


def _values(picture: Picture) -> dict[str, bytes]:
    """Metadata and palette as `write_places` takes them."""
    metadata = picture.metadata
    values: dict[str, bytes] = {key: metadata[key] for key in _PLACED if key in metadata}
    if picture.palette is not None:
        values["palette"] = picture.palette[:, :3].tobytes()
        if picture.palette.shape[1] == 4:
            values["alpha"] = picture.palette[:, 3].tobytes()
    return values


def _texts(metadata: dict[str, bytes]) -> list[Chunk]:
    """Chunks of text for what has no place of its own in a PNG."""
    chunks = [_text(b"Comment", text) for text in metadata.get("comment", b"").split(b"\0") if text]
    if text := metadata.get("description", b"").rstrip(b"\0"):
        chunks.append(_text(b"Description", text))
    if records := metadata.get("iptc"):
        digits = records.hex()
        lines = "\n".join(digits[begin : begin + 72] for begin in range(0, len(digits), 72))
        profile = f"\niptc\n{len(records):8d}\n{lines}\n".encode()  # the way of ImageMagick, which others read
        chunks.append((b"zTXt", b"Raw profile type iptc\0\0" + compress(profile)))
    return chunks


def _text(keyword: bytes, text: bytes) -> Chunk:
    """tEXt if the text is ASCII, or not UTF-8; iTXt if it is UTF-8."""
    text = text.replace(b"\0", b" ")
    try:
        international = not text.decode("utf-8").isascii()
    except UnicodeDecodeError:
        international = False
    return (b"iTXt", keyword + b"\0\0\0\0\0" + text) if international else (b"tEXt", keyword + b"\0" + text)
