"""Our models and other codecs on the same pictures: sizes, speeds, and whether every picture came back.

Each picture goes through each codec once and back, is compared, and only then counts. Before the first picture of a
mode a codec gets a small made one, untimed: so imports and loading weights are in no figure, and neither is
the comparing. A codec that lost a picture, or raised an error, has failures and no other figures: no rate of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.errors import ImageTooLarge, InputError, UnsupportedImage
from vlae_codec.images.image import load
from vlae_codec.jobs import plan
from vlae_codec.pictures.codec import codes
from vlae_codec.weights.model import find_model

from . import peers, speed
from .account import first_model
from .processes import machine

REFERENCE = "jxl e7"
NO_PEERS = "the other codecs are left out, since imagecodecs is not installed: pip install 'vlae-codec[bench]'"
COLUMNS = {  # figure -> heading, format; a codec with failures has only the last two
    "bytes": ("bytes", ",d"),
    "bpsp": ("bpsp", ".4f"),
    "over_reference": ("of JXL e7", ".3f"),
    "encode_MBps": ("encode MB/s", ".2f"),
    "decode_MBps": ("decode MB/s", ".2f"),
    "pictures": ("pictures", "d"),
    "failures": ("failed", "d"),
}
Row = dict[str, Any]


class Codec(NamedTuple):
    name: str
    coder: peers.Peer
    warm: peers.Peer  # the same code, run on a small picture
    ours: bool = False
    model: str | None = None  # of ours, as it was asked for
    codes: Callable[[str], bool] = lambda mode: True  # whether it codes pictures of a mode


class Sample(NamedTuple):
    """A picture and the file that one of our codecs made of it."""

    picture: str
    codec: str
    pixels: np.ndarray
    data: bytes
    model: str | None  # as it was asked for


class Comparison:
    """What was measured so far.

    rows: of each picture its name, mode, size, and of each codec bytes, seconds and, of ours, the model's id; or, under
    "failed", why it has none of these. skipped: why pictures were left out. sample: of the first picture, if ours is.
    """

    def __init__(self, codecs: Sequence[Codec], threads: int) -> None:
        self.codecs, self.threads = codecs, threads
        self.rows: list[Row] = []
        self.skipped: list[str] = []
        self.sample: Sample | None = None

    def summary(self) -> dict[str, Row]:
        """codec -> totals over the pictures that it codes (`summary`)."""
        return {codec.name: summary(self.rows, codec.name) for codec in self.codecs}

    def failed(self) -> bool:
        """Whether one of ours lost a picture."""
        return any(failures(self.rows, codec.name) for codec in self.codecs if codec.ours)

    def conditions(self) -> str:
        """What the figures are of, in a line."""
        count, subpixels = len(self.rows), sum(row["subpixels"] for row in self.rows)
        return (
            f"{count} {'picture' if count == 1 else 'pictures'}, {subpixels:,} subpixels; "
            f"vlae on {self.threads} {'thread' if self.threads == 1 else 'threads'}, the others on 1; MB/s of raw "
            "pixels, a byte a subpixel, without start-up and verifying; 'of JXL e7': of its bytes on the "
            "same pictures"
        )

    def contents(self, program: str) -> Row:
        """All of it as JSON types, with the machine and the command line."""
        settings: Row = {"threads": self.threads, "threads of the others": 1, "conditions": self.conditions()}
        settings["others"] = {codec.name: peers.SETTINGS.get(codec.name, "") for codec in self.codecs if not codec.ours}
        figures = {"settings": settings, "summary": self.summary(), "skipped": self.skipped, "rows": self.rows}
        return speed.rounded({"made": machine(program), **figures})


# ---------------------------------------------------------------------------------------------------- codecs


def ours(
    efforts: Sequence[int], models: Sequence[str], threads: int, origins: Sequence[str] = ("auto",)
) -> list[Codec]:
    """Our codec at each effort, with each model (none: of each picture the one that `compress` takes), looking for an
    origin or not.

    Raises InputError or WeightsError for a model that there is not, InputError for two of one name.
    """
    codecs = []
    for model in dict.fromkeys(models) or [None]:
        name = "vlae" if model is None else f"vlae {Path(model).name.removesuffix('.safetensors')}"
        fits = (lambda mode: True) if model is None else partial(codes, find_model(model).config)
        for effort, origin in product(sorted(set(efforts)), dict.fromkeys(origins)):
            coder, warm = (speed.ours(e, "cpu", threads, model, origin=origin) for e in (effort, min(effort, 2)))
            label = f"{name} e{effort}" + (" without origins" if origin == "none" else "")
            codecs.append(Codec(label, coder, warm, True, model, fits))
    if len({codec.name for codec in codecs}) < len(codecs):
        raise InputError("two of the models have one name: rename a weight file")
    return codecs


def others(names: Sequence[str] = peers.NAMES) -> list[Codec]:
    """The other codecs, each on one thread. Empty without imagecodecs."""
    return [Codec(name, peer, peer) for name, peer in peers.peers(names).items()]


# ---------------------------------------------------------------------------------------------------- measuring


def compare(
    files: Sequence[tuple[Path, str]],
    codecs: Sequence[Codec],
    threads: int,
    watch: Callable[[float, str], None] = lambda done, label: None,
    save: Callable[[Comparison], None] = lambda found: None,
) -> Comparison:
    """The pictures in files, each with the name that it goes by, by all codecs; ours were made for so many threads.

    watch: told how many pictures are done, also in part, and what comes next; save: given what is there after each.
    What cannot be read, and what our codec does not code (palettes and the like), is skipped. Raises InputError when
    nothing is left.
    """
    found, warmed = Comparison(codecs, threads), set()
    for index, (path, name) in enumerate(files):
        try:
            picture = load(path)
        except (InputError, UnsupportedImage, ImageTooLarge) as error:
            found.skipped.append(str(error))
            continue
        height, width = picture.pixels.shape[:2]
        row = {"picture": name, "mode": picture.mode, "width": width, "height": height}
        row |= {"subpixels": picture.pixels.size, "codecs": {}}
        for turn, codec in enumerate(codecs):
            if not codec.codes(picture.mode):
                continue
            watch(index + turn / len(codecs), f"{name}, {codec.name}")
            if (codec.name, picture.mode) not in warmed:
                measure(codec.warm, view(practice(picture.mode), codec))
                warmed.add((codec.name, picture.mode))
            row["codecs"][codec.name], data = measure(codec.coder, view(picture.pixels, codec))
            if codec.ours and data is not None:
                row["codecs"][codec.name]["model"] = first_model(data)
                if not found.rows:
                    found.sample = Sample(name, codec.name, picture.pixels, data, codec.model)
        found.rows.append(row)
        save(found)
    if not found.rows:
        others = f" (and {len(found.skipped) - 1} more like it)" if len(found.skipped) > 1 else ""
        raise InputError(f"none of the pictures can be coded: {found.skipped[0]}{others}")
    return found


def measure(coder: peers.Peer, pixels: np.ndarray) -> tuple[Row, bytes | None]:
    """(bytes and seconds of a picture, its file), or, if it did not come back, (why, None)."""
    given = pixels.copy()  # whatever is done to it, the picture stays
    try:
        data, encode_s = peers.timed(partial(coder.encode, given))
        back, decode_s = peers.timed(partial(coder.decode, data))
        exact = back.dtype == pixels.dtype and peers.same(back, pixels)
    except Exception as error:  # libraries raise what they like
        return {"failed": " ".join(f"{type(error).__name__}: {error}".split())}, None
    if not exact:
        return {"failed": "another picture came back"}, None
    return {"bytes": len(data), "encode_s": encode_s, "decode_s": decode_s}, bytes(data)


def view(pixels: np.ndarray, codec: Codec) -> np.ndarray:
    """The pixels as the codec takes them: 1-bit pictures are grey ones of 0 and 255 to the others."""
    return pixels if codec.ours or pixels.dtype != bool else np.where(pixels, np.uint8(255), np.uint8(0))


def practice(mode: str) -> np.ndarray:
    """A picture of 256x256 pixels of a mode, which takes the coder through latents, and mostly an adapter, too."""
    rng = np.random.default_rng(0)
    if mode == "1":
        sums = rng.normal(size=(264, 264)).cumsum(0).cumsum(1)
        return sums[8:, 8:] - sums[8:, :-8] - sums[:-8, 8:] + sums[:-8, :-8] > 8
    strength = 2.0 ** rng.integers(-2, 4, (32, 32)).repeat(8, 0).repeat(8, 1)
    noise = rng.normal(size=(256, 256, 3)) * strength[..., None]
    ramp = np.add.outer(np.arange(256), np.arange(256))[..., None] / 2
    pixels = (ramp + 2 * noise[..., :1] + noise / 4).clip(0, 255).astype(np.uint8)
    return pixels if mode == "RGB" else pixels[..., 0].copy()


# ---------------------------------------------------------------------------------------------------- figures


def failures(rows: Sequence[Row], name: str) -> list[tuple[str, str]]:
    """(picture, why the codec lost it) of each that it lost."""
    parts = ((row["picture"], row["codecs"].get(name, {})) for row in rows)
    return [(picture, part["failed"]) for picture, part in parts if "failed" in part]


def summary(rows: Sequence[Row], name: str) -> Row:
    """A codec's totals over its pictures, as in COLUMNS; with failures only the number of these and of the pictures.

    Its bytes over those of JPEG XL e7 are there where that lost none of these pictures.
    """
    mine = [row for row in rows if name in row["codecs"]]
    total: Row = {"pictures": len(mine), "failures": len(failures(rows, name))}
    if not mine or total["failures"]:
        return total
    sums = {key: sum(row["codecs"][name][key] for row in mine) for key in ("bytes", "encode_s", "decode_s")}
    raw = sum(row["subpixels"] for row in mine)
    total |= {"bytes": sums["bytes"], "bpsp": 8 * sums["bytes"] / raw}
    total |= {f"{way}_MBps": raw / sums[f"{way}_s"] / 1e6 for way in speed.WAYS}
    reference = [row["codecs"].get(REFERENCE, {}).get("bytes") for row in mine]
    if None not in reference:
        total["over_reference"] = sums["bytes"] / sum(reference)
    return total


def table(totals: dict[str, Row]) -> str:
    """A line a codec."""
    headings = dict(COLUMNS.values())
    rows = {
        name: {COLUMNS[key][0]: value for key, value in total.items() if key in COLUMNS}
        for name, total in totals.items()
    }
    return speed.table("codec", rows, headings)


def named(sources: Sequence[str], first: int | None = None) -> list[tuple[Path, str]]:
    """The first pictures of files and folders, each with the name that it goes by. Raises InputError if there are none.

    Of several sources, one may be named like a picture of another: there the source is part of the name.
    """
    files: list[tuple[Path, str]] = []
    for source in sources:
        place = Path(source).resolve().name if len(sources) > 1 and Path(source).is_dir() else ""
        found = plan.listed([source], plan.PICTURES).files
        files += [(path, str(Path(place, name))) for path, name in found]
    return files[:first]
