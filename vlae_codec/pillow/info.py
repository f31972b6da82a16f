"""Metadata <-> `Image.info` and the options of `Image.save`, with the names that Pillow's own plugins use.

icc_profile, exif, xmp, comment      bytes; exif with the prefix that Pillow puts before it
dpi            (x, y), floats
photoshop      of IPTC, the resource that holds it
description    text
gamma, srgb    of a PNG, and its texts by their keywords
transparency   a colour, or the alpha of each colour of a palette
duration       milliseconds that a frame is shown; loop: how often all are shown, 0 for ever
levels         the samples of the file are 0 .. levels - 1, where that is not all that their type holds
lost           what Pillow cannot hold of the picture
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from PIL import Image

from vlae_codec.format.container import Contents
from vlae_codec.format.header import Layout
from vlae_codec.images.compose import read_words, words
from vlae_codec.images.metadata import convert_resolution, make_resolution
from vlae_codec.images.png_chunks import Chunk, pack, unpack
from vlae_codec.images.png_places import inflated
from vlae_codec.pillow.modes import lost, mode_of

_EXIF = b"Exif\0\0"
_IPTC = 0x0404
_MOST_TEXT = 1 << 20  # bytes of a text that is inflated
_GAMMA = 100_000


def info_of(layout: Layout, metadata: Mapping[str, bytes]) -> dict[Any, Any]:
    """`Image.info` of a picture. Raises CorruptFile for damaged chunks of a PNG, OSError for a picture of no mode."""
    info: dict[Any, Any] = {}
    for key, name in (("icc", "icc_profile"), ("xmp", "xmp"), ("comment", "comment")):
        if key in metadata:
            info[name] = metadata[key]
    if "exif" in metadata:
        info["exif"] = _EXIF + metadata["exif"]
    if "iptc" in metadata:
        info["photoshop"] = {_IPTC: metadata["iptc"]}
    if "description" in metadata:
        info["description"] = metadata["description"].decode("utf-8", "replace")
    dots = convert_resolution(metadata.get("resolution", b""), "inch")
    if dots is not None:
        info["dpi"] = float(dots[0]), float(dots[1])
    for kind, data in unpack(metadata.get("png", b"")):
        info |= _chunk(kind, data, layout)
    info |= _frame(read_words(metadata.get("frame", b"")))
    if layout.type == "unsigned" and layout.levels not in (2, 256, 65536):
        info["levels"] = layout.levels
    if what := lost(layout):
        info["lost"] = what
    return info


def _chunk(kind: bytes, data: bytes, layout: Layout) -> dict[Any, Any]:
    if kind == b"gAMA" and len(data) == 4:
        return {"gamma": int.from_bytes(data, "big") / _GAMMA}
    if kind == b"sRGB" and len(data) == 1:
        return {"srgb": data[0]}
    if kind == b"tRNS" and layout.mode in ("1", "L", "RGB") and len(data) == 2 * layout.channels:
        colour = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        if layout.levels < 256:
            colour = [255 * value // (layout.levels - 1) for value in colour]
        elif mode_of(layout) != "I;16":
            colour = [value * 256 // layout.levels for value in colour]
        return {"transparency": colour[0] if len(colour) == 1 else tuple(colour)}
    return dict(texts_in([(kind, data)]))


def texts_in(chunks: Iterable[Chunk]) -> Iterator[tuple[str, str]]:
    """(keyword, text) of the chunks that hold one; a text that is damaged or too long is left out."""
    for kind, data in chunks:
        keyword, _, text = data.partition(b"\0")
        if kind == b"iTXt":  # flag of compression, its method, language and NUL, translated keyword and NUL, text
            packed, fields = text[:1], text[2:].split(b"\0", 2)
            text = fields[2] if len(fields) == 3 else b""
            text = inflated(text, _MOST_TEXT) if packed == b"\1" else text
        elif kind == b"zTXt":
            text = inflated(text[1:], _MOST_TEXT)
        elif kind != b"tEXt":
            continue
        if text:
            yield keyword.decode("latin-1"), text.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def metadata_at(contents: Contents, frame: int) -> dict[str, bytes]:
    """The metadata of a picture; those of an animation stand at its first frame, and are those of all."""
    own = contents.metadata_of(frame)
    if not frame or "frame" not in own:
        return own
    first = contents.metadata_of(0)
    loop = read_words(first.get("frame", b"")).get("loop")
    return first | own | ({"frame": own["frame"] + f" loop={loop}".encode()} if loop else {})


def _frame(said: Mapping[str, str]) -> dict[Any, Any]:
    info: dict[Any, Any] = {}
    top, _, bottom = said.get("delay", "").partition("/")
    if top[:20].isdecimal() and bottom[:20].isdecimal() and int(bottom[:20]):
        info["duration"] = float(Fraction(int(top[:20]), int(bottom[:20])) * 1000)
    if said.get("loop", "")[:20].isdecimal():
        info["loop"] = int(said["loop"][:20])
    return info


def metadata_of(image: Image.Image, options: Mapping[str, Any]) -> dict[str, bytes]:
    """Metadata of an image that is saved. As with Pillow's PNG, the profile and a transparent colour are taken from its
    info where no option says otherwise, and all else is what the options give.
    """
    exif = options.get("exif", b"")
    exif = exif.tobytes() if isinstance(exif, Image.Exif) else exif
    xmp, comment = options.get("xmp") or b"", options.get("comment") or b""
    photoshop = options.get("photoshop")
    found = {
        "icc": options.get("icc_profile", image.info.get("icc_profile")) or b"",
        "exif": (exif or b"").removeprefix(_EXIF),
        "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
        "comment": comment.encode() if isinstance(comment, str) else comment,
        "iptc": photoshop.get(_IPTC, b"") if isinstance(photoshop, dict) else b"",
        "description": str(options.get("description") or "").encode(),
    }
    if dpi := options.get("dpi"):
        x, y = (Fraction(dots).limit_denominator(1000) for dots in dpi)
        found["resolution"] = make_resolution(x, y, "inch")
    found["png"] = pack(_chunks_of(image, options))
    return {key: bytes(value) for key, value in found.items() if value}


def _chunks_of(image: Image.Image, options: Mapping[str, Any]) -> Iterator[Chunk]:
    if gamma := options.get("gamma"):
        yield b"gAMA", round(gamma * _GAMMA).to_bytes(4, "big")
    colour = options.get("transparency", image.info.get("transparency"))
    channels = {"1": 1, "L": 1, "I;16": 1, "RGB": 3}.get(image.mode)
    if channels and colour is not None and not isinstance(colour, bytes):
        values = colour if isinstance(colour, tuple) else (colour,)
        if len(values) == channels:
            yield b"tRNS", b"".join(int(value).to_bytes(2, "big") for value in values)
    for kind, data, *_ in getattr(options.get("pnginfo"), "chunks", ()):
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield kind, data


def frame_words(duration: float | None, first: bool, size: tuple[int, int], loop: int) -> dict[str, bytes]:
    """The metadata of a frame that is shown for so many milliseconds; of a page, None, there are none."""
    if duration is None:
        return {}
    delay = Fraction(duration).limit_denominator(1000) / 1000
    said = {"delay": f"{delay.numerator}/{delay.denominator}", "dispose": "none", "blend": "source", "x": 0, "y": 0}
    return {"frame": words(**said, **({"canvas": f"{size[0]}x{size[1]}", "loop": loop} if first else {}))}
