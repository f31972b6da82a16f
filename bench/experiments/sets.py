"""Pictures to learn from: `load(folder, name)` gives training, validation and test pictures.

| name | arrays, in DATA | split |
|---|---|---|
| mnist | binary/mnist/binarized_mnist_static.npz | the usual 50,000 / 10,000 / 10,000 |
| mnist-dynamic | binary/mnist/mnist_train60k.npz and t10k-images-idx3-ubyte.gz | 50,000 / 10,000 / 10,000 |
| omniglot | binary/omniglot/omniglot_small12.npz, 4,840 characters | 3,600 / 400 / 840, shuffled: not the IWAE split |
| caltech | binary/caltech/caltech101_silhouettes_28.mat | 4,100 / 2,264 / 2,307 as the official one, but shuffled |
| cifar10 | cifar10/train-*.webp and test500.npz | 39,000 / 1,000 / 500 |
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlae_codec.models.data import load_images

LABELS = {
    "mnist": "static MNIST",
    "mnist-dynamic": "dynamic MNIST",
    "omniglot": "OMNIGLOT (8 alphabets, own split)",
    "caltech": "Caltech-101 silhouettes (own split)",
    "cifar10": "CIFAR-10 (first 500 test pictures)",
}


class Set(NamedTuple):
    """Three arrays of pictures, (N, C, H, W) uint8.

    levels: 2, of bits; 256, of grey levels, which are coded as they are, or, where `dynamic`, are the probabilities
    (in 255ths) of bits that are drawn anew each time a picture is trained on.
    """

    name: str
    train: Tensor
    valid: Tensor
    test: Tensor
    levels: int
    dynamic: bool = False


def load(folder: Path, name: str) -> Set:
    """The set; of dynamic ones validation and test are drawn once, seeded. Raises OSError or KeyError."""
    binary = folder / "binary"
    if name == "mnist":
        with np.load(binary / "mnist" / "binarized_mnist_static.npz") as arrays:
            bits = [np.unpackbits(arrays[part], axis=1).reshape(-1, 1, 28, 28) for part in ("train", "valid", "test")]
        return _set(name, bits, 2)
    if name == "mnist-dynamic":
        with np.load(binary / "mnist" / "mnist_train60k.npz") as arrays:
            grey = arrays["x"][:, None]
        with gzip.open(binary / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
            test = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
        return _dynamic(name, grey[:50000], grey[50000:], test)
    if name == "omniglot":
        with np.load(binary / "omniglot" / "omniglot_small12.npz") as arrays:
            grey = _shuffled(arrays["x28"][:, None])
        return _dynamic(name, grey[:3600], grey[3600:4000], grey[4000:])
    if name == "caltech":
        from scipy.io import loadmat

        pixels = _shuffled(loadmat(binary / "caltech" / "caltech101_silhouettes_28.mat")["X"].reshape(-1, 1, 28, 28))
        return _set(name, [pixels[:4100], pixels[4100:6364], pixels[6364:]], 2)
    if name == "cifar10":
        train = np.stack(load_images(sorted((folder / "cifar10").glob("train-*.webp")), 32, mosaic=32))
        test = np.stack(load_images([folder / "cifar10" / "test500.npz"], 32))
        return _set(name, [x.transpose(0, 3, 1, 2) for x in (train[:-1000], train[-1000:], test)], 256)
    raise KeyError(f"no set {name!r}; there are {', '.join(LABELS)}")


def draw(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """uint8 bits, each 1 with a probability of its pixel / 255."""
    return (torch.rand(pixels.shape, generator=generator, device=pixels.device) * 255 < pixels).to(torch.uint8)


def _set(name: str, parts: list[np.ndarray], levels: int) -> Set:
    train, valid, test = (torch.from_numpy(part.copy()) for part in parts)
    return Set(name, train, valid, test, levels)


def _dynamic(name: str, *parts: np.ndarray) -> Set:
    train, valid, test = (torch.from_numpy(part.copy()) for part in parts)
    generator = torch.Generator().manual_seed(0)
    return Set(name, train, draw(valid, generator), draw(test, generator), levels=2, dynamic=True)


def _shuffled(pixels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(pixels)
