"""A chroma plane of pictures that have an origin, given luma and the plane before it.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe chroma -o chroma.safetensors

Narrow, so that a picture's two planes cost less than half of what its luma does. Files of chroma have no latents, and
so the model is trained without.
"""

from dataclasses import replace

from . import luma

CONFIG = replace(luma.CONFIG, side=2, hidden=96, layers=3)
SETTINGS = replace(luma.SETTINGS, planes="chroma", data_init=True, no_latent=1.0)
