"""Pictures of every kind, not only photographs: our files beside the best of the codecs that hold the same samples.

    python -m bench.kinds [PICTURE_OR_FOLDER ...] [--made] [--part WORD ...] [--effort N] [--json OUT]

Metadata is left out of all files, and the pictures of a file are measured one by one. Of each: bytes of our file, which
is decoded and compared, and of each other codec that gives back the very samples (COLUMNS); a codec that cannot, or
fails, has none. A picture is of the first of the GROUPS that it fits, and each group has bars: the largest ratio of our
bytes to those of the best of some codecs, for the worst picture or on average. "webp q80" is Pillow's lossless
WebP with less searching. Peers of RGBA keep the colour under alpha 0, too. --made: also pictures made by code, of
`bench.unlike` and, with alpha or 12 and 16 bits, of this module; of photographs given, a cut-out of each as well.
--part: only pictures with one of these words in their names. Sizes depend on the versions of the libraries.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vlae_codec import api
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.errors import VlaeError
from vlae_codec.images.image import load_all
from vlae_codec.images.picture import Picture
from vlae_codec.jobs.convert import Keep
from vlae_codec.views.describe import describe

from . import unlike
from .effort import write
from .processes import machine
from .rate import listed
from .speed import rounded

Row = dict[str, Any]
COLUMNS = ("png", "webp", "webp q80", "jxl e7", "jpegls")
NAMED = {  # words in the names of pictures that are of a kind which their samples do not tell
    "screens": ("screen", "theme", "terminal", "window", "line-art", "chart", "sprites", "eurotext"),
    "palette": ("palette",),
}


class Bar(NamedTuple):
    """The most that our bytes may be of those of the best of some codecs."""

    most: float
    peers: tuple[str, ...]
    mean: bool = False  # on average, or of the worst picture


class Group(NamedTuple):
    title: str
    fits: Callable[[str, Picture], bool]
    bars: tuple[Bar, ...]


def _named(kind: str, name: str) -> bool:
    return any(word in name.lower() for word in NAMED[kind])


_FLAT = (Bar(1.01, ("webp", "png")), Bar(0.95, ("jxl e7",), mean=True))
GROUPS = (
    Group("bilevel", lambda _, x: x.mode == "1", _FLAT),
    Group("palette", lambda name, x: x.palette is not None or _named("palette", name), _FLAT),
    Group("16-bit RGB", lambda _, x: x.levels > 256 and x.channels > 2, (Bar(0.98, ("jxl e7",)),)),
    Group("9 to 16 bits grey", lambda _, x: x.levels > 256, (Bar(0.97, ("jxl e7", "jpegls")),)),
    Group("alpha", lambda _, x: x.mode in ("LA", "RGBA"), (Bar(1.0, ("webp", "jxl e7")),)),
    Group("screens and line art", lambda name, _: _named("screens", name), _FLAT),
    Group("photographs and the like", lambda *_: True, (Bar(1.0, ("jxl e7",)),)),
)


# ---------------------------------------------------------------------------------------------------- other codecs


def peers(picture: Picture) -> Iterator[tuple[str, Callable[[], Any], Callable[[bytes], np.ndarray]]]:
    """(column, what makes a file, what reads it) of each codec that may hold the samples; imagecodecs is needed."""
    import imagecodecs

    x, deep = _plain(picture), picture.levels > 256
    if picture.palette is not None:
        yield "png", partial(_indexed, picture), partial(_read_as, picture.mode)
        x = _colours(picture)
    if x.shape[2:] in ((), (1,), (2,), (3,), (4,)) and x.dtype in (np.uint8, np.uint16):
        yield "png", partial(imagecodecs.png_encode, x, level=9), imagecodecs.png_decode
        yield "jxl e7", partial(_jxl, imagecodecs, x, picture.bits), imagecodecs.jpegxl_decode
    if x.dtype == np.uint8 and not deep and max(x.shape[:2]) < 16384:
        yield "webp", partial(_webp, x, 100), partial(_read_webp, x)
        yield "webp q80", partial(_webp, x, 80), partial(_read_webp, x)
    if x.ndim == 2 and x.dtype in (np.uint8, np.uint16):
        room = 2 * x.nbytes + 4096
        yield "jpegls", partial(imagecodecs.jpegls_encode, x, level=0, out=room), imagecodecs.jpegls_decode


def _plain(picture: Picture) -> np.ndarray:
    """The samples as others take them: 1-bit ones as 0 and 255, signed ones by an offset."""
    x = picture.pixels
    if x.dtype == bool:
        return np.where(x, np.uint8(255), np.uint8(0))
    return (x.astype(np.int32) + 32768).astype(np.uint16) if x.dtype == np.int16 else np.ascontiguousarray(x)


def _colours(picture: Picture) -> np.ndarray:
    """The colours that the indices of a palette stand for."""
    assert picture.palette is not None
    table = np.zeros((256, picture.palette.shape[1]), np.uint8)
    table[: len(picture.palette)] = picture.palette
    return table[picture.pixels if picture.mode == "P" else picture.pixels[..., 0]]


def _indexed(picture: Picture) -> bytes | None:
    if picture.mode != "P" or picture.palette is None:
        return None
    image, file = Image.fromarray(picture.pixels).convert("L"), io.BytesIO()
    image.putpalette(picture.palette[:, :3].tobytes())
    options = {"transparency": picture.palette[:, 3].tobytes()} if picture.palette.shape[1] == 4 else {}
    image.save(file, "PNG", optimize=True, compress_level=9, **options)
    return file.getvalue()


def _jxl(imagecodecs: Any, x: np.ndarray, bits: int) -> bytes:
    """Told how many bits the samples have."""
    options = {"bitspersample": bits} if x.dtype == np.uint16 else {}
    return bytes(imagecodecs.jpegxl_encode(x, lossless=True, effort=7, numthreads=1, **options))


def _webp(x: np.ndarray, quality: int) -> bytes:
    three = {2: lambda: np.stack([x] * 3, -1), 3: lambda: x if x.shape[2] > 2 else x[..., [0, 0, 0, 1]]}[x.ndim]()
    file = io.BytesIO()
    Image.fromarray(three).save(file, "WEBP", lossless=True, exact=True, quality=quality, method=6)
    return file.getvalue()


def _read_webp(x: np.ndarray, data: bytes) -> np.ndarray:
    channels = 1 if x.ndim == 2 else x.shape[2]
    back = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA" if channels in (2, 4) else "RGB"))
    return back[..., 0] if x.ndim == 2 else back[..., [0, 3]] if channels == 2 else back


def _read_as(mode: str, data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))


def others(picture: Picture) -> dict[str, int]:
    """column -> bytes, of the codecs that give back the very samples; of two ways the smaller one."""
    samples = _plain(picture) if picture.palette is None else _colours(picture)
    found: dict[str, int] = {}
    for name, encode, decode in peers(picture):
        try:
            data = encode()
            if data is None or not np.array_equal(np.squeeze(decode(data)), np.squeeze(samples)):
                continue
        except Exception:  # libraries raise what they like for samples that they do not take
            continue
        found[name] = min(len(data), found.get(name, len(data)))
    return found


# ---------------------------------------------------------------------------------------------------- made pictures


def shapes(size: int, rng: unlike.Random) -> np.ndarray:
    """(size, size, 4): an icon of a few anti-aliased shapes with a soft shadow; colour under alpha 0 is 0."""
    scale, big = 4, 4 * size
    shape = Image.new("L", (big, big))
    ImageDraw.Draw(shape).rounded_rectangle((big // 8, big // 8, 7 * big // 8, 7 * big // 8), big // 6, 255)
    page = Image.new("RGBA", (big, big))
    shadow = Image.new("RGBA", (big, big), (0, 0, 0, 255))
    shadow.putalpha(shape.filter(ImageFilter.GaussianBlur(big / 30)).point(lambda v: v // 2))
    page.alpha_composite(shadow, (0, big // 40))
    face = unlike.gradient(big, big, unlike.colour(rng, 100), unlike.colour(rng, 0, 180)).convert("RGBA")
    draw = ImageDraw.Draw(face)
    for _ in range(3):
        x, y = rng.uniform(0.25, 0.6, 2) * big
        r = rng.uniform(0.08, 0.2) * big
        draw.ellipse((x, y, x + r, y + r), (*unlike.colour(rng), 255))
        draw.line((x, y, big - y, x), (*unlike.colour(rng, 180), 255), scale * size // 24)
    face.putalpha(shape)
    page.alpha_composite(face)
    x = np.array(page.resize((size, size), Image.Resampling.BOX))
    x[x[..., 3] == 0] = 0
    return x


def cut_out(photo: np.ndarray, rng: unlike.Random, clear: bool) -> np.ndarray:
    """(H, W, 4): a photo under a soft mask. clear: the colour under alpha 0 is 0, not the photo's."""
    height, width = photo.shape[:2]
    y, x = unlike.grid(height, width)
    mask = unlike.ellipse(y, x, (0, 0, 0.4, 0.3 * width / height, 20), 0.02)
    mask = unlike.blur(mask + 0.1 * unlike.fractal(height, width, rng, 1.5) * (mask > 0.02) > 0.5, 1.5)
    alpha = unlike.to_bytes(255 * mask)
    return np.dstack([np.where(alpha[..., None] > 0, photo, 0) if clear else photo, alpha]).astype(np.uint8)


def deep(name: str, bits: int) -> Picture:
    """A picture of `unlike.MAKERS` in so many bits: what an 8-bit one rounds away is noise of its own strength."""
    rng, x = unlike.random(f"{name} {bits}"), unlike.make(name).astype(float)
    fine = x + rng.normal(0, 0.6, x.shape)
    levels = 1 << bits
    pixels = (fine * (levels - 1) / 255).round().clip(0, levels - 1).astype(np.uint16)
    return Picture(pixels, levels=levels)


def made() -> Iterator[tuple[str, Callable[[], Picture]]]:
    """(name, what makes it) of each made picture."""

    def drawn(name: str) -> Picture:
        return Picture(unlike.make(name))

    def icon(size: int) -> Picture:
        return Picture(shapes(size, unlike.random(f"icon {size}")))

    def cut(clear: bool) -> Picture:
        return Picture(cut_out(unlike.make("terrain", 256, 320), unlike.random("cut"), clear))

    for name in unlike.MAKERS:
        yield name, partial(drawn, name)
    for size in (16, 32, 64, 256):
        yield f"icon-{size}", partial(icon, size)
    for name, clear in (("kept", False), ("clear", True)):
        yield f"cut-out-{name}", partial(cut, clear)
    for name in ("screenshot", "chart"):
        yield f"{name}-palette", partial(indexed, name, 64)
    yield "page-bilevel", lambda: Picture(unlike.make("scan-grey") > 150)
    for bits in (12, 16):
        for name in ("tomography", "radiograph", "terrain"):
            yield f"{name}-{bits}", partial(deep, name, bits)


def indexed(name: str, colours: int) -> Picture:
    """A picture of `unlike.MAKERS` in mode P, of so many colours at most."""
    image = Image.fromarray(unlike.make(name)).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    table = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:colours]
    return Picture(np.asarray(image), mode="P", palette=table)


# ---------------------------------------------------------------------------------------------------- measuring


def group_of(name: str, picture: Picture) -> Group:
    return next(group for group in GROUPS if group.fits(name, picture))


def measure(name: str, picture: Picture, effort: int) -> Row:
    """Bytes of a picture by all codecs, and what ours consists of. Raises VlaeError unless it comes back."""
    data = api.compress(picture.replaced(metadata={}), effort=effort, threads=1)  # verified
    info = describe(data)
    return {
        "picture": name,
        "group": group_of(name, picture).title,
        "mode": picture.mode,
        "bits": picture.bits,
        "size": list(picture.pixels.shape[1::-1]),
        "ours": len(data),
        "others": others(picture),
        "overhead": len(data) - info["items"]["data"] - info["items"]["adapter"],
        "planes": [
            {key: plane[key] for key in ("channels", "levels", "shift", "methods", "adapter") if plane[key]}
            for plane in info["planes"]
        ],
    }


def ratio(row: Row, names: Sequence[str]) -> float | None:
    """Our bytes over those of the best of some codecs, None if none of them has any."""
    sizes = [row["others"][name] for name in names if name in row["others"]]
    return row["ours"] / min(sizes) if sizes else None


def summary(rows: Sequence[Row]) -> list[Row]:
    """Of each group's bars what was reached, worst and on average."""
    found = []
    for group in GROUPS:
        mine = [row for row in rows if row["group"] == group.title]
        for bar in group.bars:
            ratios = {row["picture"]: value for row in mine if (value := ratio(row, bar.peers)) is not None}
            if not ratios:
                continue
            worst, mean = max(ratios, key=lambda name: ratios[name]), statistics.fmean(ratios.values())
            reached = mean if bar.mean else ratios[worst]
            found.append(
                {
                    "group": group.title,
                    "against": " / ".join(bar.peers),
                    "pictures": len(ratios),
                    "bar": f"{'mean' if bar.mean else 'worst'} {bar.most:.2f}",
                    "mean": mean,
                    "worst": ratios[worst],
                    "of": worst,
                    "met": reached <= bar.most,
                }
            )
    return found


def line(row: Row) -> str:
    """A row in words."""
    best = [f"{value:.3f}" if (value := ratio(row, bar.peers)) else "-" for bar in _group(row).bars]
    sizes = " ".join(f"{name} {row['others'][name]}" for name in COLUMNS if name in row["others"])
    methods = " ".join(f"{name}:{count}" for plane in row["planes"] for name, count in plane["methods"].items())
    return f"{row['picture'][:40]:40} {' '.join(best):12} ours {row['ours']} ({row['overhead']}; {methods})  {sizes}"


def _group(row: Row) -> Group:
    return next(group for group in GROUPS if group.title == row["group"])


def table(totals: Sequence[Row]) -> str:
    """A line a bar."""
    lines = [list(totals[0])] if totals else []
    for total in totals:
        lines.append([f"{v:.3f}" if isinstance(v, float) else str(v) for v in total.values()])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def pictures(paths: Sequence[Path], make: bool, parts: Sequence[str]) -> Iterator[tuple[str, Picture]]:
    """(name, picture) of all that is asked for; files that hold no picture are named and left out."""

    def wanted(name: str) -> bool:
        return not parts or any(part in name for part in parts)

    for path in listed(paths):
        if not wanted(path.name):
            continue
        try:
            found = load_all(path, keep=Keep("none").metadata)
        except VlaeError as error:
            click.echo(f"left out: {error}")
            continue
        for i, picture in enumerate(found):
            yield path.name if len(found) == 1 else f"{path.name} {i}", picture
        if make and found[0].mode == "RGB" and found[0].levels == 256 and not _named("screens", path.name):
            yield f"{path.stem}-cut-out", Picture(cut_out(found[0].pixels, unlike.random("cut"), True))
    for name, maker in made() if make else ():
        if wanted(name):
            yield name, maker()


@click.command(help=__doc__)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--made", "make", is_flag=True, help="Also pictures made by code.")
@click.option("--part", "parts", multiple=True, help="Only pictures with this word in their names.")
@click.option("--effort", default=1, show_default=True, type=click.IntRange(min(LEVELS), max(LEVELS)))
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all rows and the summary here.")
def main(paths: tuple[Path, ...], make: bool, parts: tuple[str, ...], effort: int, out: Path | None) -> None:
    rows: list[Row] = []
    for name, picture in pictures(paths, make, parts):
        rows.append(measure(name, picture, effort))
        click.echo(line(rows[-1]))
        if out is not None:
            settings = {"made": machine(), "effort": effort}
            write(out, rounded({**settings, "summary": summary(rows), "rows": rows}))
    click.echo(table(summary(rows)))


if __name__ == "__main__":
    main()
