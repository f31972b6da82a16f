"""What a .vlae file holds, without decoding it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vlae_codec.contract import Pace
from vlae_codec.format import container
from vlae_codec.format.container import Contents, Part
from vlae_codec.format.header import Origin
from vlae_codec.limits import UNLIMITED


def describe(data: container.Bytes) -> dict[str, Any]:
    """What a .vlae file holds, as JSON types; `items` is where its bytes go, `decoding` what it takes to decode it: the
    samples that go through the model, and the bytes of memory of all pixels.

    `width`, `height`, `mode`, `type`, `bit_depth` and `levels` are those of the first picture, `planes` are the groups
    of planes of all. Raises what `container.read` raises.
    """
    contents = container.read(data, UNLIMITED)
    header = contents.header
    first = header.first
    return {
        "width": header.width,
        "height": header.height,
        "mode": first.mode,
        "type": first.type,
        "bit_depth": first.bits,
        "levels": first.levels,
        "colours": first.colours,
        "pictures": header.count,
        "sizes": len({run[2:] for run in header.runs}),
        "kinds": len(header.layouts),
        "bytes": len(data),
        "bpsp": 8 * len(data) / header.subpixels,
        "streams": len(contents.records),
        "methods": _methods(contents.parts),
        "origins": [_origin(layout.origin) for layout in header.layouts],
        "planes": [_planes(part) for part in contents.parts],
        "metadata": _metadata(contents),
        "items": container.itemise(bytes(data)),
        "decoding": {"model_pixels": contents.model_pixels, "bytes": header.bytes},
    }


def _planes(part: Part) -> dict[str, Any]:
    planes = part.planes
    return {
        "mode": part.layout.mode,
        "kind": planes.kind.name.lower(),
        "size": list(part.pictures[0][1:]),
        "bytes": sum(len(record.data) for record in part.records),
        "channels": [part.channel, part.channel + planes.channels - 1],
        "levels": planes.levels,
        "shift": planes.shift,
        "learning": None if planes.pace is None else _learning(planes.pace),
        "scale": list(planes.scale),
        "values": [count for count, _ in planes.values],
        "model": None if planes.model_id is None else planes.model_id.hex(),
        "adapter": len(part.adapter or b""),
        "tile_size": planes.tile_size,
        "chains": planes.chains,
        "methods": _methods([part]),
    }


def _learning(pace: Pace) -> dict[str, Any]:
    return {"rate": 2.0**-pace.slow, "layers": "all" if pace.whole else "last"}


def _origin(origin: Origin | None) -> str | None:
    """What pictures were before they were RGB, in words."""
    if origin is None:
        return None
    from vlae_codec.pictures.sources import words  # which needs numpy

    return words(origin)


def _methods(parts: list[Part] | tuple[Part, ...]) -> dict[str, int]:
    """How many streams each method has; "differences" are those from the picture before, counted once more."""
    records = [record for part in parts for record in part.records]
    methods = Counter(container.Method(record.method).name.lower() for record in records)
    differences = sum(record.differences for record in records)
    return dict(sorted(methods.items())) | ({"differences": differences} if differences else {})


def _metadata(contents: Contents) -> dict[str, int]:
    """Bytes of all metadata of a name."""
    sizes: Counter[str] = Counter()
    for one in contents.metadata:
        sizes[one.name] += len(one.value)
    return dict(sorted(sizes.items()))
