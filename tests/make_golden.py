"""Makes tests/data anew: a tiny model, a few tiny pictures and their .vlae files. Run by hand, from the root:

    python tests/make_golden.py model      # the model and all of its files: after a change of what a model is
    python tests/make_golden.py files      # all but the model: after a change of the format
    python tests/make_golden.py shipped    # those of the shipped models only: after a change of their weights
    python tests/make_golden.py many       # many.vlae only: after a change of how pictures are chained
    python tests/make_golden.py adapted    # adapted.vlae only: after a change of what an adapter is
    python tests/make_golden.py kinds      # those of other kinds than 8 bits of grey or RGB

Training is not reproducible to the bit, so after the first the model, and with it every golden file, will be another
one; the tests then hold the codec to the new bytes. All are of effort 1: a fit is in floats, so the adapter of
adapted.vlae is made of integers by a formula.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlae_codec import compress, compress_many
from vlae_codec.adapter import chunk
from vlae_codec.coder.streams import encode_tile
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import Pace
from vlae_codec.format import container
from vlae_codec.format.container import TileRecord
from vlae_codec.format.header import Header, Planes
from vlae_codec.images.picture import Picture
from vlae_codec.jpeg.coefficients import Coefficients
from vlae_codec.jpeg.decode import decode
from vlae_codec.jpeg.parameters import standard_table
from vlae_codec.models.export import export
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings
from vlae_codec.models.vlae import Config
from vlae_codec.native.network import Network
from vlae_codec.origins.origin import Origin, rebuild
from vlae_codec.pictures import encode
from vlae_codec.pictures.codec import find_codec, scaled, with_adapter
from vlae_codec.pictures.layout import make_source
from vlae_codec.pictures.modes import layout_of, symbols_of
from vlae_codec.pictures.part import Tiles

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
            patch.setattr("vlae_codec.pictures.planes.TILE_SIZE", 32)
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


def write_planes(
    picture: Picture,
    groups: Sequence[tuple[TileCodec, Planes]],
    adapters: Sequence[bytes | None] = (None,),
    encode: Callable[[TileCodec, np.ndarray, int, int], TileRecord] = encode_tile,
) -> bytes:
    """The file of a picture whose groups of planes are coded by these codecs, whatever would be smaller."""
    layout, symbols, parts, channel = layout_of(picture), symbols_of(picture.pixels), [], 0
    layout = replace(layout, planes=tuple(planes for _, planes in groups))
    for (codec, planes), adapter in zip(groups, [*adapters, *[None] * len(groups)]):
        codec = scaled(codec if adapter is None else with_adapter(codec, adapter), planes)
        source = make_source(layout, planes, channel, {0: symbols})
        tiles = Tiles(source, codec.config["channels"])
        records = tuple(encode(codec, tile, planes.channels, planes.lane_symbols) for tile in tiles)
        parts.append(replace(source.part, records=records, adapter=adapter))
        channel += planes.channels
    height, width = picture.pixels.shape[:2]
    return container.write(Header((layout,), ((1, 0, width, height),)), parts)


def write_adapted(
    pixels: np.ndarray,
    payload: bytes,
    model: Path = DATA / "tiny.safetensors",
    backend: str = "cpu",
    tile_size: int = 512,
    lane_symbols: int = 32768,
) -> bytes:
    """The file of RGB pixels under an adapter, whether or not it pays."""
    codec = find_codec(model, None, backend, "RGB")
    planes = Planes(3, 256, codec.model.id, tile_size=tile_size, lane_symbols=lane_symbols)
    return write_planes(Picture(pixels), [(codec, planes)], [payload])


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
        "luma": pixels[140:215, 200:280, 1],
        "mnist-binary": pixels[120:180, 120:190, 1] > 110,
    }


def pasts() -> dict[str, Picture]:
    """Tiny pictures with an origin, made by its formula; some pixels are something else."""
    smooth, rng = synthetic(72, 88, 41), np.random.default_rng(42)
    small = np.ascontiguousarray(smooth[::2, ::2])
    found = {}
    for name, origin in (
        ("photocd", Origin("photocd", "photocd", (2, 2), (0, 1))),
        ("webp", Origin("webp", "triangle", (2, 2))),
        ("values", Origin("jfif")),
    ):
        sizes = origin.sizes(88, 72)
        shades = [smooth[..., 1] // 2 + 40, small[..., 0] // 8 + 130, small[..., 2] // 8 + 110]
        if name == "values":
            shades = [smooth[..., 1] // 2 + 40, smooth[..., 0] // 8 + 110, smooth[..., 2] // 8 + 110]
        planes = [np.ascontiguousarray(shade[:h, :w]) for shade, (w, h) in zip(shades, sizes)]
        pixels = rebuild(origin, planes, 88, 72)
        pixels[20:24, 30:37] = rng.integers(0, 256, (4, 7, 3))
        found[name] = Picture(pixels)
    steps = standard_table(70), standard_table(170)
    blocks = [rng.integers(-3, 4, (h, w, 64)).astype(np.int16) for h, w in ((9, 11), (5, 6), (5, 6))]
    for one in blocks:
        one[..., 20:] = 0
    coefficients = Coefficients(88, 72, ((2, 2), (1, 1), (1, 1)), (*steps, steps[1]), tuple(blocks))
    pixels = decode(coefficients)
    pixels[5, 6] ^= 5
    return found | {"jpeg": Picture(pixels, coefficients=coefficients)}


def compress_past(name: str, **options: Any) -> bytes:
    return compress(pasts()[name], effort=1, origin="values" if name == "values" else "auto", **options)


def learning_picture(deep: bool = False) -> Picture:
    """A part of the README's example, of several steps; deep: of 12 bits of grey that are made of it."""
    part = np.ascontiguousarray(np.array(Image.open(EXAMPLE))[100:150, 60:124])
    return Picture(11 * part[..., 1].astype(np.uint16) + 5 * part[..., 0], levels=4096) if deep else Picture(part)


def write_learning(deep: bool = False) -> bytes:
    """Its file under `photo-learner` and an adapter, learning at half the rate; deep: `luma-learner`, a shift, the
    whole rate.
    """
    codec = find_codec("luma-learner" if deep else "photo-learner", None, "cpu", "L" if deep else "RGB")
    adapter = chunk.pack(some_adapter(codec.model.local, [1] * len(codec.model.local.layers), 2), codec.model.tables)
    planes = Planes(1, 4096, codec.model.id, 1) if deep else Planes(3, 256, codec.model.id)
    return write_planes(learning_picture(deep), [(codec, replace(planes, pace=Pace(0 if deep else 1)))], [adapter])


def shipped() -> None:
    """The example of the README under its model, and parts of it under the others, two learning; pictures with an
    origin."""
    (DATA / "learning.vlae").write_bytes(write_learning())
    (DATA / "learning-deep.vlae").write_bytes(write_learning(deep=True))
    (DATA / "mountains.vlae").write_bytes(compress(EXAMPLE, effort=1))
    for name in pasts():
        data = compress_past(name)
        (DATA / f"past-{name}.vlae").write_bytes(data)
        print(f"past-{name}: {len(data)} bytes")
    for name, pixels in shipped_pictures().items():
        Image.fromarray(pixels).save(DATA / f"{name}.png")
        data = compress(pixels, model=name, effort=1)
        (DATA / f"{name}.vlae").write_bytes(data)
        print(f"{name}: {pixels.shape}, {len(data)} bytes")


# ---------------------------------------------------------------------------------------------------- kinds


def kinds() -> dict[str, list[Picture]]:
    """Tiny pictures of other kinds than 8 bits of grey or RGB."""
    base = synthetic(20, 26, 31)
    grey = base[..., 1].astype(np.int64)
    rng = np.random.default_rng(32)
    slope = 40 * np.add.outer(np.arange(20), np.arange(26)) + 9 * grey // 4
    noise = rng.integers(0, 32, slope.shape)
    alpha = np.clip(12 * np.add.outer(np.arange(20), np.arange(26)) - 100, 0, 255).astype(np.uint8)
    palette = (np.arange(48) * 37 % 256).astype(np.uint8).reshape(16, 3)
    still = synthetic(16, 16, 33)
    frames = [still.copy() for _ in range(3)]
    for i, frame in enumerate(frames):
        frame[4 * i : 4 * i + 3, 2:6] += np.uint8(40)
    timed = [{"frame": f"delay={i + 1}/10".encode()} for i in range(3)]
    return {
        "deep": [Picture((slope + noise).astype(np.uint16), {"icc": b"profile"}, levels=4096)],
        "deep-rgb": [Picture((base[:12, :14].astype(np.uint16) << 7) + rng.integers(0, 99, (12, 14, 3), np.uint16))],
        "alpha": [Picture(np.concatenate([base, alpha[..., None]], axis=2))],
        "palette": [Picture((grey // 16).astype(np.uint8), mode="P", palette=palette)],
        "mapped": [Picture(np.round(grey / 255 * 40).astype(np.uint8) * 6)],
        "frames": [Picture(frame, metadata) for frame, metadata in zip(frames, timed)],
        "signed": [Picture((slope + noise - 800).astype(np.int16))],
        "floats": [Picture((slope / 7 - 60).astype(np.float32))],
        "blocks": [Picture(base[:8, :9].repeat(3, axis=0).repeat(2, axis=1)[:, :17])],
        "mixed": [
            Picture(grey[:9, :12].astype(np.uint8)),
            Picture(base[:7, :9], {"xmp": b"packet"}),
            Picture(grey[:8, :12] > 127),
            Picture(grey[3:12, :12].astype(np.uint8)),
            Picture((slope + noise)[:6, :5].astype(np.uint16)),
            Picture(grey[:9, 5:17].astype(np.uint8), {"xmp": b"packet"}),
        ],
    }


def compress_kind(name: str, **options: Any) -> bytes:
    """The file of some of `kinds`. Alpha has a model of its own, and a picture of 12 bits a shift."""
    pictures, tiny = kinds()[name], DATA / "tiny.safetensors"
    if name == "alpha":
        first, second = find_codec(tiny, None, "cpu", "RGB"), find_codec("luma", None, "cpu", "L")
        planes = [Planes(3, 256, first.model.id), Planes(1, 256, second.model.id, tile_size=16)]
        return write_planes(pictures[0], list(zip((first, second), planes)))
    if name == "mixed":
        return compress_many(pictures, model=None, groups=2, effort=1, **options)
    return compress(pictures, model=tiny, effort=1, **options)


def other_kinds() -> None:
    for name in kinds():
        data = compress_kind(name)
        (DATA / f"{name}.vlae").write_bytes(data)
        print(f"{name}: {len(data)} bytes")


def files() -> None:
    for name, pixels in golden_pictures().items():
        Image.fromarray(pixels).save(DATA / f"{name}.png")
        data = compress_golden(name, pixels)
        (DATA / f"{name}.vlae").write_bytes(data)
        print(f"{name}: {pixels.shape}, {len(data)} bytes, {8 * len(data) / pixels.size:.3f} bpsp")
    for part in (many, adapted, shipped, other_kinds):
        part()


def model() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for i in range(24):
            Image.fromarray(synthetic(160, 160, 100 + i)).save(f"{folder}/{i:02}.png")
        found = train([folder], Path(folder) / "run.ckpt", CONFIG, SETTINGS)
    export(found, DATA / "tiny.safetensors")
    files()


if __name__ == "__main__":
    parts = {"model": model, "files": files, "many": many, "adapted": adapted, "shipped": shipped, "kinds": other_kinds}
    for part in sys.argv[1:] or sys.exit(str(__doc__)):
        parts[part]()
