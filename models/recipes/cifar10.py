"""CIFAR-10: colour pictures of 32x32 pixels.

    vlae-codec train cifar10/train-*.webp --recipe cifar10 --init photo-wide.safetensors --grow -o cifar10.safetensors

cifar10/train-*.webp: mosaics of the first 40,000 training pictures, 50 in a row.
"""

from dataclasses import replace

from . import photo_wide

CONFIG = replace(photo_wide.CONFIG, window=(9, 5), layers=8, stride=4, mixtures=8)
SETTINGS = replace(
    photo_wide.SETTINGS,
    minutes=86,
    rate=2e-3,
    batch=64,
    crop=32,
    mosaic=32,
    turned=0.1,
    no_latent=0.03,
    blank=0.25,
    blank_until=0.15,
    kl_warmup=0.3,
    grey=0.0,
    altered=0.0,
)
