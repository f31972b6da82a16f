"""RGB photographs, efforts from 2 on: what `photo` is for models that learn while they code, with one layer more. Its
latent path is that of `photo`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-learner \\
        --init photo-wide.safetensors --grow -o photo-learner.safetensors
"""

from dataclasses import replace

from . import photo_wide

CONFIG = replace(photo_wide.CONFIG, layers=3)
SETTINGS = replace(
    photo_wide.SETTINGS,
    minutes=60,
    batch=16,
    crop=480,
    pixels=12288,
    rate=2e-3,
    ema=0.998,
    data_init=False,
    no_latent=0.3,
    grey=0.05,
    altered=0.4,
    rounding=0.0,
    only_local=True,
    learner=True,
    pace=1.25,
)
