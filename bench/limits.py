"""What the constants of `vlae_codec.limits` and of the container's memory estimate stand for, measured on one thread.

    python -m bench.limits PICTURE [--target NAME] [--model NAME_OR_PATH]

It prints, for the picture in colour and for its green channel, the multiply-adds a second that decoding does (`SPEED`
is below that on AVX2) and the milliseconds that 1024 symbols take, which is what one byte of a stream may ask for; then
the seconds of a tile of 2x2 pixels (`TILE_SECONDS`), and the bytes of memory of a picture of one pixel in a list
(`PICTURE_BYTES`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

import vlae_codec
from vlae_codec.coder.streams import decode, encode_chain
from vlae_codec.format import container
from vlae_codec.format.container import Method, TileRecord, parts_of
from vlae_codec.format.header import Header, Layout, Planes
from vlae_codec.images.image import load
from vlae_codec.native import library
from vlae_codec.pictures.codec import find_codec
from vlae_codec.pictures.modes import tile_of

LANE_SYMBOLS = 2**32 - 1


def pixels(x: np.ndarray, model: str | None, repeats: int = 3) -> tuple[float, float]:
    """(multiply-adds a second, milliseconds of 1024 symbols) when a picture is decoded."""
    data = vlae_codec.compress(x, model=model, effort=1, threads=1, origin="none")
    header = container.read_header(data)
    codec = find_codec(model, header.parts[0][2].model_id, "cpu", header.first.mode)
    spent = []
    for _ in range(repeats):
        begin = time.process_time()
        vlae_codec.decompress(data, model=model, threads=1)
        spent.append(time.process_time() - begin)
    return header.width * header.height * codec.model.multiply_adds / min(spent), 1024e3 * min(spent) / x.size


def tile(model: str | None, count: int = 10_000) -> float:
    """Seconds of a tile of 2x2 pixels in a chain."""
    codec = find_codec(model, None, "cpu", "RGB")
    tiles = [tile_of(x, 3) for x in np.random.default_rng(0).integers(0, 32, (count, 2, 2, 3), np.uint8)]
    record = encode_chain(codec, tiles, 3, LANE_SYMBOLS)
    begin = time.process_time()
    decode(codec, [record], [[(2, 2)] * count], 3, LANE_SYMBOLS)
    return (time.process_time() - begin) / count


def picture(count: int = 1 << 18) -> float:
    """Bytes of memory of a picture of one pixel in a list, by what Linux says of the process; 0 elsewhere."""
    header = Header.of([Layout("L", (Planes(1, 256, chains=1),))], [(0, 1, 1)] * count)
    (part,) = parts_of(header)
    data = container.write(header, [replace(part, records=(TileRecord(Method.RAW, bytes(count)),))])
    before = _most(reset=True)
    vlae_codec.decompress_many(data, threads=1)
    return (_most() - before) / count


def _most(reset: bool = False) -> int:
    """Bytes that the process has had at most; reset: since now."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


@click.command(help=__doc__)
@click.argument("path", metavar="PICTURE", type=click.Path(path_type=Path))
@click.option("--target", help="Target of the core [default: the best one].")
@click.option("--model", help="Weight file or built-in name.")
def main(path: Path, target: str | None, model: str | None) -> None:
    if target is not None:
        library.use(target)
    x = load(path).pixels
    click.echo(f"target {library.target()}")
    for name, one in (("colour", x), ("green", np.ascontiguousarray(x[..., 1]))):
        speed, spent = pixels(one, model)
        click.echo(f"{name}: {speed:.3g} multiply-adds a second, {spent:.2f} ms for 1024 symbols")
    click.echo(f"tile of 2x2 pixels: {tile(model):.2g} s")
    click.echo(f"picture of one pixel: {picture():.0f} bytes")


if __name__ == "__main__":
    main()
