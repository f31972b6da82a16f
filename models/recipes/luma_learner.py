"""Grey pictures and the luma of pictures that have an origin, efforts from 2 on: what `luma` is for models that learn
while they code, with one layer more. Its latent path is that of `luma`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe luma-learner --init luma --grow \\
        -o luma-learner.safetensors
"""

from dataclasses import replace

from . import luma, photo_learner

CONFIG = replace(luma.CONFIG, layers=3)
SETTINGS = replace(photo_learner.SETTINGS, planes="luma", grey=0.0, altered=0.0, pace=1.0)
