"""RGB photographs with a network that is twice as deep: `photo-best` begins with it. Begins as `photo`.

    vlae-codec train photos/train photos/train2 --valid photos/valid --recipe photo-deep --init photo --grow \\
        -o photo-deep.safetensors

photos/train, photos/train2: 447 lossless crops of photographs, 480 to 512 pixels, 116 megapixels in all.
"""

from dataclasses import replace

from . import photo

CONFIG = replace(photo.CONFIG, layers=4)
SETTINGS = replace(photo.SETTINGS, minutes=240)
