"""Samples <-> symbols: what the pictures of a layout are as arrays (H, W, C) of what is coded.

Symbols are uint8, or uint16 where the layout has more than 256 levels. A group of planes has some of the channels, in
blocks of `Planes.scale` samples of which one is coded, and codes a value as its number in `Planes.values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vlae_codec.errors import CorruptFile
from vlae_codec.format import stored
from vlae_codec.format.chunks import DAMAGED
from vlae_codec.format.container import STORED, Part
from vlae_codec.format.header import BYTES, Form, Layout, Planes
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.coefficients import Coefficients

_ORDERED = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def layout_of(picture: Picture) -> Layout:
    """What the samples of a picture mean; planes are not chosen yet."""
    pixels, palette = picture.pixels, picture.palette
    kind = "unsigned" if picture.levels else str(pixels.dtype)
    levels = picture.levels or (65536 if kind == "int16" else 256)
    layout = Layout(picture.mode, (), kind, levels, picture.channels)
    if palette is None:
        return layout
    form = Form(*stored.store(palette[None], 256, webp=True))
    colours, columns = palette.shape
    return Layout(picture.mode, (), kind, levels, picture.channels, colours, columns, form)


def symbols_of(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 or uint16 of the samples of a picture; a view of them where that can be."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    kind = str(pixels.dtype)
    if kind == "bool":
        return pixels.view(np.uint8)
    if kind in ("int8", "int16"):
        unsigned = pixels.view(np.uint8 if kind == "int8" else np.uint16)
        return np.bitwise_xor(unsigned, unsigned.dtype.type(128 if kind == "int8" else 32768))
    if kind in BYTES:
        bits = _flipped(pixels.view(_ORDERED[BYTES[kind]]), kind, back=False)
        high_first = bits.astype(bits.dtype.newbyteorder(">")).view(np.uint8)
        return high_first.reshape(*pixels.shape[:2], -1)
    return pixels


def samples_of(symbols: np.ndarray, layout: Layout) -> np.ndarray:
    """The inverse of `symbols_of`: (H, W), or (H, W, C) in modes of several channels."""
    kind = layout.type
    if layout.mode == "1":
        pixels = symbols.view(bool)
    elif kind in ("int8", "int16"):
        pixels = np.bitwise_xor(symbols, symbols.dtype.type(128 if kind == "int8" else 32768)).view(kind)
    elif kind in BYTES:
        size = BYTES[kind]
        high_first = symbols.reshape(*symbols.shape[:2], -1, size).view(np.dtype(_ORDERED[size]).newbyteorder(">"))
        pixels = _flipped(high_first[..., 0].astype(_ORDERED[size]), kind, back=True).view(kind)
    else:
        pixels = symbols
    return pixels[..., 0] if layout.channels == 1 and layout.mode != "bands" else pixels


def _flipped(bits: np.ndarray, kind: str, back: bool) -> np.ndarray:
    """Bits in an order like that of the numbers that they stand for, or back."""
    top = bits.dtype.type(1 << 8 * bits.itemsize - 1)
    if kind == "uint32":
        return bits
    if kind == "int32":
        return bits ^ top
    negative = (bits & top != 0) ^ back  # of floats
    return np.where(negative, ~bits, bits ^ top)


def blank(width: int, height: int, layout: Layout) -> np.ndarray:
    """An array for the symbols of a picture, not filled in."""
    return np.empty((height, width, layout.coded_channels), np.uint8 if layout.levels <= 256 else np.uint16)


def picture_of(
    symbols: np.ndarray, layout: Layout, metadata: dict[str, bytes], coefficients: Coefficients | None = None
) -> Picture:
    """The picture of all its symbols. Raises CorruptFile for a palette that does not decode."""
    palette = None
    if layout.palette is not None:
        shape = (1, layout.colours)
        palette = unpack_form(layout.palette, shape, layout.columns, 256)[0]
    levels = layout.levels if layout.type == "unsigned" else 0
    return Picture(samples_of(symbols, layout), metadata, layout.mode, levels, palette, (), coefficients)


def unpack_form(form: Form, shape: tuple[int, int], channels: int, levels: int) -> np.ndarray:
    """The samples (h, w, C) of a stored form. Raises CorruptFile."""
    if form.method not in STORED:
        raise CorruptFile(f"a table of the header is coded by an unknown method: {DAMAGED}")
    (found,) = stored.restore(form.method, form.data, [shape], channels, levels)
    return found


# ---------------------------------------------------------------------------------------------------- values


def pack_values(tables: Sequence[np.ndarray], layout: Layout) -> tuple[tuple[int, Form], ...]:
    """The tables of values of a group of planes, as they stand in a header."""
    dtype = np.uint8 if layout.levels <= 256 else np.uint16
    packed = []
    for table in tables:
        differences = np.diff(table.astype(np.int64), prepend=-1) - 1
        differences[0] = table[0]
        column = differences.astype(dtype).reshape(1, -1, 1)
        packed.append((len(table), Form(*stored.store(column, 256 if layout.levels <= 256 else 65536))))
    return tuple(packed)


def unpack_values(planes: Planes, layout: Layout) -> tuple[np.ndarray, ...]:
    """The values of each symbol, as many as a table has. Raises CorruptFile for values that are not below the levels,
    or occur twice.
    """
    return _unpack_tables(planes.values, layout.levels)


@lru_cache(64)
def _unpack_tables(values: tuple[tuple[int, Form], ...], levels: int) -> tuple[np.ndarray, ...]:
    wide, found = levels > 256, []
    for count, form in values:
        steps = unpack_form(form, (1, count), 1, 65536 if wide else 256)[0, :, 0].copy()
        steps[1:] += steps.dtype.type(1)
        table: np.ndarray = np.cumsum(steps, dtype=steps.dtype)
        if int(table.max()) >= levels or len(np.unique(table)) != count:
            raise CorruptFile(f"a table of values is impossible: {DAMAGED}")
        found.append(table)
    return tuple(found)


def numbers_of(values: np.ndarray, tables: Sequence[np.ndarray], levels: int) -> np.ndarray:
    """The symbols of values (H, W, C), all of which are in the tables."""
    out = np.empty(values.shape, np.uint8 if levels <= 256 else np.uint16)
    for c in range(values.shape[2]):
        table = tables[c if len(tables) > 1 else 0]
        inverse = np.zeros(int(table.max()) + 1, out.dtype)
        inverse[table] = np.arange(len(table))
        out[..., c] = inverse[values[..., c]]
    return out


def restored(part: Part, symbols: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The samples that stand in the picture for symbols (h, w, C) of a group of planes, so many rows and columns of
    them at most: values in place of their numbers, each as often as the scale says.

    Raises CorruptFile for symbols without a value.
    """
    planes = part.planes
    if planes.values:
        tables = unpack_values(planes, part.layout)
        found = np.empty(symbols.shape, tables[0].dtype)
        for c in range(symbols.shape[2]):
            table, channel = tables[c if len(tables) > 1 else 0], symbols[..., c]
            if int(channel.max()) >= len(table):
                raise CorruptFile(f"a sample has no value: {DAMAGED}")
            found[..., c] = table[channel]
        symbols = found
    sx, sy = planes.scale
    if sy > 1:
        symbols = symbols[np.arange(min(rows, sy * symbols.shape[0])) // sy]
    return symbols[:, np.arange(min(columns, sx * symbols.shape[1])) // sx] if sx > 1 else symbols


def tile_of(symbols: np.ndarray, channels: int) -> np.ndarray:
    """Symbols (h, w, C) as a tile (h, w, channels) of its own: of one channel, as many equal ones."""
    if symbols.shape[2] != channels:
        symbols = np.repeat(symbols, channels, axis=-1)
    return np.array(symbols, order="C")
