"""Picture files <-> `Picture`s: which reader a file needs, and which writer a name asks for.

A reader takes a file's bytes and gives all frames or pages, sample by sample as they are, or refuses with a line that
names what it could not keep. A writer gives the bytes of a file and names what that had no place for.

GIF, JPEG, ICO; animated PNG and WebP     images.frames
PNG                                       images.png
PBM, PGM, PPM, PAM, PFM                   images.pnm
TIFF                                      images.tiff, images.tiff_write
SGI; BMP of 32 bits                       images.small
JPEG 2000 and AVIF of other than 8 bits, JPEG XL, Radiance    images.wide
all else                                  images.pillow, after images.kinds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vlae_codec.errors import ImageTooLarge, OutputError, UnsupportedImage
from vlae_codec.files import open_file, read_file, write_file
from vlae_codec.format.header import CHANNELS
from vlae_codec.images import frames, kinds, metadata, pillow, png, pnm, small, tiff, tiff_write, wide
from vlae_codec.images.jpeg import is_jpeg
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.png_chunks import SIGNATURE, read_header
from vlae_codec.limits import DEFAULT, Limits

Reader = Callable[[bytes, Limits], list[Picture]]
BITMAPS = (".bmp", ".dib")
JPEGS = (".jpg", ".jpeg", ".jpe", ".jfif")
_HEAD = 1 << 16  # bytes that say which format it is, and its size
_KINDS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp"} | {f".{kind}": kind for kind in pnm.KINDS}


def load_all(path: str | Path, limits: Limits = DEFAULT, keep: str = "all") -> list[Picture]:
    """All frames or pages of a file. keep: which metadata, "all", "icc" or "none" (`metadata.strip`).

    Raises InputError, UnsupportedImage or ImageTooLarge.
    """
    return read(path, read_file(path, limits), limits, keep)


def read(path: str | Path, data: bytes, limits: Limits = DEFAULT, keep: str = "all") -> list[Picture]:
    """The same for the bytes of a file, whose path is put before what is wrong with it."""
    with _naming(path):
        pictures = [check_picture(picture) for picture in _reader(data)(data, limits)]
    return [picture.replaced(metadata=metadata.strip(picture.metadata, keep)) for picture in pictures]


def load(path: str | Path, limits: Limits = DEFAULT, keep: str = "all") -> Picture:
    """The picture in a file of one. Raises what `load_all` raises, and UnsupportedImage for several."""
    pictures = load_all(path, limits, keep)
    if len(pictures) > 1:
        raise UnsupportedImage(f"{path}: {len(pictures)} frames or pages: save each as a picture of its own")
    return pictures[0]


def size(path: str | Path) -> tuple[int, int]:
    """The (width, height) of the first picture in a file, as a rule from its head. Raises what `load_all` raises."""
    with open_file(path) as file, _naming(path):
        head = file.read(_HEAD)
        if head.startswith(SIGNATURE):
            header = read_header(head)
            return header.width, header.height
        if pnm.accepts(head):
            return pnm.size(head)
        found = wide.head_of(head)
        if found is not None and found.kind not in wide.PILLOW_TOO:
            return found.width, found.height
        file.seek(0)
        return pillow.size(file)


def _reader(data: bytes) -> Reader:
    """The reader for a file that begins so."""
    if wide.head_of(data) is not None:
        return wide.read
    return next((read for accepts, read in _READERS if accepts(data)), _by_pillow)


def _by_pillow(data: bytes, limits: Limits) -> list[Picture]:
    notes = kinds.check_kind(data)
    return [picture.replaced(notes=(*picture.notes, *notes)) for picture in pillow.read(data, limits)]


_READERS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (frames.accepts, frames.read),
    (lambda data: data.startswith(SIGNATURE), png.read),
    (pnm.accepts, pnm.read),
    (tiff.accepts, tiff.read),
    (small.accepts, small.read),
)


def output_format(path: str | Path, picture: Picture | str | None = None) -> str:
    """The kind of file that a name asks for ("png", "tiff", "webp", "pgm", ...), able to hold the picture.

    picture: or a mode alone, of 8-bit samples. Raises OutputError.
    """
    suffix = Path(path).suffix.lower()
    if suffix in JPEGS:
        raise OutputError(f"{path}: only a file that was made of a JPEG gives one back, and this was not: name a .png")
    if suffix not in _KINDS:
        raise OutputError(f"{path}: no lossless picture format: use one of {', '.join(sorted(_KINDS))}")
    kind = _KINDS[suffix]
    if isinstance(picture, str):
        channels = CHANNELS.get(picture) or 1
        pixels = np.zeros((1, 1, channels)[: 2 if channels == 1 else 3], bool if picture == "1" else np.uint8)
        picture = Picture(pixels, mode=picture)
    if picture is not None:
        with _naming(path):
            _check(picture, kind)
    return kind


def suffixes_of(data: bytes) -> tuple[str, ...]:
    """What the name of a file that begins so may end in."""
    if data.startswith(SIGNATURE):
        return (".png", ".apng")
    if is_jpeg(data):
        return JPEGS
    if tiff.accepts(data):
        return (".tif", ".tiff")
    return BITMAPS if data[:2] == b"BM" else tuple(f".{kind}" for kind in pnm.KINDS) if pnm.accepts(data) else ()


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Puts the path before what is wrong with a file."""
    try:
        yield
    except (UnsupportedImage, ImageTooLarge, OutputError) as error:
        raise type(error)(f"{path}: {error}") from error


def _check(picture: Picture, kind: str) -> None:
    if kind == "png":
        png.make_header(picture)
    elif kind in pnm.KINDS:
        pnm.check(picture, kind)
    elif kind == "tiff":
        tiff_write.check(picture)
    else:
        pillow.check(picture)


def save(
    path: str | Path, pictures: Sequence[Picture] | Picture | np.ndarray, force: bool = False, strict: bool = False
) -> list[str]:
    """Writes pictures, or the pixels of one, as the name asks for; returns what the format could not hold.

    strict: that is an error instead. Raises OutputExists, OutputError or UnsupportedImage.
    """
    several = [Picture(pictures)] if isinstance(pictures, np.ndarray) else pictures
    data, notes = render(path, [several] if isinstance(several, Picture) else several, strict)
    write_file(path, data, force)
    return notes


def render(path: str | Path, pictures: Sequence[Picture], strict: bool = False) -> tuple[bytes, list[str]]:
    """The bytes of the file that `save` would write, and what it could not hold. Raises OutputError and
    UnsupportedImage.
    """
    checked = [check_picture(picture) for picture in pictures]
    kind = output_format(path)
    with _naming(path):
        data, notes = encode(checked, kind)
    if notes and strict:
        raise OutputError(f"{path} cannot hold {', '.join(notes)}: use another format, or leave out --strict")
    return data, notes


def encode(pictures: Sequence[Picture], kind: str) -> tuple[bytes, list[str]]:
    """The bytes of a file of a kind that `output_format` gives, and what it could not hold. Raises OutputError."""
    if kind in pnm.KINDS:
        return pnm.write(pictures, kind)
    if kind == "tiff":
        return tiff_write.write(pictures)
    if kind == "png" and len(pictures) == 1:
        return png.write(pictures)
    if kind == "png" and frames.is_animation(pictures):
        return frames.write_apng(pictures)
    if len(pictures) != 1:
        way = "use .tif" if kind == "png" else "use .png for frames with times, else .tif"
        raise OutputError(f"a .{kind} cannot hold these {len(pictures)} pictures: {way}")
    return pillow.write(pictures[0])
