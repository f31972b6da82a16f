"""What the integers cost: the rate of one model in floats, with the integers' rounding, and as integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlae_codec.adapter.style import changed, choose_style
from vlae_codec.coder.tile import Ledger, TileCodec
from vlae_codec.native import ans
from vlae_codec.weights.model import load_weights

from .evaluation import evaluate
from .rounding import quantise_aware
from .vlae import Vlae

MODES = ("with latents", "without latents")


def report(
    model: Vlae, weights: str | Path, images: list[np.ndarray], crop: int | None = None
) -> dict[str, list[float]]:
    """Bits per subpixel (-ELBO, one sample; and without latents) of a float model and its weight file.

    images: (H, W, C) uint8, of each the centre crop of `crop` pixels, or all of it, cut to whole latent cells.
    """
    stride, rates = model.config.stride, {}
    cut = []
    for image in images:
        h, w = (min(crop or n, n) // stride * stride for n in image.shape[:2])
        r, c = ((n - m) // 2 for n, m in zip(image.shape[:2], (h, w)))
        cut.append(np.ascontiguousarray(image[r : r + h, c : c + w]))
    for name, rounded in (("float", False), ("rounded", True)):
        found = evaluate(quantise_aware(model, rounded), cut)
        rates[name] = [float(found["total"]), float(found["no_latent"])]
    quantise_aware(model, False)
    codec = TileCodec(load_weights(weights))
    bits = np.sum([_integer_bits(codec, image) for image in cut], axis=0)
    rates["integer"] = [float(b) / sum(image.size for image in cut) for b in bits]
    return rates


def _integer_bits(codec: TileCodec, x: np.ndarray) -> tuple[float, float]:
    """-ELBO of one sample, and bits without latents, of a picture as a single tile, in the style that suits it."""
    h, w, c = x.shape
    if (style := choose_style(codec, [x], c)) is not None:
        codec = codec.adapted(changed(codec.model, style))
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 32, x.size, np.uint32)  # more than any posterior takes
    message = ans.Message(rng.integers(1 << 32, 1 << 64, 1, np.uint64), words)
    spent, null = Ledger(), Ledger()
    _, (z,) = codec.posterior([x], spent).pop([message])
    codec.prior([z.shape[:2]], spent).push([message], [z])
    codec.pixels([x[:0]], [h], [codec.nets.context(z, w)], c, spent).push([message], [x])
    codec.pixels([x[:0]], [h], None, c, null).push([message], [x])
    return sum(spent.bits.values()), sum(null.bits.values())


def lines(rates: dict[str, list[float]]) -> str:
    """The report as text."""
    first, *rest = rates.items()
    text = f"{'bits per subpixel':18}" + "".join(f"{mode:>17}" for mode in MODES)
    for name, row in (first, *rest):
        text += f"\n{name:18}" + "".join(f"{rate:17.4f}" for rate in row)
        if name != first[0]:
            text += "".join(f"  {100 * (rate / base - 1):+.3f} %" for rate, base in zip(row, first[1]))
    return text
