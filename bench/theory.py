"""Theory against files: what the model promised, what the streams hold, the size of the file, what the start costs.

    python -m bench.theory NAME PICTURES... [--model NAME_OR_PATH] [--grey | --binary] [--archive] [--sample N]
                           [--effort N] [--json OUT]

PICTURES: files, folders, FILE.npz or FILE.npz:KEY (`vlae_codec.models.data.load_images`), of one mode. Each is in a
file of its own; with --archive all are in one. The set is added to the JSON under its name, or replaced there. Every
picture is decoded and compared; the exit status is 1 if one did not come back. Every stream is coded with and without
latents; `compress` leaves one out where a sample of the pixels is clear, which may cost a few bytes.

\b
-ELBO  = local + KL, of the sample z that was coded
local  = -log2 p(x | z)                    of what has latents ("x given z"); by the null context, of the bands A
                                           and of tiles that have none; of stored tiles; and the adapter's bits
KL     = -log2 p(z) + log2 q(z | x)        "prior" and "posterior", which is negative
coded  = streams and adapter               their bytes in the file
file   = coded, header, tables, framing, checksums, metadata

"Over -ELBO" is file / -ELBO - 1, of the set and of its worst picture. A picture of an archive has no file of its own:
there it is the worst group, its stream and its record in the table against its share of -ELBO.

The start. Bits-back draws z from the stack, so something must lie there first, once in every stream: a tile of a
picture, which decodes on its own, or a group of an archive, in which each picture pays for the next.

\b
classic  = -log2 q(z | x) of a stream's first tile, in random bits, which carry nothing
ours     = sum over bands A of  -log2 p(x_A | null) + log2 p(x_A | z) - KL_A

The classic coder's bits come on top of -ELBO. It has no null context, so every stream is charged; if all tiles and
pictures were one chain, with no way but from one end to the other, only the first would be ("once"). Ours is
inside -ELBO: band A, or what of a chain's first pictures has no latents, is dearer than with latents. That is measured
by a second sample z of the whole tile, drawn with bits from nowhere, so there is noise of this sample on A, and where
latents do not pay in these rows the price is negative; KL_A counts the latents of A's rows, given those above. A tile
wholly without latents is charged what they would have saved, at least 0: with bits for nothing one may leave them out,
too. What the lanes' heads cost, 32 to 64 bits each, is in "coded" and the same both ways.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import click
import numpy as np

from vlae_codec import compress_many, decompress_many
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.coder.choice import Draft, draw_latents
from vlae_codec.coder.tile import TileCodec
from vlae_codec.format import container
from vlae_codec.format.chunks import pack_varint
from vlae_codec.format.container import TileRecord, tiles_of
from vlae_codec.format.header import Kind
from vlae_codec.format.streams import read_splits
from vlae_codec.models.data import find_images, load_images
from vlae_codec.native.mixture import COST_UNIT, cost
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.layout import Source, make_source
from vlae_codec.pictures.modes import symbols_of, tile_of, unpack_values
from vlae_codec.pictures.sources import Sources

from .account import Account, Terms, account, decode_source
from .effort import write
from .processes import machine
from .rate import line, measure, row, summary

Row = dict[str, Any]
LOCAL = ("x given z", "band A", "tiles without latents", "stored", "exceptions", "coefficients", "adapter")


def load(paths: Sequence[str], grey: bool, binary: bool) -> list[tuple[str, np.ndarray]]:
    """(name, (H, W, 3) uint8, (H, W) uint8 or (H, W) bool) of each picture; names may repeat."""
    found = []
    for path in find_images(paths):
        arrays = load_images([path], 1, 1 if grey or binary else 3, levels=2 if binary else 256)
        for i, x in enumerate(arrays):
            pixels = x[..., 0].astype(bool) if binary else x[..., 0] if grey else x
            found.append((path.name if len(arrays) == 1 else f"{path.name} {i}", np.ascontiguousarray(pixels)))
    return found


# ---------------------------------------------------------------------------------------------------- the start


def price(codec: TileCodec, tile: np.ndarray, split: int, coded: int) -> tuple[float, float]:
    """Bits (of the whole latent rows below `split` without latents beyond what they take with, of -log2 q(z | x)) of a
    tile (H, W, C) uint8 of one latent row or more.
    """
    rows, first = len(tile) // codec.stride * codec.stride, split // codec.stride
    draft = Draft(codec, tile, coded)
    z, spent = draw_latents(draft, rows)
    context = codec.nets.context(z, tile.shape[1])[split:]
    given = codec.pixel_codec.intervals(tile[:split], tile[split:rows], context, coded)[1]
    null = draft.below(split)[1][: rows - split]
    kl = cost(spent.freqs["prior"][first:]) - cost(spent.freqs["posterior"][first * z.shape[1] :])
    return (cost(null, coded) - cost(given, coded) - kl) / COST_UNIT, -spent.bits["posterior"]


def start(codec: TileCodec, record: TileRecord, tiles: Sequence[np.ndarray], coded: int) -> tuple[float, float]:
    """Bits (ours, classic) that the start of a stream costs."""
    ours = classic = 0.0
    splits, _ = read_splits(record, [len(tile) for tile in tiles], codec.stride)
    for i, (tile, split) in enumerate(zip(tiles, splits)):
        if len(tile) >= codec.stride and (i == 0 or split < len(tile) // codec.stride * codec.stride):
            dearer, drawn = price(codec, tile, split, coded)
            ours += dearer if split else max(dearer, 0.0)
            classic += drawn if i == 0 else 0.0
    return ours, classic


def starts(data: bytes, pictures: Sequence[np.ndarray], model: str | None) -> list[tuple[float, float]]:
    """`start` of each stream of a file of these pictures."""
    contents, sources, found = container.read(data), Sources(), []
    for part, codec in zip(contents.parts, codecs_for(contents, model, "auto")):
        beside = None
        if part.planes.kind == Kind.SOURCE:
            beside = decode_source(part, codec, sources)
            source = Source(part, {i: sources.planes[i][-1][..., None] for i, _, _ in part.pictures})
        elif codec is not None:
            symbols = {i: symbols_of(pictures[i]) for i, _, _ in part.pictures}
            tables = unpack_values(part.planes, part.layout)
            source = make_source(part.layout, part.planes, part.channel, symbols, tables)
        for record, pieces in zip(part.records, part.pieces):
            if codec is None or not record.coded or beside is not None:  # what is beside others has no latents
                found.append((0.0, 0.0))
                continue
            places = tiles_of(pieces, part.planes.tile_size)
            tiles = [tile_of(source.piece(place), codec.config["channels"]) for place in places]
            found.append(start(codec, record, tiles, part.planes.channels))
    return found


# ---------------------------------------------------------------------------------------------------- sets


def terms(parts: Sequence[Terms], adapter: float = 0.0) -> Terms:
    """Bits of the terms of -ELBO, of streams and of their file's adapter."""
    found = {"adapter": adapter} if adapter else {}
    for part in parts:
        names = {"band B": "x given z", "band A": "band A" if "band B" in part else "tiles without latents"}
        for name, bits in part.items():
            name = names.get(name, name)
            found[name] = found.get(name, 0.0) + bits
    return found


def with_start(file: Row, data: bytes, pictures: Sequence[np.ndarray], spent: Account, model: str | None) -> Row:
    """A row of `bench.rate`, its terms named as here, with `starts`."""
    begun = starts(data, pictures, model)
    ours, classic = (sum(values) for values in zip(*begun))
    figures = {"ours_bits": ours, "classic_bits": classic, "first_classic_bits": begun[0][1]}
    return {**file, "terms": terms(spent.parts, spent.adapter), **figures}


def alone(name: str, pixels: np.ndarray, model: str | None, effort: int) -> Row:
    """The row of a picture in a file of its own."""
    file, data, spent = measure(name, pixels, model, effort)
    return with_start(file, data, [pixels], spent, model)


def archive(name: str, pictures: Sequence[np.ndarray], model: str | None, effort: int) -> tuple[Row, list[Row]]:
    """(the row of a file of all pictures, those of its groups)."""
    data = compress_many(pictures, model=model, effort=effort, verify=False)
    spent = account(data, model)
    back = decompress_many(data, model=model)
    failures = sum(not np.array_equal(a, b) for a, b in zip(pictures, back)) + abs(len(pictures) - len(back))
    file = row(name, sum(x.size for x in pictures), data, spent, failures)
    groups = []
    each = zip(container.read(data).records, spent.parts, starts(data, pictures, model))
    for g, (record, part, (ours, classic)) in enumerate(each):
        size = len(record.data) + 5 + len(pack_varint(len(record.data)))  # method, length and CRC in the table
        bits = {"elbo_bits": sum(part.values()), "ours_bits": ours, "classic_bits": classic}
        groups.append({"picture": f"group {g}", "bytes": size, **bits})
    return with_start(file, data, pictures, spent, model), groups


def figures(files: list[Row], worst: Sequence[Row], pictures: int, nats: bool) -> Row:
    """What is to be said of a set. Rates are nats a picture or bits per subpixel; worst: rows of what can be worst."""
    totals = summary(files)
    subpixels, elbo = sum(r["subpixels"] for r in files), sum(r["elbo_bits"] for r in files)
    unit = log(2) / pictures if nats else 1 / subpixels
    names = list(dict.fromkeys(name for r in files for name in r["terms"]))
    bits = {name: sum(r["terms"].get(name, 0.0) for r in files) for name in names}
    items = totals["items"]
    rates = {
        "file": 8 * sum(r["bytes"] for r in files),
        "coded": 8 * (items["data"] + items["adapter"]),
        "elbo": elbo,
        "local": sum(bits.get(name, 0.0) for name in LOCAL),
        "kl": bits.get("prior", 0.0) + bits.get("posterior", 0.0),
    }

    def gap(r: Row) -> float:
        return 100 * (8 * r["bytes"] / r["elbo_bits"] - 1)

    def percent(key: str) -> Row:
        """Of -ELBO: of the set, and of the worst."""
        shares = [100 * r[key] / r["elbo_bits"] for r in worst]
        return {"percent": 100 * sum(r[key] for r in worst) / elbo, "worst_percent": max(shares)}

    return {
        "pictures": pictures,
        "subpixels": subpixels,
        "bytes": sum(r["bytes"] for r in files),
        "failures": totals["failures"],
        "unit": "nats a picture" if nats else "bits per subpixel",
        **{name: value * unit for name, value in rates.items()},
        "terms": {name: value * unit for name, value in bits.items()},
        "modes": {name: sum(r["modes"][name] for r in files) * unit for name in files[0]["modes"]},
        "items": items,
        "gap_percent": totals["gap_percent"],
        "worst": max(worst, key=gap)["picture"],
        "worst_gap_percent": max(map(gap, worst)),
        "streams": totals["tiles"],
        "latent_streams": totals["latent_tiles"],
        "stored_streams": totals["stored_tiles"],
        "start": {
            "ours": percent("ours_bits"),
            "classic": percent("classic_bits"),
            "classic_once_percent": 100 * files[0]["first_classic_bits"] / elbo,
        },
    }


@click.command(help=__doc__)
@click.argument("name")
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--model", help="Weight file or built-in name.")
@click.option("--grey", is_flag=True, help="Code the luma of colour pictures.")
@click.option("--binary", is_flag=True, help="Bilevel pictures.")
@click.option("--archive", "together", is_flag=True, help="All pictures in one file.")
@click.option("--sample", type=click.IntRange(min=1), help="Only so many pictures, evenly spread.")
@click.option("--effort", type=click.IntRange(min(LEVELS), max(LEVELS)), default=1, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Add the set to the sets of this file.")
def main(
    name: str,
    pictures: tuple[str, ...],
    model: str | None,
    grey: bool,
    binary: bool,
    together: bool,
    sample: int | None,
    effort: int,
    out: Path | None,
) -> None:
    loaded = load(pictures, grey, binary)
    if sample is not None and sample < len(loaded):
        loaded = [loaded[i * len(loaded) // sample] for i in range(sample)]
    rows: list[Row] = []
    if together:
        file, rows = archive(name, [pixels for _, pixels in loaded], model, effort)
        click.echo(line(file))
        files = [file]
    else:
        for picture, pixels in loaded:
            rows.append(alone(picture, pixels, model, effort))
            click.echo(line(rows[-1]))
        files = rows
    found = figures(files, rows, len(loaded), binary)
    click.echo(json.dumps(found, indent=2))
    if out is not None:
        contents = json.loads(out.read_text()) if out.exists() else {"sets": {}}
        settings = {"made": machine(), "model": model and Path(model).name, "effort": effort, "archive": together}
        kept = ("picture", "bytes", "elbo_bits", "ours_bits", "classic_bits")
        contents["sets"][name] = {**settings, **found, "rows": [{key: r[key] for key in kept} for r in rows]}
        write(out, contents)
    raise SystemExit(1 if found["failures"] else 0)


if __name__ == "__main__":
    main()
