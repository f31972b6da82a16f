"""The plots of the bench's page, as SVG to put into it, with matplotlib.

Text and axes take the page's own colour, so that they are legible in light and dark; a codec has one colour and one
marker everywhere, the colour being that of its family.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy as np
from PIL import Image

INK = "#010203"  # stands for the page's colour until the SVG is done
COLOURS = {  # family -> one that is legible on white and on black
    "vlae": "#2f7fd6",
    "jxl": "#dd6b20",
    "webp": "#2f9e5f",
    "avif": "#b05fc4",
    "jpeg2000": "#c9425f",
    "jpegls": "#1f9ba3",
    "png": "#8a8f98",
    "qoi": "#9a8520",
}
MARKERS = "osD^vPX*p<h>"
STYLE: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "bench",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
WIDTH = 4.4  # inches: on a narrow screen text is then as large as asked for
NAMED = 60  # pictures that get a line of their own
Row = dict[str, Any]
Look = dict[str, str]


def looks(names: Sequence[str]) -> dict[str, Look]:
    """codec -> colour and marker."""
    colours = [COLOURS.get(name.split()[0], INK) for name in names]
    return {name: {"color": colour, "marker": marker} for name, colour, marker in zip(names, colours, cycle(MARKERS))}


def rates(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Bits per subpixel of each picture (a line of the plot, the smallest at the top) by each codec."""
    best = [min((rate for name in names if (rate := rate_of(row, name)) is not None), default=0.0) for row in rows]
    order = [rows[i] for i in np.argsort(best, kind="stable")]
    height = 1.7 + 0.2 * min(max(len(rows), 4), NAMED)
    with _figure(height) as (figure, axes):
        for name, look in reversed(looks(names).items()):  # ours on top
            points = [(rate, i) for i, row in enumerate(order) if (rate := rate_of(row, name)) is not None]
            if points:
                size = 5 if look["color"] == COLOURS["vlae"] else 4
                axes.plot(*zip(*points), linestyle="", markersize=size, alpha=0.85, label=name, **look)
        if len(rows) <= NAMED:
            axes.set_yticks(range(len(order)), [_short(row["picture"]) for row in order], fontsize=8)
        else:
            axes.set_ylabel("pictures")
            axes.set_yticks([])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlabel("bits per subpixel")
        axes.grid(alpha=0.15, color=INK)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=3, handletextpad=0.1)
        return _svg(figure)


def speeds(summary: dict[str, Row], way: str) -> str:
    """Bits per subpixel against MB/s, logarithmic, to encode or to decode: a point for each codec that lost nothing."""
    from matplotlib.ticker import LogLocator, NullFormatter

    with _figure(3.6) as (figure, axes):
        points = []
        for name, look in looks(list(summary)).items():
            total = summary[name]
            if "bpsp" in total:
                points.append((name, total[f"{way}_MBps"], total["bpsp"]))
                axes.plot(*points[-1][1:], linestyle="", markersize=7, **look)
        axes.set_xscale("log")
        axes.margins(0.12, 0.1)
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{way} MB/s (further right is faster)")
        axes.set_ylabel("bits per subpixel (lower is smaller)")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.15, color=INK)
        _label(figure, axes, points)
        return _svg(figure)


def image_uri(pixels: np.ndarray, widest: int = 1200) -> str:
    """A picture, (H, W) or (H, W, 3) uint8 or (H, W) bool, made smaller if it is wider, as the URI of a PNG."""
    picture = Image.fromarray(pixels)
    if picture.width > widest:
        picture = picture.convert("RGB").resize((widest, max(1, round(widest * picture.height / picture.width))))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def rate_of(row: Row, name: str) -> float | None:
    """Bits per subpixel of a picture by a codec; None if there are none."""
    size = row["codecs"].get(name, {}).get("bytes")
    return None if size is None else 8 * size / row["subpixels"]


@contextmanager
def _figure(height: float) -> Iterator[tuple[Any, Any]]:
    """A figure of this height in inches, and its axes, in the page's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
        try:
            yield figure, axes
        finally:
            pyplot.close(figure)


def _svg(figure: Any) -> str:
    """The element, as wide as its place in the page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _label(figure: Any, axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Names beside points: each at the first place around its point where it covers no point and no other name."""
    figure.canvas.draw()
    centres = [axes.transData.transform(point[1:]) for point in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in centres]
    frame = axes.get_window_extent().extents
    for (name, x, y), centre in zip(points, centres):
        places = [(8, 0, "left"), (-8, 0, "right"), (0, 10, "center"), (0, -10, "center")]
        places += [(dx * 8, dy * far, side) for far in (10, 18, 26) for dy in (1, -1) for dx, side in _SIDES]
        for dx, dy, side in places:
            text = axes.annotate(name, (x, y), (dx, dy), textcoords="offset points", ha=side, va="center", fontsize=9)
            box = text.get_window_extent().extents
            inside = frame[0] <= box[0] and box[2] <= frame[2] and frame[1] <= box[1] and box[3] <= frame[3]
            others = [other for other, its in zip(taken, centres + [None] * len(taken)) if its is not centre]
            if inside and not any(_meet(box, other) for other in others):
                break
            text.remove()
        else:
            text = axes.annotate(name, (x, y), (8, 0), textcoords="offset points", va="center", fontsize=9)
        taken.append(tuple(text.get_window_extent().extents))


_SIDES = ((1, "left"), (-1, "right"))


def _meet(a: Any, b: Any) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
