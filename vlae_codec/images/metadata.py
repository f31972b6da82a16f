"""Metadata of pictures: what the keys of `Picture.metadata` mean, and how they are read, dropped and shown.

icc, exif      the ICC profile; the EXIF block from its TIFF header onwards
xmp, iptc      the XMP packet; the IPTC-IIM records
resolution     ASCII "X Y UNIT": two fractions, such as "600/1", and inch, centimetre, metre or none (their ratio only)
comment        comments, joined by NUL bytes; UTF-8 or as they stood in the file
description    the ImageDescription of a TIFF
png            other chunks of a PNG (`images.png_chunks`)
tiff           other tags of a TIFF
frame          the place, time and rules of a frame
file           the recipe of the very file

"frame", and what the chunks tRNS of a PNG say, is meaning and no metadata: it stays when metadata are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from PIL import Image

from vlae_codec.images import png_chunks
from vlae_codec.images.png_chunks import shorten

NAMES = {  # how people call the keys
    "icc": "ICC profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "resolution": "resolution",
    "comment": "comment",
    "description": "description",
    "png": "PNG chunks",
    "tiff": "TIFF tags",
}
KEEP = ("all", "icc", "none")
RECIPE = "file"  # of the first picture: what makes the very file again
_MEANING = ("frame", RECIPE)
_METRES = {"inch": Fraction(254, 10000), "centimetre": Fraction(1, 100), "metre": Fraction(1)}
_EXIF_PREFIX = b"Exif\0\0"  # some formats store it, some do not
_IPTC_RESOURCE = 0x0404  # of Photoshop's


def strip(metadata: Mapping[str, bytes], keep: str = "none") -> dict[str, bytes]:
    """What stays: all; the colours only (icc, and the PNG chunks of colours); or what is no metadata (none)."""
    if keep == "all":
        return dict(metadata)
    kept = {key: value for key, value in metadata.items() if key in _MEANING or (key == "icc" and keep == "icc")}
    chunks = png_chunks.strip(metadata.get("png", b""), keep == "icc")
    from vlae_codec.images.tiff_layout import meaning  # which needs numpy, and `describe` does not

    tags = meaning(metadata["tiff"]) if "tiff" in metadata else b""
    return kept | ({"png": chunks} if chunks else {}) | ({"tiff": tags} if tags else {})


def describe(metadata: Mapping[str, bytes]) -> list[str]:
    """A short line for each item. Raises CorruptFile."""
    lines: list[str] = []
    for key, value in metadata.items():
        name = NAMES.get(key, key)
        if key == "png":
            lines += png_chunks.describe(value)
        elif key == "resolution":
            lines.append(f"{name}: {_resolution_line(value)}")
        elif key == "comment":
            lines += [f"{name}: {shorten(text)}" for text in value.split(b"\0")[:100]]
        elif key in ("description", "frame"):
            lines.append(f"{name}: {shorten(value)}")
        else:
            lines.append(f"{name}: {len(value)} bytes")
    return lines


def not_kept(metadata: Mapping[str, bytes], keys: Iterable[str]) -> list[str]:
    """The notes of a writer whose format has no place for metadata but those of `keys`."""
    rest = [key for key in metadata if key not in keys]
    notes = []
    for key in rest:
        if key == "png":
            names = {kind for kind, _ in png_chunks.unpack(metadata[key]) if kind[:1] != b"=" and kind != b"IDAT"}
            notes += [f"the PNG chunk {name.decode('latin-1')}" for name in sorted(names)]
        elif key in NAMES:
            notes.append(f"the {NAMES[key]}")
    return notes


def make_resolution(x: Fraction | int, y: Fraction | int, unit: str) -> bytes:
    """The metadata "resolution"."""
    x, y = Fraction(x), Fraction(y)
    return f"{x.numerator}/{x.denominator} {y.numerator}/{y.denominator} {unit}".encode()


def read_resolution(value: bytes) -> tuple[Fraction, Fraction, str] | None:
    """X, Y and the unit of a metadata "resolution"; None if it is none."""
    try:
        x, y, unit = value.decode("ascii").split()
        pair = Fraction(x[:40]), Fraction(y[:40])
    except (ValueError, ZeroDivisionError):
        return None
    return (*pair, unit) if min(pair) > 0 and unit in (*_METRES, "none") else None


def convert_resolution(value: bytes, unit: str) -> tuple[Fraction, Fraction] | None:
    """X and Y of a metadata "resolution" in dots an inch, centimetre or metre; None if it has no unit, or is none."""
    found = read_resolution(value)
    if found is None or found[2] == "none":
        return None
    factor = _METRES[unit] / _METRES[found[2]]
    return found[0] * factor, found[1] * factor


def _resolution_line(value: bytes) -> str:
    found = read_resolution(value)
    if found is None:
        return shorten(value)
    x, y, unit = found
    if unit == "none":
        return f"pixels of aspect {float(x):g} to {float(y):g}"
    return f"{float(x):g} x {float(y):g} dots a {unit}" if unit != "inch" else f"{float(x):g} x {float(y):g} dpi"


def from_pillow(image: Image.Image) -> tuple[dict[str, bytes], list[str]]:
    """The metadata of an image that Pillow has opened, and notes on what of them has no key."""
    info = image.info
    metadata = {
        "icc": _bytes(info.get("icc_profile")),
        "exif": _bytes(info.get("exif")).removeprefix(_EXIF_PREFIX),
        "xmp": _bytes(info.get("xmp")),
        "comment": b"\0".join(_comments(image)),
        "resolution": _density(image),
    }
    notes = []
    resources = info.get("photoshop")
    if isinstance(resources, dict):
        metadata["iptc"] = _bytes(resources.get(_IPTC_RESOURCE))
        if resources.keys() - {_IPTC_RESOURCE}:
            notes.append("Photoshop's resources")
    return {key: value for key, value in metadata.items() if value}, notes


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else b""


def _comments(image: Image.Image) -> Iterator[bytes]:
    if image.format in ("JPEG", "MPO"):
        yield from (data for marker, data in getattr(image, "applist", ()) if marker == "COM")
    elif comment := _bytes(image.info.get("comment")):
        yield comment


def _density(image: Image.Image) -> bytes:
    """The metadata "resolution" of formats that store whole numbers."""
    info = image.info
    if "jfif_density" in info:
        x, y = info["jfif_density"]
        unit = {1: "inch", 2: "centimetre"}.get(info.get("jfif_unit", 0), "none")
    elif image.format in ("BMP", "DIB") and "dpi" in info:  # Pillow has divided by 39.3701
        (x, y), unit = (round(dots * 39.3701) for dots in info["dpi"]), "metre"
    elif image.format == "PCX" and "dpi" in info:
        (x, y), unit = info["dpi"], "inch"
    else:
        return b""
    if x <= 0 or y <= 0 or (x == y and unit == "none"):
        return b""
    return make_resolution(x, y, unit)
