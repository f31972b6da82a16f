"""A chroma plane of pictures that have an origin, given luma and the plane before it. Begins as `photo_gray`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe chroma \\
        --init photo-gray --grow -o chroma.safetensors
"""

from dataclasses import replace

from . import luma

CONFIG = replace(luma.CONFIG, side=2)
SETTINGS = replace(luma.SETTINGS, planes="chroma")
