"""Makes tests/data anew: a tiny model, a few tiny pictures and their .vlae files. Run by hand, from the root:

    python tests/make_golden.py            # after a change of the format
    python tests/make_golden.py shipped    # mountains.vlae only: after a change of the shipped weights
    python tests/make_golden.py many       # many.vlae only: after a change of how pictures are chained

The first is only for a change of the format. Training is not reproducible to the bit, so the model, and with it every
golden file, will be another one; the tests then hold the codec to the new bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlae_codec import api, compress, compress_many
from vlae_codec.models.export import export
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings
from vlae_codec.models.vlae import Config

DATA = Path(__file__).parent / "data"
EXAMPLE = DATA.parent.parent / "examples" / "mountains.png"
CONFIG = Config(
    hidden=32,
    layers=1,
    mixtures=2,
    context=4,
    latents=2,
    encoder=16,
    topdown=16,
    prior_hidden=16,
    prior_mixtures=2,
    flow_steps=2,
    window=(5, 2),
)
SETTINGS = Settings(minutes=60, steps=600, batch=8, crop=48, pixels=4096, rate=4e-3, ema=0.99, free_bits=2.0)


def synthetic(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8: smooth colours under noise whose strength changes from cell to cell.

    A small window cannot guess the strength in the next cell, so that latents pay.
    """
    rng = np.random.default_rng(seed)
    size = (width, height)
    coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(float)
    strength = 2.0 ** rng.integers(-2, 6, (-(-height // 8), -(-width // 8)))
    strength = strength.repeat(8, axis=0).repeat(8, axis=1)[:height, :width, None]
    noise = rng.normal(size=(height, width, 1)) + 0.3 * rng.normal(size=(height, width, 3))
    return (smooth + strength * noise).round().clip(0, 255).astype(np.uint8)


def golden_pictures() -> dict[str, np.ndarray]:
    return {
        "colour": synthetic(53, 70, 1),  # one tile with latents
        "grey": synthetic(45, 38, 2)[..., 1],
        "strip": synthetic(8, 60, 3),  # too low for latents
        "tiles": synthetic(40, 70, 4),  # 2 x 3 tiles, of 1 to 10 lanes
        "pixel": np.array([[[255, 0, 128]]], np.uint8),  # stored
    }


def compress_golden(name: str, pixels: np.ndarray, **options: Any) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        if name == "tiles":
            patch.setattr(api, "TILE_SIZE", 32)
            patch.setattr(api, "LANE_SYMBOLS", 300)
        return compress(pixels, model=DATA / "tiny.safetensors", **options)


def many_pictures() -> list[np.ndarray]:
    """Of several sizes, in two groups."""
    return [synthetic(*shape, 10 + i) for i, shape in enumerate([(24, 20), (24, 20), (5, 7), (24, 20), (17, 30)])]


def compress_many_golden(**options: Any) -> bytes:
    return compress_many(many_pictures(), model=DATA / "tiny.safetensors", groups=2, **options)


def many() -> None:
    (DATA / "many.vlae").write_bytes(compress_many_golden())


def shipped() -> None:
    """The example of the README under the shipped weights."""
    (DATA / "mountains.vlae").write_bytes(compress(EXAMPLE))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for i in range(24):
            Image.fromarray(synthetic(160, 160, 100 + i)).save(f"{folder}/{i:02}.png")
        model = train([folder], Path(folder) / "run.ckpt", CONFIG, SETTINGS)
    export(model, DATA / "tiny.safetensors")
    for name, pixels in golden_pictures().items():
        Image.fromarray(pixels).save(DATA / f"{name}.png")
        data = compress_golden(name, pixels)
        (DATA / f"{name}.vlae").write_bytes(data)
        print(f"{name}: {pixels.shape}, {len(data)} bytes, {8 * len(data) / pixels.size:.3f} bpsp")


if __name__ == "__main__":
    if not sys.argv[1:]:
        main()
    if sys.argv[1:] != ["shipped"]:
        many()
    if sys.argv[1:] != ["many"]:
        shipped()
