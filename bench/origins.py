"""What pictures were before they were RGB: files with an origin and without, and other codecs, on the same RGB pixels.

    python -m bench.origins PICTURES... [--through WAY] [--effort N] [--without N] [--json OUT]
    python -m bench.origins PICTURES... --untouched [--repeat N] [--effort N] [--json OUT]
    python -m bench.origins PICTURES... --false COUNT [--effort N] [--json OUT]

For every picture: its origin, the share of its pixels that need no exception, where the bytes of its file go, what a
file without an origin, JPEG XL at effort 7 and lossless WebP need, and seconds to compress and decompress, with and
without an origin, on one thread. A set's rate is total bits over total subpixels. All files are decoded and compared;
the command fails if one of ours does not come back.

--through: pictures are pushed through a lossy codec, decoded and kept as PNG first: jpeg:QUALITY:SUBSAMPLING (Pillow;
444, 422 or 420), webp:QUALITY (Pillow) or h264:CRF (PyAV, one frame, 4:2:0). --untouched: pictures that have no past.
Their files may differ by 0.02 % from those for which no origin is looked for; how much longer compressing takes is told
as well, of pairs of runs one right after the other, and what share of the time of CPU the search alone has. --false:
the same of so many random crops and of made gradients and noise, none of whose files may be larger.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from vlae_codec import api
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.format import container
from vlae_codec.format.header import Kind
from vlae_codec.images.image import load
from vlae_codec.jpeg.recover import recover
from vlae_codec.origins.find import find
from vlae_codec.pictures.codec import codecs_for
from vlae_codec.pictures.decode import decode
from vlae_codec.pictures.past import LEAST
from vlae_codec.threads import workers
from vlae_codec.views.describe import describe

from . import peers
from .effort import write
from .processes import machine
from .rate import listed
from .speed import rounded, table

Row = dict[str, Any]
Push = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 through a lossy codec
PEERS = ("webp", "jxl e7")
REFERENCE = "jxl e7"
PARTS = ("luma", "chroma", "coefficients", "samples", "exceptions", "parameters")  # of a file
TOLERANCE = 0.0002  # by which the file of an untouched picture may differ from one without a search

# ---------------------------------------------------------------------------------------------------- pictures


def pushed(way: str) -> Push:
    """What takes pictures through a lossy codec and back. Raises click.BadParameter for an unknown way."""
    match way.split(":"):
        case ["jpeg", quality, ("444" | "422" | "420") as sampling] if quality.isdigit():
            return partial(_by_pillow, kind="JPEG", quality=int(quality), subsampling=f"{':'.join(sampling)}")
        case ["webp", quality] if quality.isdigit():
            return partial(_by_pillow, kind="WEBP", quality=int(quality))
        case ["h264", crf] if crf.isdigit():
            return partial(_by_h264, crf=crf)
    raise click.BadParameter(f"{way!r} is none of jpeg:QUALITY:444|422|420, webp:QUALITY and h264:CRF")


def _by_pillow(pixels: np.ndarray, kind: str, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def _by_h264(pixels: np.ndarray, crf: str) -> np.ndarray:
    """Of odd sizes the last row or column is left out: 4:2:0 frames have even ones."""
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise click.ClickException("h264 is left out, since PyAV is not installed: pip install av") from error
    height, width = (size // 2 * 2 for size in pixels.shape[:2])
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": crf})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        output.mux([*stream.encode(frame), *stream.encode()])
    file.seek(0)
    with av.open(file) as coded_file:
        (frame,) = coded_file.decode(video=0)
        return np.asarray(frame.to_ndarray(format="rgb24"))


def pictures(paths: Sequence[Path], push: Push | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (H, W, 3) uint8) of each RGB picture; others are named and left out. What was pushed was a PNG."""
    with tempfile.TemporaryDirectory() as place:
        for path in listed(paths):
            pixels = load(path).pixels
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                click.echo(f"left out, since it is not RGB of 8 bits: {path.name}")
                continue
            if push is not None:
                copy = Path(place, "copy.png")
                Image.fromarray(push(pixels)).save(copy, compress_level=1)
                pixels = load(copy).pixels
            yield path.name, pixels


def made(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """(name, pixels) of gradients, in colour, noisy and grey, and of noise."""
    for number in range(6):
        height, width = (int(size) for size in rng.integers(40, 300, 2))
        y, x = np.mgrid[:height, :width][..., None] / max(height, width)
        smooth = rng.uniform(0, 255, 3) + y * rng.normal(0, 150, 3) + x * rng.normal(0, 150, 3)
        noisy = smooth + rng.normal(0, 2.0**number / 4, smooth.shape)
        for name, values in (("", smooth), ("noisy ", noisy), ("grey ", smooth[..., [0, 0, 0]])):
            yield f"{name}gradient {number}", values.clip(0, 255).astype(np.uint8)
        yield f"noise {number}", rng.integers(0, 256 >> number, (height, width, 3), np.uint8)


def crops(paths: Sequence[Path], count: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """(name, pixels) of random crops of 16 to 512 pixels a side, as many of each picture."""
    each = list(pictures(paths))
    for number in range(count if each else 0):
        name, pixels = each[number % len(each)]
        h, w = (int(min(size, 2 ** rng.uniform(4, 9))) for size in pixels.shape[:2])
        y, x = (int(rng.integers(0, size - edge + 1)) for size, edge in zip(pixels.shape, (h, w)))
        yield f"{name} {w}x{h}+{x}+{y}", np.ascontiguousarray(pixels[y : y + h, x : x + w])


# ---------------------------------------------------------------------------------------------------- measuring


def coded(pixels: np.ndarray, effort: int, origin: str) -> tuple[bytes, Row]:
    """(file, its bytes, seconds on one thread, and a failure unless it comes back)."""
    begin = time.process_time()
    data, compress = peers.timed(
        lambda: api.compress(pixels, effort=effort, origin=origin, threads=1, device="cpu", verify=False)
    )
    cpu = time.process_time() - begin
    back, decompress = peers.timed(lambda: api.decompress(data, threads=1, device="cpu"))
    failures = int(not np.array_equal(back, pixels))
    seconds = {"compress_s": compress, "compress_cpu_s": cpu, "decompress_s": decompress}
    return data, {"bytes": len(data), **seconds, "failures": failures}


def search(pixels: np.ndarray) -> float:
    """Seconds of CPU to look for a past."""
    begin = time.process_time()
    if min(pixels.shape[:2]) >= LEAST:
        recover(pixels)
    find(pixels)
    return time.process_time() - begin


def share(data: bytes, pixels: np.ndarray) -> float:
    """Of the pixels, what comes out right without the exceptions of a file."""
    contents, parts = container.read(data), []
    for part in contents.parts:
        empty = part.planes.kind == Kind.EXCEPTIONS
        parts.append(replace(part, records=tuple(replace(r, data=b"") if empty else r for r in part.records)))
    with workers(1) as run:
        (rebuilt,) = decode(replace(contents, parts=tuple(parts)), codecs_for(contents, None, "cpu"), run)
    return float((rebuilt.pixels == pixels).all(-1).mean())


def spent(data: bytes) -> dict[str, int]:
    """Where the bytes of a file go: each of PARTS -> bytes, which add up to all."""
    found = dict.fromkeys(PARTS, 0)
    for planes in describe(data)["planes"]:
        kind = planes["kind"]
        part = ("chroma" if planes["channels"][0] else "luma") if kind == "source" else kind
        found[part] += planes["bytes"] + planes["adapter"]
    found["parameters"] = len(data) - sum(found.values())
    return found


def measure(name: str, pixels: np.ndarray, effort: int, without: int | None = None) -> Row:
    """All that the first form of the command tells of a picture. without: effort of the file without an origin."""
    plain = coded(pixels, without or effort, "none")[1]
    data, ours = coded(pixels, effort, "auto")
    found = {"picture": name, "subpixels": pixels.size, "origin": describe(data)["origins"][0]}
    others = {peer: peers.measure(codec, pixels)[0] for peer, codec in peers.peers(PEERS).items()}
    return found | {"exact": share(data, pixels), **ours, "parts": spent(data), "none": plain, "peers": others}


def compared(name: str, pixels: np.ndarray, effort: int, repeat: int) -> Row:
    """Files and seconds with a search for an origin and without, in so many pairs, every second of them reversed."""
    pairs = []
    for turn in range(repeat):
        pair = {origin: coded(pixels, effort, origin) for origin in ("auto", "none")[:: -1 if turn % 2 else 1]}
        pairs.append((pair["auto"][1], pair["none"][1]))
    found = {"picture": name, "origin": describe(pair["auto"][0])["origins"][0]}
    found |= {"bytes": pairs[0][0]["bytes"], "none": pairs[0][1]["bytes"]}
    found["times"] = [ours["compress_s"] / plain["compress_s"] for ours, plain in pairs]
    found["search"] = min(search(pixels) for _ in pairs) / min(plain["compress_cpu_s"] for _, plain in pairs)
    return found | {"failures": sum(each["failures"] for pair in pairs for each in pair)}


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """codec -> bytes, bits per subpixel and bytes relative to JPEG XL's; of ours also parts and seconds."""
    sizes = {name: [row["peers"][name] for row in rows] for name in rows[0]["peers"]}
    found: dict[str, Row] = {}
    for name, ours in {"vlae": rows, "vlae, no origin": [row["none"] for row in rows]}.items():
        sizes[name] = [row["bytes"] for row in ours]
        found[name] = {key: sum(row[key] for row in ours) for key in ("compress_s", "decompress_s", "failures")}
    found["vlae"] |= {part: sum(row["parts"][part] for row in rows) for part in PARTS}
    for name, some in sizes.items():
        total = found.setdefault(name, {"failures": some.count(0)})
        total |= {"bytes": sum(some), "bpsp": 8 * sum(some) / sum(row["subpixels"] for row in rows)}
        if sum(sizes.get(REFERENCE, [])):
            total["of JXL e7"] = sum(some) / sum(sizes[REFERENCE])
    return found


def differences(rows: Sequence[Row]) -> Row:
    """How files compare with those without a search; 'changed' ones differ by more than TOLERANCE."""
    return {
        "pictures": len(rows),
        "with an origin": sum(row["origin"] is not None for row in rows),
        "larger": sum(row["bytes"] > row["none"] for row in rows),
        "changed": sum(abs(row["bytes"] / row["none"] - 1) > TOLERANCE for row in rows),
        "not exact": sum(row["failures"] > 0 for row in rows),
        "bytes, of those without": sum(row["bytes"] for row in rows) / sum(row["none"] for row in rows),
        "median time, of that without": statistics.median(factor for row in rows for factor in row["times"]),
        "median time of CPU to look, of that to compress": statistics.median(row["search"] for row in rows),
    }


def line(row: Row) -> str:
    """A row of either kind in words."""
    origin, failed = row["origin"] or "no origin", " FAILED" if row["failures"] else ""
    if "times" in row:
        change, factor = row["bytes"] / row["none"] - 1, statistics.median(row["times"])
        sizes = f"{row['bytes']} of {row['none']} bytes ({change:+.4%})"
        times = f"{factor:.3f} of the time, {row['search']:.2%} to look"
        return f"{row['picture'][:48]:48} {sizes}, {times}, {origin}{failed}"
    parts = ", ".join(f"{name} {size}" for name, size in row["parts"].items() if size)
    others = "".join(f", {name} {size}" for name, size in {"none": row["none"]["bytes"], **row["peers"]}.items())
    rate = f"{8 * row['bytes'] / row['subpixels']:.4f} bpsp"
    return f"{row['picture'][:32]:32} {rate}; {origin}, {row['exact']:.3%} exact; {parts}{others}{failed}"


@click.command(help=__doc__)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--through", "way", help="jpeg:QUALITY:SUBSAMPLING, webp:QUALITY or h264:CRF.")
@click.option("--effort", default=1, show_default=True, type=click.IntRange(min(LEVELS), max(LEVELS)))
@click.option("--without", type=click.IntRange(min(LEVELS), max(LEVELS)), help="Effort of files without an origin.")
@click.option("--untouched", is_flag=True, help="Compare with files for which no origin is looked for.")
@click.option("--false", "count", type=click.IntRange(min=1), help="The same, of so many crops and of made pictures.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(min=1), help="Pairs for --untouched.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all rows and the summary here.")
def main(
    paths: tuple[Path, ...],
    way: str | None,
    effort: int,
    without: int | None,
    untouched: bool,
    count: int | None,
    repeat: int,
    out: Path | None,
) -> None:
    paired = untouched or count is not None
    if (way is not None) + untouched + (count is not None) > 1:
        raise click.UsageError("give one of --through, --untouched and --false")
    rng = np.random.default_rng(16)
    rows: list[Row] = []
    some = chain(crops(paths, count, rng), made(rng)) if count else pictures(paths, pushed(way) if way else None)
    for name, pixels in some:
        if not rows:
            coded(pixels[:64, :64], effort, "auto")  # weights are loaded once
        if paired:
            row = compared(name, pixels, effort, repeat if untouched else 1)
        else:
            row = measure(name, pixels, effort, without)
        rows.append(row)
        click.echo(line(row))
        if out is not None:
            total = differences(rows) if paired else summary(rows)
            settings = {"made": machine(), "effort": effort, "without": without or effort, "through": way}
            write(out, rounded({**settings, "summary": total, "rows": rows}))
    if not rows:
        raise click.UsageError("there are no RGB pictures: give some")
    if paired:
        found = differences(rows)
        click.echo("\n".join(f"{name}: {value:.5g}" for name, value in found.items()))
        raise SystemExit(1 if found["not exact"] or found["changed" if untouched else "larger"] else 0)
    totals = summary(rows)
    columns = {"bytes": ",d", "bpsp": ".4f", "of JXL e7": ".3f", "compress_s": ".1f", "decompress_s": ".1f"}
    click.echo(table("codec", totals, columns | dict.fromkeys(PARTS, ",d") | {"failures": "d"}))
    raise SystemExit(1 if any(totals[name]["failures"] for name in ("vlae", "vlae, no origin")) else 0)


if __name__ == "__main__":
    main()
