"""What a picture was before it was RGB: files with and without an origin, and other codecs, on the same RGB pixels.

    python -m bench.origins PICTURES... [--through WAY] [--effort N] [--json OUT]
    python -m bench.origins PICTURES... --untouched [--effort N] [--json OUT]
    python -m bench.origins PICTURES... --false COUNT [--effort N] [--json OUT]

For every picture: its origin in words, the share of its pixels that the origin makes exactly, where the bytes go, what a
file without an origin, JPEG XL at effort 7 and lossless WebP need, and the seconds with and without an origin. All
files are decoded and compared, in bits per subpixel a set's rate is total bits over total subpixels.

--through: every picture is first pushed through a lossy codec and decoded again: jpeg:QUALITY:SUBSAMPLING (Pillow;
444, 422 or 420), webp:QUALITY (Pillow) or h264:CRF (PyAV, one frame, 4:2:0). --untouched: pictures that have no past:
how much larger or smaller files are than without looking for one, and how much longer compressing takes, in pairs run
one right after the other. --false: the same of so many random crops and of made gradients and noise, without times:
files that are larger, and such that do not come back.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from vlae_codec import api
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.images.image import load
from vlae_codec.views.describe import describe

from . import peers
from .effort import write
from .processes import machine
from .rate import listed
from .speed import rounded, table

Row = dict[str, Any]
PEERS = ("webp", "jxl e7")
REFERENCE = "jxl e7"
PARTS = ("luma", "chroma", "exceptions", "pixels", "parameters")  # of a file, which add up to it
TOLERANCE = 0.0002  # by which the file of an untouched picture may differ from one without a search
WARM_UP = np.add.outer(np.arange(96), np.arange(64))[..., None] * [1, 2, 1] % 251

# ---------------------------------------------------------------------------------------------------- pictures


def pushed(way: str) -> Callable[[np.ndarray], np.ndarray]:
    """What takes (H, W, 3) uint8 through a lossy codec and back. Raises click.BadParameter for an unknown way."""
    kind, *numbers = way.split(":")
    try:
        given = [int(number) for number in numbers]
        if kind == "jpeg" and given[1] in (444, 422, 420):
            quality, sampling = given
            return partial(_by_pillow, kind="JPEG", quality=quality, subsampling={444: 0, 422: 1, 420: 2}[sampling])
        if kind == "webp":
            (quality,) = given
            return partial(_by_pillow, kind="WEBP", quality=quality, method=4)
        if kind == "h264":
            (crf,) = given
            return partial(_by_h264, crf=crf)
    except (ValueError, IndexError):
        pass
    raise click.BadParameter(f"{way!r} is none of jpeg:QUALITY:444|422|420, webp:QUALITY and h264:CRF")


def _by_pillow(pixels: np.ndarray, kind: str, **options: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def _by_h264(pixels: np.ndarray, crf: int) -> np.ndarray:
    """Of odd sizes the last row or column is left out: 4:2:0 frames have even ones."""
    try:
        import av
    except ImportError as error:
        raise click.ClickException("h264 is left out, since PyAV is not installed: pip install av") from error
    height, width = (size // 2 * 2 for size in pixels.shape[:2])
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        (frame,) = container.decode(video=0)
        return np.asarray(frame.to_ndarray(format="rgb24"))


def pictures(paths: Sequence[Path], way: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (H, W, 3) uint8) of each RGB picture; others are named and left out. After a lossy codec it is a PNG."""
    push = pushed(way) if way else None
    with tempfile.TemporaryDirectory() as place:
        for path in listed(paths):
            pixels = load(path).pixels
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                click.echo(f"left out, since it is not RGB of 8 bits: {path.name}")
                continue
            if push is not None:
                copy = Path(place) / f"{path.stem}.png"
                Image.fromarray(push(pixels)).save(copy, compress_level=1)
                pixels = load(copy).pixels
                copy.unlink()
            yield path.name, pixels


def made(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """(name, pixels) of gradients, of noise, and of noisy gradients."""
    for number in range(6):
        height, width = (int(size) for size in rng.integers(40, 300, 2))
        y, x = np.mgrid[:height, :width] / max(height, width)
        slopes, start = rng.normal(0, 150, (2, 3)), rng.uniform(0, 255, 3)
        smooth = start + y[..., None] * slopes[0] + x[..., None] * slopes[1]
        yield f"gradient {number}", smooth.clip(0, 255).astype(np.uint8)
        noisy = smooth + rng.normal(0, 2.0**number / 4, smooth.shape)
        yield f"noisy gradient {number}", noisy.clip(0, 255).astype(np.uint8)
        yield f"grey gradient {number}", np.repeat(smooth[..., :1].clip(0, 255).astype(np.uint8), 3, 2)
        yield f"noise {number}", rng.integers(0, 256 >> number, (height, width, 3), np.uint8)


def crops(paths: Sequence[Path], count: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """(name, pixels) of random crops of 16 to 512 pixels a side, the same number of each picture."""
    each = list(pictures(paths, None))
    for number in range(count if each else 0):
        name, pixels = each[number % len(each)]
        h, w = (int(min(size, 2 ** rng.uniform(4, 9))) for size in pixels.shape[:2])
        y, x = (int(rng.integers(0, size - edge + 1)) for size, edge in zip(pixels.shape, (h, w)))
        yield f"{name} {w}x{h}+{x}+{y}", np.ascontiguousarray(pixels[y : y + h, x : x + w])


# ---------------------------------------------------------------------------------------------------- measuring


def coded(pixels: np.ndarray, effort: int, origin: str) -> tuple[bytes, Row]:
    """(file, its bytes, seconds on one thread, and 1 failure unless it comes back)."""
    options: dict[str, Any] = {"effort": effort, "origin": origin}
    data, spent = peers.timed(lambda: api.compress(pixels, threads=1, verify=False, **options))
    back, took = peers.timed(lambda: api.decompress(data, threads=1))
    failures = int(not np.array_equal(back, pixels))
    return data, {"bytes": len(data), "compress_s": spent, "decompress_s": took, "failures": failures}


def measure(name: str, pixels: np.ndarray, effort: int) -> Row:
    """All of a picture that the first form of the command tells."""
    plain = coded(pixels, effort, "none")[1]
    data, ours = coded(pixels, effort, "auto")
    others = {peer: peers.measure(codec, pixels)[0] for peer, codec in peers.peers(PEERS).items()}
    origin = describe(data)["origins"][0]
    return {"picture": name, "subpixels": pixels.size, **ours, **origin, "none": plain, "peers": others}


def compared(name: str, pixels: np.ndarray, effort: int, repeat: int = 1) -> Row:
    """Files and seconds with a search for an origin and without, in pairs."""
    pairs = []
    for turn in range(repeat):
        found = {origin: coded(pixels, effort, origin) for origin in ("auto", "none")[:: 1 - turn % 2 * 2]}
        pairs.append((found["auto"][1], found["none"][1]))
    ours, plain = pairs[0]
    return {
        "picture": name,
        "origin": describe(found["auto"][0])["origins"][0]["origin"],
        "bytes": ours["bytes"],
        "none": plain["bytes"],
        "times": [a["compress_s"] / b["compress_s"] for a, b in pairs],
        "failures": int(any(a["failures"] or b["failures"] for a, b in pairs)),
    }


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """Of our files with and without an origin and of the others: bytes, bpsp, and bytes relative to JPEG XL's."""
    if not rows:
        return {}
    subpixels = sum(row["subpixels"] for row in rows)
    sizes = {"vlae": [row["bytes"] for row in rows], "vlae, no origin": [row["none"]["bytes"] for row in rows]}
    sizes |= {name: [row["peers"][name] for row in rows] for name in rows[0]["peers"]}
    reference = sum(sizes.get(REFERENCE, []))
    found: dict[str, Row] = {}
    for name, some in sizes.items():
        found[name] = {"bytes": sum(some), "bpsp": 8 * sum(some) / subpixels, "failures": some.count(0)}
        if reference:
            found[name]["of JXL e7"] = sum(some) / reference
    for name, those in (("vlae", rows), ("vlae, no origin", [row["none"] for row in rows])):
        for direction in ("compress_s", "decompress_s"):
            found[name][direction] = sum(row[direction] for row in those)
        found[name]["failures"] = sum(row["failures"] for row in those)
    found["vlae"] |= {part: sum(row["parts"][part] for row in rows) for part in PARTS}
    return found


def differences(rows: Sequence[Row]) -> Row:
    """How files compare with those without a search; 'changed' ones differ by more than TOLERANCE."""
    if not rows:
        return {}
    return {
        "pictures": len(rows),
        "with an origin": sum(row["origin"] is not None for row in rows),
        "larger": sum(row["bytes"] > row["none"] for row in rows),
        "changed": sum(abs(row["bytes"] / row["none"] - 1) > TOLERANCE for row in rows),
        "not exact": sum(row["failures"] for row in rows),
        "bytes, of those without": sum(row["bytes"] for row in rows) / sum(row["none"] for row in rows),
        "median time, of that without": statistics.median(time for row in rows for time in row["times"]),
    }


def line(row: Row) -> str:
    """A row in words."""
    parts = ", ".join(f"{name} {row['parts'][name]}" for name in PARTS if row["parts"][name])
    others = " ".join(f"{name} {size}" for name, size in row["peers"].items())
    share = "" if row["exact"] is None else f", {row['exact']:.4%} of pixels"
    return (
        f"{row['picture'][:32]:32} {8 * row['bytes'] / row['subpixels']:.4f} bpsp, {row['origin'] or 'no origin'}{share}: "
        f"{row['bytes']} ({parts}); without {row['none']['bytes']} {others}{' FAILED' * row['failures']}"
    )


@click.command(help=__doc__)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--through", "way", help="jpeg:QUALITY:SUBSAMPLING, webp:QUALITY or h264:CRF.")
@click.option("--effort", default=1, show_default=True, type=click.IntRange(min(LEVELS), max(LEVELS)))
@click.option("--untouched", is_flag=True, help="Compare with files for which no origin is looked for.")
@click.option("--false", "count", type=click.IntRange(min=1), help="The same, of so many crops and of made pictures.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(min=1), help="Pairs for --untouched.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all rows and the summary here.")
def main(
    paths: tuple[Path, ...],
    way: str | None,
    effort: int,
    untouched: bool,
    count: int | None,
    repeat: int,
    out: Path | None,
) -> None:
    if (way is not None) + untouched + (count is not None) > 1:
        raise click.UsageError("give one of --through, --untouched and --false")
    rng = np.random.default_rng(16)
    coded(WARM_UP.astype(np.uint8), effort, "auto")  # weights are loaded once
    rows: list[Row] = []
    total: Row = {}

    def note(row: Row, text: str) -> None:
        nonlocal total
        rows.append(row)
        total = differences(rows) if untouched or count else summary(rows)
        click.echo(text)
        if out is not None:
            settings = {"made": machine(), "effort": effort, "through": way}
            write(out, rounded({**settings, "summary": total, "rows": rows}))

    some = [*crops(paths, count, rng), *made(rng)] if count else pictures(paths, way)
    for name, pixels in some:
        if untouched or count:
            row = compared(name, pixels, effort, 1 if count else repeat)
            note(
                row,
                f"{name[:40]:40} {row['bytes']} of {row['none']} bytes, {statistics.median(row['times']):.3f} of the time",
            )
        else:
            row = measure(name, pixels, effort)
            note(row, line(row))
    if untouched or count:
        click.echo("\n".join(f"{name}: {value:.5g}" for name, value in total.items()))
        failed = bool(total) and bool(total["larger"] if count else total["changed"]) or total.get("not exact", 0)
    else:
        columns = {"bytes": ",d", "bpsp": ".4f", "of JXL e7": ".3f", "compress_s": ".1f", "decompress_s": ".1f"}
        click.echo(table("codec", total, columns | dict.fromkeys(PARTS, ",d") | {"failures": "d"}))
        failed = any(each["failures"] for each in total.values())
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
