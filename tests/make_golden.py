"""Makes tests/data anew: a tiny model, a few tiny pictures and their .vlae files. Run by hand, from the root:

    python tests/make_golden.py            # after a change of the format
    python tests/make_golden.py shipped    # those of the shipped models only: after a change of their weights
    python tests/make_golden.py many       # many.vlae only: after a change of how pictures are chained
    python tests/make_golden.py adapted    # adapted.vlae only: after a change of what an adapter is

The first is only for a change of the format. Training is not reproducible to the bit, so the model, and with it every
golden file, will be another one; the tests then hold the codec to the new bytes. All are of effort 1: a fit is in
floats, so the adapter of adapted.vlae is made of integers by a formula.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlae_codec import compress, compress_many
from vlae_codec.adapter import chunk
from vlae_codec.coder.streams import encode_tile
from vlae_codec.format import container
from vlae_codec.models.export import export
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings
from vlae_codec.models.vlae import Config
from vlae_codec.native.network import Network
from vlae_codec.pictures import encode
from vlae_codec.pictures.codec import find_codec, with_adapter
from vlae_codec.pictures.encode import Source, Tiles

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
            patch.setattr(encode, "TILE_SIZE", 32)
            patch.setattr(encode, "LANE_SYMBOLS", 300)
        return compress(pixels, model=DATA / "tiny.safetensors", effort=1, **options)


def many_pictures() -> list[np.ndarray]:
    """Of several sizes, in two groups."""
    return [synthetic(*shape, 10 + i) for i, shape in enumerate([(24, 20), (24, 20), (5, 7), (24, 20), (17, 30)])]


def compress_many_golden(**options: Any) -> bytes:
    return compress_many(many_pictures(), model=DATA / "tiny.safetensors", groups=2, effort=1, **options)


def some_adapter(network: Network, ranks: list[int], most: int = 6, salt: int = 1) -> chunk.Adapter:
    """Numbers -most .. most that look random, by a linear congruential generator."""
    state = salt

    def numbers(*shape: int) -> np.ndarray:
        nonlocal state
        found = []
        for _ in range(int(np.prod(shape))):
            state = (1103515245 * state + 12345) % 2**31
            found.append((state >> 16) % (2 * most + 1) - most)
        return np.array(found, np.int8).reshape(shape)

    groups, units = [], []
    for layer, rank in zip(network.layers, ranks, strict=True):
        inputs, outputs = len(layer.weight), layer.multiplier.size
        groups += [numbers(inputs, rank), numbers(rank, outputs), numbers(outputs)]
        units.append((-4, -1) if layer.weight.shape[1] == outputs else (3, 0))
    return chunk.from_groups(groups, units)


def write_adapted(
    pixels: np.ndarray,
    payload: bytes,
    model: Path = DATA / "tiny.safetensors",
    backend: str = "cpu",
    tile_size: int = 512,
    lane_symbols: int = 32768,
) -> bytes:
    """The file of RGB pixels under an adapter, whether or not it pays."""
    codec = with_adapter(find_codec(model, None, backend, "RGB"), payload)
    header = container.Header(pixels.shape[1], pixels.shape[0], "RGB", codec.model.id, tile_size, lane_symbols)
    tiles = [encode_tile(codec, tile, 3, lane_symbols) for tile in Tiles(Source([pixels], header, None, {}), 3)]
    return container.write(header, tiles, adapter=payload)


def adapted_payload() -> bytes:
    model = find_codec(DATA / "tiny.safetensors", None, "cpu", "RGB").model
    return chunk.pack(some_adapter(model.local, [2, 3]), model.tables)


def adapted() -> None:
    """colour.png under an adapter."""
    pixels = np.array(Image.open(DATA / "colour.png"))
    (DATA / "adapted.vlae").write_bytes(write_adapted(pixels, adapted_payload()))


def many() -> None:
    (DATA / "many.vlae").write_bytes(compress_many_golden())


def shipped_pictures() -> dict[str, np.ndarray]:
    """Parts of the README's example, by the models that code them."""
    pixels = np.array(Image.open(EXAMPLE))
    return {
        "cifar10": pixels[96:160, 40:112],
        "photo-gray": pixels[120:195, 200:280, 1],
        "mnist-binary": pixels[120:180, 120:190, 1] > 110,
    }


def shipped() -> None:
    """The example of the README under its model, and parts of it under the others."""
    (DATA / "mountains.vlae").write_bytes(compress(EXAMPLE, effort=1))
    for name, pixels in shipped_pictures().items():
        Image.fromarray(pixels).save(DATA / f"{name}.png")
        data = compress(pixels, model=name, effort=1)
        (DATA / f"{name}.vlae").write_bytes(data)
        print(f"{name}: {pixels.shape}, {len(data)} bytes")


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
    parts = {"many": many, "adapted": adapted, "shipped": shipped}
    if not sys.argv[1:]:
        main()
    for part in sys.argv[1:] or parts:
        parts[part]()
