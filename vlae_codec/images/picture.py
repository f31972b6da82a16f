"""A picture in memory: samples, what they mean, and the metadata that travels along."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.format.header import CHANNELS
from vlae_codec.jpeg.coefficients import Coefficients

UNSIGNED = (np.uint8, np.uint16)  # whose samples the models code
KINDS = (*UNSIGNED, np.int8, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64)
_BY_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Picture:
    """A picture, or one frame or page of several.

    pixels: (H, W), or (H, W, C) where the mode has several channels. bool in mode 1; uint8, uint16, int8, int16,
    uint32, int32, float16, float32 or float64 in others.
    metadata: by key; "icc", "exif", ... as `pictures.metadata` says.
    mode: one of `CHANNELS`; by default what the shape says, with 2 channels LA, with 4 RGBA.
    levels: unsigned samples of 8 and 16 bits are 0 .. levels - 1: 2 to the power of the bits a sample, or the maximum
    value of a file plus 1. 2 in mode 1, 0 for all other types. By default what the type can hold.
    palette: (n, 3) or, with alpha, (n, 4) uint8, 1 <= n <= 256, in modes P and PA only; samples may be n or more.
    notes: what was lost when the picture was read, a phrase each.
    coefficients: those of the JPEG that the picture is, if that is known.
    """

    pixels: np.ndarray
    metadata: dict[str, bytes] = field(default_factory=dict)
    mode: str = ""
    levels: int = 0
    palette: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    coefficients: Coefficients | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        pixels, mode = self.pixels, self.mode
        if not mode:
            channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
            mode = "1" if pixels.dtype == bool else _BY_CHANNELS.get(channels, "bands")
        default = 2 if pixels.dtype == bool else 1 << 8 * pixels.itemsize if pixels.dtype in UNSIGNED else 0
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "levels", self.levels or default)

    @property
    def channels(self) -> int:
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[2])

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return (self.levels - 1).bit_length() if self.levels else 8 * self.pixels.itemsize

    def replaced(self, **changes: Any) -> Picture:
        """The picture with other values of some fields."""
        return replace(self, **changes)


def check_picture(picture: Picture) -> Picture:
    """The picture with its pixels as a contiguous array in native byte order, if it is one. Raises UnsupportedImage."""
    pixels, mode = np.asarray(picture.pixels), picture.mode
    form = f"an array of {pixels.dtype} {pixels.shape}"
    if pixels.ndim not in (2, 3) or (pixels.dtype != bool and pixels.dtype.newbyteorder("=") not in KINDS):
        raise UnsupportedImage(
            f"{form} is no picture: give (H, W) or (H, W, C) of bool, uint8, uint16, int8, int16, uint32, int32, or "
            "a float type"
        )
    if pixels.size == 0:
        raise UnsupportedImage(f"a picture of shape {pixels.shape} has no pixels: give at least one")
    if mode not in CHANNELS:
        raise UnsupportedImage(f"{mode!r} is no mode of pictures: use one of {', '.join(CHANNELS)}")
    channels, several = CHANNELS[mode], pixels.ndim == 3
    if (channels or picture.channels) != picture.channels or several != (channels != 1) or picture.channels > 255:
        raise UnsupportedImage(f"{form} does not fit the mode {mode}: give an array of its channels, at most 255")
    if (mode == "1") != (pixels.dtype == bool):
        raise UnsupportedImage(f"{form} does not fit the mode {mode}: mode 1 is of bool, and no other is")
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8) != 0  # of a view of other data a True may be any byte
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    _check_levels(picture, pixels)
    palette = picture.palette
    if (palette is not None) != (mode in ("P", "PA")):
        raise UnsupportedImage(f"the mode {mode} {'has no' if palette is not None else 'needs a'} palette")
    if palette is not None:
        palette = np.ascontiguousarray(palette)
        if palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] not in (3, 4) or len(palette) > 256:
            raise UnsupportedImage("a palette is (n, 3) or (n, 4) uint8, n at most 256")
        if pixels.dtype != np.uint8:
            raise UnsupportedImage(f"indices of a palette are of uint8, not {pixels.dtype}")
    return picture.replaced(pixels=pixels, palette=palette)


def _check_levels(picture: Picture, pixels: np.ndarray) -> None:
    """Raises UnsupportedImage for samples of `levels` or more."""
    if pixels.dtype in UNSIGNED:
        most = 1 << 8 * pixels.itemsize
        if not 2 <= picture.levels <= most:
            raise UnsupportedImage(f"samples of {pixels.dtype} have 2 to {most} levels, not {picture.levels}")
        if picture.levels < most and int(pixels.max()) >= picture.levels:
            raise UnsupportedImage(f"a sample is {int(pixels.max())}, but there are {picture.levels} levels")
    elif picture.levels != (2 if pixels.dtype == bool else 0):
        raise UnsupportedImage(f"samples of {pixels.dtype} have no number of levels")
