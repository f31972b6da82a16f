"""The luma of pictures that have an origin, for the highest efforts: one layer more. Begins as `luma`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe luma-best --init luma --grow \\
        -o luma-best.safetensors
"""

from dataclasses import replace

from . import luma

CONFIG = replace(luma.CONFIG, layers=3)
SETTINGS = replace(luma.SETTINGS, minutes=66)
