"""(d) Lossy codes (section 4.1): pictures brought back from their latents alone, pixels drawn from p(x | z).

    python -m bench.experiments.lossy DATA [--steps TIMES] [--device cuda]

First from real files: z is read from the file and nothing else of it (`vlae-codec preview`). Then from the nets of the
other experiments, whose latents are as in the paper a vector (28x28) or a grid, with two windows. About 5 minutes on
two cores if the other experiments were run before, which train the nets.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vlae_codec
from vlae_codec.bench.account import Account, account
from vlae_codec.images.image import load

from . import sets
from .fit import spread_out, terms_of
from .information import BUDGET, VLAE
from .record import Row, Run, command, train, write
from .tables import budget
from .window import COLOUR, colour, name

COUNT, DRAWS = 10, 2
NETS = [
    Row("VLAE, 7x4", "mnist", VLAE, BUDGET),
    Row("VLAE, 7x4", "omniglot", VLAE, budget("omniglot")),
    Row("VLAE, 3x1", "cifar10", colour(window=(3, 1)), COLOUR),
    Row("VLAE, 7x4", "cifar10", colour(), COLOUR),
]
ARCHIVES = (("mnist", "mnist-binary"), ("cifar10", "cifar10"))
PHOTO = "photos/kodak/kodim19.png"


def grid(rows: list[np.ndarray], scale: int = 3) -> np.ndarray:
    """Rows of (N, H, W, C) uint8 pictures -> one picture, each pixel `scale` wide, rows and pictures set apart."""
    lines = [
        np.concatenate(list(np.pad(row, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=128)), 1) for row in rows
    ]
    return np.concatenate(lines, 0).repeat(scale, 0).repeat(scale, 1)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, optimize=True)


def shown(x: Tensor, levels: int) -> np.ndarray:
    """(N, C, H, W) uint8 -> (N, H, W, C), bits as 0 and 255."""
    return (x.permute(0, 2, 3, 1).cpu() * (255 if levels == 2 else 1)).to(torch.uint8).numpy()


def from_nets(run: Run) -> tuple[list[dict], list[dict]]:
    rows, figures = [], []
    for row, (net, _) in zip(NETS, train(NETS, run)):
        data = sets.load(run.data, row.set)
        few = spread_out(data.test, COUNT)
        torch.manual_seed(1)
        mean, deviation = net.posterior(few.to(run.device))
        draws = [net.pictures(mean + torch.exp(deviation) * torch.randn_like(mean)) for _ in range(DRAWS)]
        kl = terms_of(net, spread_out(data.test, 500))["kl"].mean().item()
        window = name(net.spec.window)
        file = f"d-{row.set}-{window}.png"
        save(run.out / file, grid([shown(x, data.levels) for x in (few, *draws)]))
        caption = (
            f"{sets.LABELS[row.set]}, {window} window: originals, then two draws of z ~ q(z|x) and of pixels given z"
        )
        figures.append({"file": file, "caption": caption})
        rows.append(
            {"set": sets.LABELS[row.set], "model": f"experiment's net, {window}", "kl_bytes": kl / math.log(256)}
        )
        rows[-1]["raw_bytes"] = few[0].numel() / (8 if data.levels == 2 else 1)
    return rows, figures


def from_files(run: Run) -> tuple[list[dict], list[dict]]:
    """What the shipped models' files hold: archives of small pictures, and a photograph."""
    rows, figures = [], []
    for kind, model in ARCHIVES:
        few = spread_out(sets.load(run.data, kind).test, 2 * COUNT)
        pictures = [x[0].numpy().astype(bool) if len(x) == 1 else x.permute(1, 2, 0).numpy() for x in few]
        data = vlae_codec.compress_many(pictures, model=model)
        lines = [shown(few, 2 if few.shape[1] == 1 else 256)]
        for seed in range(DRAWS):
            back = np.stack(vlae_codec.preview(data, seed=seed).pictures)
            lines.append(back if back.ndim == 4 else back[..., None])
        file = f"d-file-{kind}.png"
        save(run.out / file, grid([line[at : at + COUNT] for at in (0, COUNT) for line in lines]))
        figures.append(
            {"file": file, "caption": f"{sets.LABELS[kind]}, `{model}`: originals, then two previews of the file"}
        )
        rows.append(
            latent_row(sets.LABELS[kind], f"`{model}`, a file of {len(pictures)}", pictures, account(data, model))
        )
    pixels = load(run.data / PHOTO).pixels
    data = vlae_codec.compress(pixels, effort=1)
    save(run.out / "d-file-photo.png", vlae_codec.preview(data, beside=True).pictures[0][::2, ::2])
    figures.append(
        {"file": "d-file-photo.png", "caption": f"{Path(PHOTO).name}, `photo`, and the preview of its file (halved)"}
    )
    rows.append(latent_row(Path(PHOTO).name, "`photo`", [pixels], account(data)))
    return rows, figures


def latent_row(label: str, model: str, pictures: list[np.ndarray], spent: Account) -> dict:
    bits = spent.bits.get("prior", 0.0) + spent.bits.get("posterior", 0.0)  # the latter is negative
    raw = sum(x.size / (8 if x.dtype == bool else 1) for x in pictures) / len(pictures)
    return {"set": label, "model": model, "kl_bytes": bits / 8 / len(pictures), "raw_bytes": raw}


def main(run: Run) -> None:
    rows, figures = (a + b for a, b in zip(from_files(run), from_nets(run)))
    write(
        run,
        "d-lossy",
        rows=rows,
        figures=figures,
        headline="latents alone, bytes a picture: "
        + ", ".join(f"{row['kl_bytes']:.1f} ({row['set']}, {row['model']})" for row in rows),
        title="Lossy codes",
        text=[
            "Pictures from their latents alone, the rest drawn anew. Of digits place, slant, thickness and mostly the "
            "class come back, of characters (a small set) the kind of strokes; of CIFAR-10 pictures, after less than "
            "one epoch and with few nats, a tone at most, and of photographs nothing that one would know again. The KL "
            "is what these latents cost."
        ],
        columns={"set": "set", "model": "model", "kl_bytes": "latents, bytes a picture (KL)", "raw_bytes": "raw bytes"},
        notes=[
            "The paper's figures 1 to 3 show the same of MNIST, OMNIGLOT and CIFAR-10, with larger nets; its CIFAR-10 "
            "pictures keep shapes and lose texture, ours do not.",
        ],
    )


if __name__ == "__main__":
    command(main)()
