"""How the samples of a page of TIFF are laid out: sizes, types, and where its pieces (strips or tiles) are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.ifd import Directory, Tag, damaged, parse
from vlae_codec.images.ifd import block as ifd_block
from vlae_codec.limits import DEFAULT, Limits

# tags by what they say
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS, STRIP_COUNTS, PLANAR, PREDICTOR, COLOUR_MAP = 273, 277, 278, 279, 284, 317, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT, SUBSAMPLING = 322, 323, 324, 325, 338, 339, 530
_OVERLAP = 8  # strips may overlap, but all together are at most so many times the file


@dataclass(frozen=True)
class Layout:
    width: int
    height: int
    samples: int  # a pixel
    bits: int  # a sample
    kind: str  # of samples, as numpy's dtype.kind: u, i or f
    compression: int
    predictor: int
    planar: bool  # each sample is a plane of its own
    reversed: bool  # the lowest bit of a byte comes first
    photometric: int
    extra: tuple[int, ...]  # what samples beyond the colours are: 1 associated alpha, 2 alpha, others unknown
    piece: tuple[int, int]  # width and height of a strip or tile; the last strip may have fewer rows
    tiled: bool
    offsets: np.ndarray
    counts: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """The type of the samples once they are taken apart."""
        size = next(size for size in (1, 2, 4, 8) if 8 * size >= self.bits)
        return np.dtype(f"{self.kind}{size}")

    @property
    def inner(self) -> int:
        """Samples a pixel within a piece."""
        return 1 if self.planar else self.samples

    @property
    def row(self) -> int:
        """Bytes a row of a piece."""
        return (self.piece[0] * self.inner * self.bits + 7) // 8

    @property
    def across(self) -> int:
        return -(-self.width // self.piece[0])

    @property
    def down(self) -> int:
        return -(-self.height // self.piece[1])

    def rows(self, index: int) -> int:
        """Rows of the piece of an index."""
        y = index // self.across % self.down * self.piece[1]
        return self.piece[1] if self.tiled else min(self.piece[1], self.height - y)


def layout(page: Directory, data: bytes, limits: Limits) -> Layout:
    """The layout of a page of a file. Raises UnsupportedImage or ImageTooLarge."""
    width, height, samples = _one(page, WIDTH), _one(page, LENGTH), _one(page, SAMPLES, 1)
    if not width or not height or not samples:
        raise damaged("a page has no pixels")
    kinds, bits = _all(page, FORMAT, 1), _all(page, BITS, 1)
    if len(set(bits[:samples])) > 1 or len(set(kinds[:samples])) > 1:
        raise UnsupportedImage("samples of several depths in one TIFF page are not supported: use one depth for all")
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kinds[0], "c")
    if not _supported(kind, bits[0]) or samples > 255:
        names = {"u": "integers", "i": "signed integers", "f": "floating-point numbers", "c": "complex numbers"}
        raise UnsupportedImage(
            f"a TIFF of {samples} {names[kind]} of {bits[0]} bits a pixel is not supported: use up to 255 integers of "
            "1 to 16, 24 or 32, signed ones of 8, 16 or 32, or floating-point numbers of 16, 32 or 64 bits"
        )
    if _one(page, 32997, 1) > 1 or (33629 in page and _count(page[33629]) > 1):
        raise UnsupportedImage("several pictures in one page of a TIFF are not supported: save each as a page")
    planar, tiled = _one(page, PLANAR, 1) == 2 and samples > 1, TILE_OFFSETS in page
    piece = (
        (_one(page, TILE_WIDTH), _one(page, TILE_LENGTH)) if tiled else (width, min(height, _one(page, ROWS, height)))
    )
    if not piece[0] or not piece[1]:
        raise damaged("its strips or tiles have no pixels")
    offsets = _numbers(page, TILE_OFFSETS if tiled else STRIP_OFFSETS)
    found = Layout(
        width, height, samples, bits[0], kind, _one(page, COMPRESSION, 1), _one(page, PREDICTOR, 1), planar,
        _one(page, FILL_ORDER, 1) == 2, _one(page, PHOTOMETRIC, 1), _all(page, EXTRA), piece, tiled, offsets, offsets,
    )  # fmt: skip
    pieces = found.across * found.down * (samples if planar else 1)
    of_page, of_piece = width * height * samples * found.dtype.itemsize, found.row * piece[1]
    limits.check(width * height, memory=of_page + 2 * of_piece * max(1, 8 * found.dtype.itemsize // bits[0]))
    counts = _numbers(page, TILE_COUNTS if tiled else STRIP_COUNTS, found.compression == 1)
    if not len(counts):
        counts = np.array([found.row * found.rows(index) for index in range(min(pieces, len(offsets)))])
    if len(offsets) < pieces or len(counts) < pieces:
        raise damaged("strips or tiles are missing")
    ends = [offset + count for offset, count in zip(offsets[:pieces].tolist(), counts[:pieces].tolist())]
    if max(ends) > len(data) or sum(counts[:pieces].tolist()) > _OVERLAP * len(data):
        raise damaged("strips or tiles lie outside the file")
    return replace(found, offsets=offsets[:pieces], counts=counts[:pieces])


def meaning(block: bytes) -> bytes:
    """What of the metadata "tiff" says what samples are, which stays when metadata go. Raises UnsupportedImage."""
    tags, _ = parse(block, DEFAULT)
    kept = {number: value for number, value in tags.items() if number in (PHOTOMETRIC, EXTRA, COLOUR_MAP)}
    return ifd_block(kept) if kept else b""


def _supported(kind: str, bits: int) -> bool:
    if kind == "u":
        return 1 <= bits <= 16 or bits in (24, 32)
    return bits in {"i": (8, 16, 32), "f": (16, 32, 64)}.get(kind, ())


def _count(value: Tag | Directory) -> int:
    return value.count if isinstance(value, Tag) else 1


def _numbers(page: Directory, number: int, optional: bool = False) -> np.ndarray:
    value = page.get(number)
    if not isinstance(value, Tag) or not value.kind:
        if optional:
            return np.zeros(0, np.int64)
        raise damaged(f"tag {number} is missing")
    return value.values()


def _all(page: Directory, number: int, default: int | None = None) -> tuple[int, ...]:
    """The integers of a tag, at most 256."""
    if number not in page:
        return () if default is None else (default,)
    return tuple(int(value) for value in _numbers(page, number)[:256])


def _one(page: Directory, number: int, default: int = 0) -> int:
    return max(0, _all(page, number, default)[0])
