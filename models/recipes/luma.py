"""Grey pictures, and the luma of those that have an origin: PhotoCD scans, JPEG and WebP pictures, video. Begins as
`photo-gray`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe luma \\
        --init photo-gray.safetensors -o luma.safetensors
"""

from dataclasses import replace

from . import photo_gray

CONFIG = photo_gray.CONFIG
SETTINGS = replace(
    photo_gray.SETTINGS, minutes=75, pixels=16384, rate=2e-3, blank=0.1, kl_start=0.5, planes="luma", data_init=False
)
