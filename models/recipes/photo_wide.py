"""RGB photographs, wide and shallow: what the models that learn while they code, grey ones and CIFAR-10's began as.

vlae-codec train photos/train --valid photos/valid --recipe photo-wide -o photo-wide.safetensors
"""

from dataclasses import replace

from . import photo

CONFIG = replace(photo.CONFIG, hidden=256, layers=2, styles=(0, 0))
SETTINGS = photo.SETTINGS
