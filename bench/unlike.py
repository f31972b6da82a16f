"""Makes pictures unlike those that the models were trained on, always the same ones.

    python -m bench.unlike OUTDIR [--photos PICTURE_OR_FOLDER ...]

Pages, drawings, scans, medical and microscopic pictures, terrain, sprites and a rendered scene, by Pillow and numpy
only; of each of --photos what JPEG, scaling, a palette, sharpening and a dark exposure make of it. None is a substitute
for real pictures of its kind. Another version of Pillow or numpy may change some pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from .rate import listed

Random = np.random.Generator
Maker = Callable[[int, int, Random], np.ndarray]  # height, width -> (H, W) or (H, W, 3) uint8
Change = Callable[[Image.Image, Random], np.ndarray]

TEXT = (
    "the latent bits of a picture pay for its own noise while every row waits until those above have been coded and "
    "a decoder takes back what it was given so nothing is lost or rounded away between one tile and another"
)


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).round().clip(0, 255).astype(np.uint8)


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """y and x of each pixel's centre, in units of the height, from the middle."""
    y, x = np.mgrid[:height, :width].astype(float)
    return (y + 0.5) / height - 0.5, (x + 0.5 - width / 2) / height


def fractal(height: int, width: int, rng: Random, power: float) -> np.ndarray:
    """(H, W) noise of mean 0 and deviation 1 whose amplitude falls with that power of the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / frequency**power
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (height, width))
    return noise / noise.std()


def blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) float under a Gaussian, edges wrapped."""
    squared = np.fft.fftfreq(values.shape[0])[:, None] ** 2 + np.fft.rfftfreq(values.shape[1]) ** 2
    return np.fft.irfft2(np.fft.rfft2(values) * np.exp(-2 * (np.pi * sigma) ** 2 * squared), values.shape)


def sentence(rng: Random, words: int) -> str:
    return " ".join(rng.choice(TEXT.split(), words))


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, ink: str | int = "black") -> None:
    draw.text(at, text, fill=ink, font=ImageFont.load_default(size=max(6, size)))


def colour(rng: Random, low: int = 0, high: int = 256) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high, 3))


def gradient(height: int, width: int, first: Sequence[int], last: Sequence[int]) -> Image.Image:
    share = np.linspace(0, 1, height)[:, None, None]
    return Image.fromarray(to_bytes(np.broadcast_to(share * last + (1 - share) * np.array(first), (height, width, 3))))


def screenshot(height: int, width: int, rng: Random) -> np.ndarray:
    """Windows with title bars, icons and text on a desktop."""
    page = gradient(height, width, (24, 60, 110), (120, 170, 200))
    draw, line = ImageDraw.Draw(page), height / 38
    for n in range(3):
        h, w = height // 2, width * 11 // 20
        y, x = height // 30 + n * height // 5, width // 40 + n * width // 5
        draw.rectangle((x, y, x + w, y + h), "white", (90, 90, 90))
        page.paste(gradient(int(1.4 * line), w - 1, (236, 238, 242), (200, 205, 214)), (x + 1, y + 1))
        write(draw, (x + line / 2, y), f"{sentence(rng, 3)}.txt", line)
        for i, ink in enumerate(("#e06050", "#e0b040", "#60b060")):
            left = x + w - (i + 1.2) * line
            draw.ellipse((left, y + 0.3 * line, left + 0.7 * line, y + line), ink)
        for i in range(int(h / (1.3 * line)) - 2):
            top = y + (1.3 * i + 1.9) * line
            draw.rectangle((x + line / 2, top, x + 1.3 * line, top + 0.8 * line), colour(rng, 60, 230), (60, 60, 60))
            write(draw, (x + 2 * line, top), sentence(rng, 10), 0.8 * line, "#1a4fb0" if i % 4 == 2 else "#202020")
    draw.rectangle((0, height - 1.6 * line, width, height), (32, 34, 40))
    write(draw, (line, height - 1.5 * line), "Start   09:41", line, "white")
    return np.asarray(page)


def line_art(height: int, width: int, rng: Random) -> np.ndarray:
    """Antialiased black curves and hatching on white."""
    page = Image.new("L", (4 * width, 4 * height), 255)
    draw, t = ImageDraw.Draw(page), np.linspace(0, 1, 400)
    for _ in range(14):
        waves = sum(
            rng.normal(size=(2, 1)) / k * np.sin(np.pi * k * t + rng.uniform(0, 6, (2, 1))) for k in (1, 2, 3, 5)
        )
        points = (rng.uniform(0.2, 0.8, (2, 1)) + waves / 5) * [[4 * width], [4 * height]]
        draw.line([(x, y) for x, y in points.T], 0, int(rng.integers(4, 13)), "curve")
    for _ in range(7):
        mask, hatching = Image.new("1", page.size), Image.new("L", page.size, 255)
        centre, radius = rng.uniform(0.15, 0.85, 2) * page.size, rng.uniform(0.05, 0.15) * page.height
        angles = np.arange(9) * 2 * np.pi / 9
        corners = [(x, y) for x, y in centre + radius * rng.uniform(0.6, 1.3, 9)[:, None] * _circle(angles)]
        ImageDraw.Draw(mask).polygon(corners, 1)
        slant, strokes = rng.uniform(-1, 1) * page.height, ImageDraw.Draw(hatching)
        for x in range(-page.height, page.width + page.height, int(rng.integers(18, 40))):
            strokes.line((x, 0, x + slant, page.height), 0, 4)
        page.paste(hatching, mask=mask)
        draw.polygon(corners, outline=0, width=7)
    return np.asarray(page.reduce(4))


def _circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def chart(height: int, width: int, rng: Random) -> np.ndarray:
    """Bars, a line, a pie and a legend in flat colours."""
    page = Image.new("RGB", (width, height), "white")
    draw, unit = ImageDraw.Draw(page), height / 32
    inks = ["#4472c4", "#ed7d31", "#a5a5a5", "#ffc000"]
    write(draw, (width / 3, unit), f"Figure 1: {sentence(rng, 3)}", 1.6 * unit)
    for i in range(7):
        y = height * (0.88 - 0.12 * i)
        draw.line((width * 0.09, y, width * 0.68, y), "black" if i == 0 else "#d9d9d9")
        write(draw, (width * 0.03, y - unit / 2), str(20 * i), unit)
    tops = []
    for i in range(6):
        x = width * (0.11 + 0.095 * i)
        for k, share in enumerate(rng.uniform(0.05, 0.65, 3)):
            left = x + k * width * 0.024
            draw.rectangle((left, height * (0.88 - share), left + width * 0.02, height * 0.88), inks[k])
        tops.append((x + width * 0.035, height * rng.uniform(0.2, 0.5)))
        write(draw, (x + width * 0.01, height * 0.9), str(2019 + i), unit)
    draw.line(tops, inks[3], max(1, int(unit / 4)), "curve")
    turns = np.append(0, np.cumsum(rng.dirichlet(np.full(4, 3.0)))) * 360
    for k, ink in enumerate(inks):
        pie = (width * 0.73, height * 0.15, width * 0.73 + 8 * unit, height * 0.15 + 8 * unit)
        draw.pieslice(pie, turns[k], turns[k + 1], ink, "white")
        y = height * 0.55 + 2 * k * unit
        draw.rectangle((width * 0.73, y, width * 0.73 + unit, y + unit), ink)
        write(draw, (width * 0.73 + 1.6 * unit, y), sentence(rng, 2), unit)
    return np.asarray(page)


def scan(height: int, width: int, rng: Random) -> np.ndarray:
    """A page of text on paper with some texture, slightly turned and blurred, after JPEG at quality 85."""
    page = Image.new("L", (width, height), 255)
    draw, line = ImageDraw.Draw(page), height / 40
    write(draw, (width * 0.1, 2 * line), sentence(rng, 4).title(), 1.8 * line)
    for i in range(5, 37):
        if i % 9 != 4:
            write(draw, (width * 0.1, i * line), sentence(rng, int(15 * width / height)), 0.75 * line, 30)
    turned = page.rotate(rng.uniform(0.5, 1.2), Image.Resampling.BICUBIC, fillcolor=255)
    ink = 1 - np.asarray(turned.filter(ImageFilter.GaussianBlur(0.7)))[..., None] / 255
    light = 1 + 0.02 * fractal(height, width, rng, 1.8) + 0.012 * fractal(height, width, rng, 0.3)
    paper = light[..., None] * [238, 231, 214]
    return _jpeg(Image.fromarray(to_bytes(paper * (1 - ink) + ink * [48, 44, 52])), 85)


def scan_grey(height: int, width: int, rng: Random) -> np.ndarray:
    """As `scan`, in grey."""
    page = Image.fromarray(scan(height, width, rng)).convert("L")
    return _jpeg(page, 85)


def _jpeg(picture: Image.Image, quality: int) -> np.ndarray:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def ellipse(y: np.ndarray, x: np.ndarray, place: Sequence[float], edge: float) -> np.ndarray:
    """(H, W) from 0 outside to 1 inside. place: centre y, x, radii, turn in degrees."""
    cy, cx, ry, rx, turn = place
    angle = np.radians(turn)
    u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    return 1 / (1 + np.exp(np.clip((np.hypot(v / ry, u / rx) - 1) / edge, -50, 50)))


def tomography(height: int, width: int, rng: Random) -> np.ndarray:
    """A head's section of soft ellipses under a smooth bias field and Rician noise."""
    y, x = grid(height, width)
    body = 150 * ellipse(y, x, (0, 0, 0.44, 0.34, 0), 0.01) - 120 * ellipse(y, x, (0, 0, 0.41, 0.31, 0), 0.01)
    body += 75 * ellipse(y, x, (0, 0, 0.39, 0.29, 0), 0.02)
    for side in (-1, 1):
        body -= 45 * ellipse(y, x, (-0.03, 0.09 * side, 0.14, 0.045, -14 * side), 0.05)
    for _ in range(14):
        cy, cx = rng.uniform(-0.25, 0.25), rng.uniform(-0.18, 0.18)
        body += rng.uniform(-25, 35) * ellipse(y, x, (cy, cx, *rng.uniform(0.015, 0.06, 2), rng.uniform(0, 180)), 0.1)
    bias = np.exp(0.12 * fractal(height, width, rng, 3))
    folds = 8 * fractal(height, width, rng, 1.3) * (body > 40)
    real, imaginary = (body + folds) * bias + rng.normal(0, 5, body.shape), rng.normal(0, 5, body.shape)
    return to_bytes(np.hypot(real, imaginary))


def radiograph(height: int, width: int, rng: Random) -> np.ndarray:
    """Ribs and a spine over lungs, smooth, with noise that grows with the brightness."""
    y, x = grid(height, width)
    dense = 0.9 * ellipse(y, x, (0.1, 0, 0.65, 0.55, 0), 0.08) + 0.5 * ellipse(y, x, (0, 0, 0.9, 0.045, 0), 0.2)
    for side in (-1, 1):
        dense -= 0.65 * ellipse(y, x, (0, 0.22 * side, 0.33, 0.16, 4 * side), 0.09)
        for i in range(9):
            arc = y - (-0.33 + 0.085 * i) - 0.9 * (side * x - 0.12) ** 2 - 0.3 * (side * x)
            dense += 0.16 * np.exp(-((arc / 0.014) ** 2)) * (side * x > 0.02) * (side * x < 0.42)
    dense += 0.35 * ellipse(y, x, (0.14, 0.07, 0.17, 0.12, 35), 0.15) + 0.03 * fractal(height, width, rng, 1.8)
    light = 30 + 150 * blur(dense, height / 300).clip(0, 1.4)
    return to_bytes(light + rng.normal(size=light.shape) * np.sqrt(light) * 0.35)


def microscopy(height: int, width: int, rng: Random) -> np.ndarray:
    """Fluorescent cells on black: nuclei, bodies and dots, a dye a channel, with Poisson noise."""
    y, x = grid(height, width)
    photons = np.full((height, width, 3), 1.5)
    for _ in range(28):
        cy, cx, turn = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5) * width / height, rng.uniform(0, 180)
        r = rng.uniform(0.025, 0.045)
        texture = 1 + 0.3 * fractal(height, width, rng, 1.2) if r > 0.043 else 1
        photons[..., 2] += rng.uniform(25, 60) * ellipse(y, x, (cy, cx, r, 0.7 * r, turn), 0.08) * texture
        photons[..., 1] += rng.uniform(5, 30) * ellipse(y, x, (cy, cx, 2.4 * r, 1.5 * r, turn), 0.25)
    dots = np.zeros((height, width))
    dots[rng.integers(0, height, 220), rng.integers(0, width, 220)] = rng.uniform(200, 900, 220)
    photons[..., 0] += blur(dots, 1.3) * (photons[..., 1] > 6)
    return to_bytes(3.2 * rng.poisson(photons.clip(0)) + rng.normal(4, 1.5, photons.shape))


def terrain(height: int, width: int, rng: Random) -> np.ndarray:
    """Fractal hills with shade, snow and water, from above."""
    land = fractal(height, width, rng, 1.9)
    stops = [-3, -0.35, -0.3, 0.1, 0.9, 1.6, 3]
    inks = np.array(
        [[12, 36, 84], [42, 94, 140], [196, 184, 132], [72, 110, 52], [96, 88, 60], [132, 124, 116], [246] * 3]
    )
    surface = np.stack([np.interp(land, stops, inks[:, c]) for c in range(3)], -1)
    slope = np.gradient(land, 1.5 / height)
    shade = np.where(land > -0.33, 1 - 0.02 * (slope[0] + slope[1]), 1).clip(0.35, 1.7)
    return to_bytes(surface * shade[..., None] * (1 + 0.03 * rng.normal(size=(height, width, 1))))


def sprites(height: int, width: int, rng: Random) -> np.ndarray:
    """A mosaic of mirrored sprites of few colours, each pixel 8 x 8 times."""
    rows, columns, cell = -(-height // 8), -(-width // 8), 12
    small = np.zeros((rows + cell, columns + cell, 3), np.uint8)
    for top in range(0, rows, cell):
        for left in range(0, columns, cell):
            palette = np.array([colour(rng, 0, 80), colour(rng), colour(rng), colour(rng, 128)])
            half = rng.choice(4, (cell - 2, cell // 2 - 1), p=(0.4, 0.3, 0.2, 0.1))
            shape = np.pad(np.concatenate([half, half[:, ::-1]], 1), 1)
            small[top : top + cell, left : left + cell] = palette[shape]
    return small.repeat(8, 0).repeat(8, 1)[:height, :width]


def rendered(height: int, width: int, rng: Random) -> np.ndarray:
    """Shiny balls over a checkered floor, ray-traced, one ray a pixel."""
    y, x = grid(height, width)
    ray = np.stack([x, -y - 0.12, np.ones_like(x)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    sun = np.array([-0.5, 0.75, -0.45]) / np.linalg.norm([-0.5, 0.75, -0.45])
    far = -1 / ray[..., 1].clip(max=-1e-3)  # the floor is 1 below the eye
    floor = far[..., None] * ray
    tiles = (np.floor(2 * floor[..., 0]) + np.floor(2 * floor[..., 2])) % 2
    haze = np.exp(-0.12 * far)[..., None]
    ground = (60 + 150 * tiles[..., None]) * np.array([1.0, 0.95, 0.85])
    balls = []
    for i in range(7):
        radius = rng.uniform(0.25, 0.5)
        balls.append((np.array([-1.9 + 0.65 * i, radius - 1, rng.uniform(2.5, 5)]), radius, np.array(colour(rng, 50))))
    for centre, radius, _ in balls:  # shadows
        away = centre - floor
        along = away @ sun
        apart = np.linalg.norm(away - along[..., None] * sun, axis=-1)
        ground = ground * np.where((apart < radius) & (along > 0), 0.4, 1.0)[..., None]
    sky = np.array([150, 185, 235]) + 90 * (0.4 - ray[..., 1:2])
    out, depth = haze * ground + (1 - haze) * sky, far
    for centre, radius, ink in balls:
        along = ray @ centre
        inside = radius**2 - centre @ centre + along**2
        near = along - np.sqrt(inside.clip(0))
        normal = (near[..., None] * ray - centre) / radius
        light = (normal @ sun).clip(0)
        shine = ((normal @ sun)[..., None] * 2 * normal - sun) @ np.array([0, 0, -1.0])
        lit = (0.25 + 0.75 * light)[..., None] * ink + 200 * (shine.clip(0) ** 30)[..., None]
        seen = (inside > 0) & (near < depth)
        out, depth = np.where(seen[..., None], lit, out), np.where(seen, near, depth)
    return to_bytes(out)


def upscaled(photo: Image.Image, rng: Random) -> np.ndarray:
    """Its middle, 1.5 times as large."""
    w, h = photo.size
    part = photo.crop((w // 6, h // 6, w // 6 + w * 2 // 3, h // 6 + h * 2 // 3))
    return np.asarray(part.resize((part.width * 3 // 2, part.height * 3 // 2), Image.Resampling.BICUBIC))


def dark(photo: Image.Image, rng: Random) -> np.ndarray:
    """Underexposed, with noise."""
    light = 90 * (np.asarray(photo) / 255) ** 1.8
    return to_bytes(light + rng.normal(size=light.shape) * np.sqrt(1 + 0.15 * light))


MAKERS: dict[str, tuple[Maker, int, int]] = {
    "screenshot": (screenshot, 512, 768),
    "line-art": (line_art, 512, 768),
    "chart": (chart, 512, 768),
    "scan": (scan, 768, 544),
    "scan-grey": (scan_grey, 768, 544),
    "tomography": (tomography, 512, 512),
    "radiograph": (radiograph, 512, 512),
    "microscopy": (microscopy, 512, 512),
    "terrain": (terrain, 512, 640),
    "sprites": (sprites, 512, 512),
    "rendered": (rendered, 512, 768),
}
CHANGES: dict[str, Change] = {
    "jpeg": lambda photo, rng: _jpeg(photo, 80),
    "upscaled": upscaled,
    "palette": lambda photo, rng: np.asarray(photo.quantize(64, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")),
    "sharpened": lambda photo, rng: np.asarray(ImageEnhance.Sharpness(photo).enhance(6)),
    "dark": dark,
}


def random(name: str) -> Random:
    return np.random.default_rng(list(name.encode()))


def make(name: str, height: int | None = None, width: int | None = None) -> np.ndarray:
    """A picture of MAKERS, (H, W) or (H, W, 3) uint8, of another size if given."""
    maker, *size = MAKERS[name]
    return maker(height or size[0], width or size[1], random(name))


def change(name: str, photo: np.ndarray) -> np.ndarray:
    """What one of CHANGES makes of a photo (H, W, 3) uint8."""
    return CHANGES[name](Image.fromarray(photo), random(name))


@click.command(help=__doc__)
@click.argument("outdir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--photos", multiple=True, type=click.Path(path_type=Path, exists=True), help="To be changed, too.")
def main(outdir: Path, photos: tuple[Path, ...]) -> None:
    outdir.mkdir(parents=True, exist_ok=True)
    for name in MAKERS:
        Image.fromarray(make(name)).save(outdir / f"{name}.png")
    for path in listed(photos):
        photo = np.asarray(Image.open(path).convert("RGB"))
        for name in CHANGES:
            Image.fromarray(change(name, photo)).save(outdir / f"{path.stem}-{name}.png")


if __name__ == "__main__":
    main()
