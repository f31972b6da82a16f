"""CIFAR-10: colour pictures of 32x32 pixels.

    vlae-codec train cifar10/train-*.webp --recipe cifar10 -o cifar10.safetensors

cifar10/train-*.webp: mosaics of the first 40,000 training pictures, 50 in a row.
"""

from ..train import Settings
from ..vlae import Config

CONFIG = Config(
    window=(7, 4),
    hidden=256,
    layers=2,
    mixtures=8,
    context=32,
    stride=4,
    latents=4,
    encoder=128,
    topdown=128,
    prior_window=(5, 3),
    prior_hidden=96,
    prior_mixtures=4,
    flow_steps=2,
)
SETTINGS = Settings(
    minutes=60,
    batch=64,
    crop=32,
    pixels=16384,
    rate=2e-3,
    clip=0.5,
    ema=0.999,
    no_latent=0.03,
    blank=0.5,
    blank_until=0.25,
    kl_warmup=0.3,
    kl_start=0.02,
    free_bits=0.0,
    grey=0.0,
    altered=0.0,
    mosaic=32,
    seed=1,
)
