"""RGB photographs with a network of six layers: `photo-best` begins with it. Begins as `photo-wide`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-deep \\
        --init photo-wide.safetensors --grow -o photo-deep.safetensors

photos/train, photos/train2: 447 lossless crops of photographs, 480 to 512 pixels, 116 megapixels in all.
"""

from dataclasses import replace

from . import photo_wide

CONFIG = replace(photo_wide.CONFIG, layers=6)
SETTINGS = replace(photo_wide.SETTINGS, minutes=240)
