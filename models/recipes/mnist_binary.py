"""Statically binarised MNIST, the paper's first table; also what bilevel pictures get by default.

    vlae-codec train binarized_mnist_static.npz:train --valid binarized_mnist_static.npz:valid \\
        --recipe mnist-binary -o mnist-binary.safetensors

binarized_mnist_static.npz: `train`, `valid` and `test`, (N, 98) uint8, 784 pixels in packed bits.
"""

from ..trainer import Settings
from ..vlae import Config

CONFIG = Config(
    channels=1,
    levels=2,
    window=(15, 8),
    hidden=256,
    layers=2,
    mixtures=1,
    context=24,
    stride=4,
    latents=2,
    encoder=96,
    topdown=96,
    prior_window=(7, 4),
    prior_hidden=64,
    prior_mixtures=4,
    flow_steps=2,
)
SETTINGS = Settings(
    minutes=40,
    batch=64,
    crop=28,
    pixels=16384,
    rate=2e-3,
    clip=0.5,
    ema=0.999,
    no_latent=0.03,
    blank=0.5,
    blank_until=0.25,
    kl_warmup=0.4,
    kl_start=0.02,
    free_bits=0.25,
    flips=False,
    mosaic=28,
    seed=1,
)
