"""Grey pictures. Begins as what the colour model makes of three equal channels.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-gray \\
        --init photo-wide.safetensors --grow -o photo-gray.safetensors

photos/train, photos/train2: 447 lossless crops of photographs, 480 to 512 pixels, 116 megapixels in all; their luma is
taken.
"""

from dataclasses import replace

from . import photo_wide

CONFIG = replace(photo_wide.CONFIG, channels=1)
SETTINGS = replace(photo_wide.SETTINGS, minutes=30, pixels=24576, grey=0.0, altered=0.0)
