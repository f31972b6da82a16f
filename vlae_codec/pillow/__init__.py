"""Pillow reads and writes .vlae files once this is imported:

>>> import vlae_codec.pillow
>>> from PIL import Image
>>> Image.registered_extensions()[".vlae"], Image.MIME["VLAE"]
('VLAE', 'image/vlae')

Pillow looks for plugins in its own package only, and for no entry points, so this import is what registers them.

file     `VlaeImageFile`: opening, frames, loading, cropping
save     `Image.save` and its options
modes    pictures <-> Pillow's modes and samples
info     metadata <-> `Image.info` and the options of `save`
"""

from __future__ import annotations

from PIL import Image

from vlae_codec.format.container import MAGIC
from vlae_codec.pillow.file import FORMAT, VlaeImageFile
from vlae_codec.pillow.save import save, save_all

__all__ = ["VlaeImageFile"]


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


Image.register_open(FORMAT, VlaeImageFile, _accept)
Image.register_save(FORMAT, save)
Image.register_save_all(FORMAT, save_all)
Image.register_extension(FORMAT, ".vlae")
Image.register_mime(FORMAT, "image/vlae")
