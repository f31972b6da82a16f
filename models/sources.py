"""Source planes of training pictures: what pictures with an origin are coded as (`vlae_codec.origins`).

A picture goes one of the ways that pictures come into being: PhotoCD's luma and half-size chroma, the planes of a JPEG
file, those of a lossy WebP picture, or full-range BT.601. Every picture goes several ways, drawn by a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from vlae_codec.format.header import Kind, Planes
from vlae_codec.jpeg.parameters import standard_table
from vlae_codec.pictures.sources import luma_beside

WAYS = ("photocd", "jpeg", "webp", "plain")
SHARES = {"luma": (0.5, 0.2, 0.2, 0.1), "chroma": (0.5, 0.15, 0.25, 0.1)}  # how often a picture goes each way
VARIANTS = {"luma": 2, "chroma": 3}  # of each picture
HALVED = 0.8  # share of pictures with chroma at half size, of the ways that leave a choice


def source_planes(images: Sequence[np.ndarray], which: str, smallest: int, seed: int = 1) -> list[np.ndarray]:
    """Training pictures of the model `which`, at least `smallest` samples each way.

    luma: (h, w, 1) uint8. chroma: (h, w, 3): a chroma plane, the luma at its size, and the plane coded before it, or
    128 where it is the first. images: (H, W, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for image in images:
        for _ in range(VARIANTS[which]):
            luma, *chroma = _planes(image, rng.choice(WAYS, p=SHARES[which]), rng)
            if which == "luma":
                found.append(luma[..., None])
                continue
            near = luma
            if chroma[0].shape != luma.shape:
                half = Planes(1, 256, kind=Kind.SOURCE, geometry=3 + 32 * int(rng.integers(2)))  # cosited or not
                near = luma_beside(luma, half, (0, 0, *chroma[0].shape))
            for plane, before in ((chroma[0], np.full_like(near, 128)), (chroma[1], chroma[0])):
                found.append(np.stack([plane, near, before], axis=-1))
    return [planes for planes in found if min(planes.shape[:2]) >= smallest]


def _planes(image: np.ndarray, way: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Luma and two chroma planes (h, w) uint8, the latter whole or at half size."""
    if way == "webp":  # what a decoded picture's planes are: 16 .. 235 and 16 .. 240
        file = BytesIO()
        Image.fromarray(image).save(file, "webp", quality=int(rng.integers(50, 98)), method=2)
        image = np.asarray(Image.open(file).convert("RGB"))
    r, g, b = (image[..., c].astype(np.float64) for c in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    blue, red = (b - y) / 1.772, (r - y) / 1.402
    half = way in ("photocd", "webp") or rng.random() < HALVED
    if way == "photocd":  # film scans: soft, with grain; steps of 1.36 levels of luma
        scales, centres = (1 / 1.3584, 1.772 / 2.2179, 1.402 / 1.8215), (0, 156, 137)
    elif way == "webp":
        scales, centres = (219 / 255, 224 / 255, 224 / 255), (16, 128, 128)
    else:
        scales, centres = (1.0, 1.0, 1.0), (0, 128, 128)
    planes = [_halved(p, way == "photocd") if half and i else p for i, p in enumerate((y, blue, red))]
    rounded = [
        np.rint(p * scale + centre).clip(0, 255).astype(np.uint8) for p, scale, centre in zip(planes, scales, centres)
    ]
    if way != "jpeg":
        yield from rounded
        return
    quality = int(rng.integers(60, 99))
    for i, plane in enumerate(rounded):
        yield _through_jpeg(plane, quality, luma=i == 0)


def _halved(plane: np.ndarray, cosited: bool) -> np.ndarray:
    """A plane at half size in both directions."""
    h, w = (n // 2 * 2 for n in plane.shape)
    if cosited:
        padded = np.pad(plane[:h, :w], 1, mode="edge")
        rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)[::2, ::2]
    return plane[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))


def _through_jpeg(plane: np.ndarray, quality: int, luma: bool) -> np.ndarray:
    """A plane as the component of a JPEG file brings it back."""
    file = BytesIO()
    table = standard_table(quality if luma else 100 + quality)
    Image.fromarray(plane).save(file, "jpeg", qtables=[table.tolist()])
    return np.asarray(Image.open(file))
