"""Draws docs/tile.svg: a tile with its bands and latents, and the waves of its pixels. `assemble.py` writes it."""

from __future__ import annotations

from xml.sax.saxutils import escape

INK, PALE, LINE = "#1f2933", "#52606d", "#9aa5b1"
KNOWN, WINDOW, WAVE, PIXEL = "#d9e2ec", "#f7c97f", "#7cc4a4", "#d64545"
BAND_A, BAND_B = "#f7c97f", "#a9cdef"
WIDE, UP = 7, 4  # the window of the models of photographs
SLOPE = WIDE // 2 + 1
COLUMNS, ROWS, EDGE = 16, 6, 25  # of the pixels that are drawn
HERE = (4, 5)  # the pixel whose window is shown


def rectangle(x: float, y: float, width: float, height: float, fill: str, stroke: str = LINE) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="{stroke}"/>'


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "start", fill: str = INK) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'


def bands(x: float, y: float) -> list[str]:
    """A tile of 10 x 10 latent cells, the last row and a half of which is band A."""
    cell, split = 24, 8
    out = [text(x, y - 14, "A tile and its latents", 15)]
    out.append(rectangle(x, y, 10 * cell, split * cell, BAND_B))
    out.append(rectangle(x, y + split * cell, 10 * cell, 40, BAND_A))
    for i in range(1, 10):
        out.append(f'<path d="M{x + i * cell} {y}v{split * cell}" stroke="{LINE}"/>')
    for i in range(1, split):
        out.append(f'<path d="M{x} {y + i * cell}h{10 * cell}" stroke="{LINE}"/>')
    middle = x + 5 * cell
    out.append(rectangle(middle - 86, y + 3.5 * cell - 16, 172, 44, "#ffffff"))
    out.append(text(middle, y + 3.5 * cell + 2, "band B, coded given z", 13, "middle"))
    out.append(text(middle, y + 3.5 * cell + 20, "a cell: 8x8 pixels, 4 latents", 11, "middle", PALE))
    out.append(text(middle, y + split * cell + 25, "band A, coded without latents", 13, "middle"))
    below = y + split * cell + 66
    steps = (
        "A decoder",
        "1  pops z under p(z)",
        "2  pops band B under p(x|z)",
        "3  pushes z under q(z|x)",
        "4  pops band A",
    )
    out += [text(x, below + 18 * i, step, 12, fill=INK if i == 0 else PALE) for i, step in enumerate(steps)]
    return out


def waves(x: float, y: float) -> list[str]:
    """Pixels with the numbers of their waves, a window, and the wave of its pixel."""
    row, column = HERE
    now = column + SLOPE * row
    out = [text(x, y - 14, f"Waves of pixels: window {WIDE}x{UP}, wave = column + {SLOPE} x row", 15)]
    for r in range(ROWS):
        for c in range(COLUMNS):
            wave, up, aside = c + SLOPE * r, row - r, abs(c - column)
            seen = (0 < up <= UP and aside <= WIDE // 2) or (up == 0 and 0 < column - c <= WIDE // 2)
            fill = PIXEL if (r, c) == HERE else WAVE if wave == now else WINDOW if seen else KNOWN
            if wave > now:
                fill = "#ffffff"
            out.append(rectangle(x + c * EDGE, y + r * EDGE, EDGE, EDGE, fill))
            white = (r, c) == HERE
            out.append(
                text(x + (c + 0.5) * EDGE, y + r * EDGE + 17, str(wave), 11, "middle", "#ffffff" if white else INK)
            )
    below = y + ROWS * EDGE + 28
    notes = (
        (PIXEL, f"a pixel of wave {now}"),
        (WINDOW, f"its window: {WIDE} columns of {UP} rows above it, {WIDE // 2} pixels to its left"),
        (WAVE, f"the other pixels of wave {now}, all decoded at once"),
        (KNOWN, "known: of earlier waves"),
        ("#ffffff", "not yet known: of later waves"),
    )
    for i, (fill, note) in enumerate(notes):
        out.append(rectangle(x, below + 25 * i, 16, 16, fill))
        out.append(text(x + 26, below + 25 * i + 13, note, 13))
    return out


def tile() -> str:
    """The picture, SVG."""
    width, height = 750, 400
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title = "A tile with its bands and latents, and the waves of its pixels"
    lines = [f'{head} font-family="sans-serif" role="img">', f"<title>{title}</title>"]
    lines.append(rectangle(0.5, 0.5, width - 1, height - 1, "#ffffff", "#e4e7eb"))
    return "\n".join([*lines, *bands(24, 46), *waves(316, 46), "</svg>"]) + "\n"
