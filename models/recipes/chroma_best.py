"""A chroma plane of pictures that have an origin, for the highest efforts: as wide as `luma`. Begins as `photo-gray`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe chroma-best \\
        --init photo-gray.safetensors --grow -o chroma-best.safetensors
"""

from dataclasses import replace

from . import luma

CONFIG = replace(luma.CONFIG, side=2)
SETTINGS = replace(luma.SETTINGS, planes="chroma", minutes=86)
