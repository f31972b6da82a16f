"""RGB photographs where nothing is learnt while a file is coded, as at effort 1: narrow and deep, to be fast. Grey ones
have `luma`.

    vlae-codec train photos/train --valid photos/valid --recipe photo -o photo.safetensors

photos/train: 229 lossless crops of photographs, 480 to 512 pixels, 59 megapixels in all.
"""

from ..trainer import Settings
from ..vlae import Config

CONFIG = Config(
    window=(7, 4),
    hidden=128,
    layers=4,
    mixtures=5,
    context=16,
    stride=8,
    latents=4,
    encoder=96,
    topdown=96,
    prior_window=(5, 2),
    prior_hidden=64,
    prior_mixtures=3,
    flow_steps=2,
    styles=(2, 8),
)
SETTINGS = Settings(
    minutes=90,
    batch=12,
    crop=96,
    pixels=16384,
    rate=3e-3,
    clip=0.5,
    ema=0.999,
    no_latent=0.2,
    blank=0.5,
    blank_until=0.35,
    kl_warmup=0.4,
    kl_start=0.02,
    free_bits=0.0,
    grey=0.08,
    altered=0.25,
    rounding=0.15,
    seed=1,
)
