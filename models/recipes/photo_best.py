"""RGB photographs, efforts from 5 on: `photo-deep` as it begins where a model learns while it codes.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-best \\
        --init photo-deep.safetensors -o photo-best.safetensors
"""

from dataclasses import replace

from . import photo_deep, photo_learner

CONFIG = photo_deep.CONFIG
SETTINGS = replace(photo_learner.SETTINGS, altered=0.3, pace=1.0)
