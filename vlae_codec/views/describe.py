"""What a .vlae file holds, without decoding it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vlae_codec.format import container
from vlae_codec.limits import UNLIMITED


def describe(data: container.Bytes) -> dict[str, Any]:
    """What a .vlae file holds, as JSON types; `items` is where its bytes go, `decoding` what it takes to decode it: the
    pixels that go through the model, and the bytes of memory of all pixels.

    Of a list of pictures, `width` and `height` are those of the first, `tiles` is the number of `groups`. Raises what
    `container.read` raises.
    """
    contents = container.read(data, UNLIMITED)
    header, table = contents.header, contents.pictures
    methods = Counter(container.Method(tile.method).name.lower() for tile in contents.tiles)
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bit_depth": header.bit_depth,
        "pictures": 1 if table is None else table.count,
        "sizes": 1 if table is None else len({run[1:] for run in table.runs}),
        "groups": None if table is None else table.groups,
        "bytes": len(data),
        "bpsp": 8 * len(data) / contents.subpixels,
        "model": header.model_id.hex(),
        "tiles": len(contents.tiles),
        "tile_size": header.tile_size,
        "methods": dict(sorted(methods.items())),
        "metadata": {key: len(value) for key, value in contents.metadata.items()},
        "items": container.itemise(bytes(data)),
        "decoding": {"model_pixels": contents.model_pixels, "bytes": contents.subpixels},
    }
