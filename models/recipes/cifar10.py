"""CIFAR-10: colour pictures of 32x32 pixels.

    vlae-codec train cifar10/train-*.webp --recipe cifar10 --init photo --grow -o cifar10.safetensors

cifar10/train-*.webp: mosaics of the first 40,000 training pictures, 50 in a row.
"""

from ..trainer import Settings
from ..vlae import Config

CONFIG = Config(
    window=(7, 4),
    hidden=256,
    layers=2,
    mixtures=8,
    context=16,
    stride=4,
    latents=4,
    encoder=96,
    topdown=96,
    prior_window=(5, 2),
    prior_hidden=64,
    prior_mixtures=3,
    flow_steps=2,
)
SETTINGS = Settings(
    minutes=45,
    batch=64,
    crop=32,
    pixels=16384,
    rate=3e-3,
    clip=0.5,
    ema=0.999,
    no_latent=0.03,
    blank=0.25,
    blank_until=0.15,
    kl_warmup=0.3,
    kl_start=0.02,
    free_bits=0.0,
    grey=0.0,
    altered=0.0,
    mosaic=32,
    seed=1,
)
