"""RGB photographs with a network that is three times as deep: what the highest efforts take. Begins as `photo`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-best --init photo --grow \\
        -o photo-best.safetensors

photos/train, photos/train2: 447 lossless crops of photographs, 480 to 512 pixels, 116 megapixels in all.
"""

from dataclasses import replace

from . import photo

CONFIG = replace(photo.CONFIG, layers=6)
SETTINGS = replace(photo.SETTINGS, minutes=240)
