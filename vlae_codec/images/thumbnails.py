"""Small lossy pictures of pictures, for people only: 8 bits, upright, without a profile."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from vlae_codec.errors import InputError
from vlae_codec.format.thumbnails import thumbnail_in
from vlae_codec.images.picture import Picture

MOST = 1024  # pixels of the longer side of a thumbnail
QUALITY = 50
_BY_PILLOW = {"CMYK": 4, "YCbCr": 3, "LAB": 3, "HSV": 3, "La": 2, "RGBa": 4}  # modes that it converts: channels
_ORIENTATION = 0x0112  # of EXIF


def make_thumbnail(picture: Picture, edge: int) -> bytes:
    """A WebP file of a picture whose longer side is at most `edge` pixels."""
    if not 1 <= edge <= MOST:
        raise InputError(f"a thumbnail of {edge} pixels cannot be made: give 1 to {MOST}")
    out = io.BytesIO()
    scaled(picture, edge).save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def scaled(picture: Picture, edge: int) -> Image.Image:
    """The picture as people see it, in mode RGB or RGBA, its longer side at most `edge` pixels."""
    image = shown(picture)
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    exif = Image.Exif()
    try:
        exif.load(picture.metadata.get("exif", b""))
        turn = exif.get(_ORIENTATION, 1)
    except Exception:  # a malformed one says nothing
        turn = 1
    image.getexif()[_ORIENTATION] = turn if isinstance(turn, int) else 1
    upright = ImageOps.exif_transpose(image)
    return Image.frombytes(upright.mode, upright.size, upright.tobytes())  # without EXIF


def shown(picture: Picture) -> Image.Image:
    """The picture in mode RGB or RGBA, samples of other than 8 bits scaled to these."""
    pixels, mode = picture.pixels, picture.mode
    if picture.palette is not None:
        indices = pixels if mode == "P" else pixels[..., 0]
        colours = picture.palette[np.minimum(indices, len(picture.palette) - 1)]
        if mode == "PA" and colours.shape[-1] == 3:
            colours = np.concatenate([colours, pixels[..., 1:]], -1)
        return Image.fromarray(np.ascontiguousarray(colours))
    grey = _eight_bits(picture)
    if mode in _BY_PILLOW:
        height, width = grey.shape[:2]
        image = Image.frombytes(mode, (width, height), grey.tobytes())
        if mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(grey)
    elif mode in ("RGB", "RGBX"):
        image = Image.fromarray(np.ascontiguousarray(grey[..., :3]))
    else:
        image = Image.fromarray(np.ascontiguousarray(grey if grey.ndim == 2 else grey[..., 0]))
    return image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")


def _eight_bits(picture: Picture) -> np.ndarray:
    pixels = picture.pixels
    if picture.levels == 256:
        return pixels
    if picture.levels:
        return (pixels.astype(np.uint32) * 255 // (picture.levels - 1)).astype(np.uint8)
    if pixels.dtype == np.int8:
        return (pixels.astype(np.int16) + 128).astype(np.uint8)
    values = pixels.astype(np.float64)
    good = np.isfinite(values)
    low, high = (values[good].min(), values[good].max()) if good.any() else (0.0, 0.0)
    span = high - low
    with np.errstate(over="ignore", invalid="ignore"):
        parts = (np.where(good, values, low) - low) / (span if 0 < span < np.inf else 1.0)
    return (255 * np.clip(np.nan_to_num(parts), 0, 1)).astype(np.uint8)


def stored_thumbnail(data: bytes) -> Image.Image | None:
    """The thumbnail in a .vlae file as a picture, if it has one that can be read."""
    found = thumbnail_in(data)
    if found is None:
        return None
    try:
        with Image.open(io.BytesIO(found), formats=["WEBP", "JPEG"]) as image:
            if max(image.size) > MOST:
                return None
            return image.convert("RGBA" if "A" in image.mode else "RGB")
    except Exception:  # whatever is wrong with it, the picture itself is still there
        return None
