"""vlae-codec: lossless image compression with a variational lossy autoencoder and bits-back ANS.

>>> import numpy as np, vlae_codec
>>> pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
>>> data = vlae_codec.compress(pixels)
>>> bool((vlae_codec.decompress(data) == pixels).all())
True
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlae_codec.api import (
        Added,
        Archive,
        Extracted,
        Keep,
        Limits,
        Member,
        Picture,
        Salvaged,
        append_archive,
        bits_map,
        check_files,
        compress,
        compress_files,
        compress_many,
        create_archive,
        decompress,
        decompress_files,
        decompress_many,
        decompress_picture,
        decompress_pictures,
        extract_archive,
        open_archive,
        preview,
        salvage,
        sample,
    )

if not Path(__file__).with_name("cli").is_dir():  # a checkout, where cli, models and bench stand beside the package
    __path__.append(str(Path(__file__).parent.parent))

__all__ = [
    "Added",
    "Archive",
    "Extracted",
    "Keep",
    "Limits",
    "Member",
    "Picture",
    "Salvaged",
    "append_archive",
    "bits_map",
    "check_files",
    "compress",
    "compress_files",
    "compress_many",
    "create_archive",
    "decompress",
    "decompress_files",
    "decompress_many",
    "decompress_picture",
    "decompress_pictures",
    "extract_archive",
    "open_archive",
    "preview",
    "salvage",
    "sample",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads the API on first use: `vlae-codec info` needs neither numpy nor torch."""
    if name in __all__:
        from vlae_codec import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
