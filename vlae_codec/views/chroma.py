"""The colours of previews of pictures with source planes: their files have latents of the luma, so that is drawn first,
and then chroma beside it, from what its model expects there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vlae_codec.coder.tile import TileCodec
from vlae_codec.format import stored
from vlae_codec.format.container import Part
from vlae_codec.format.header import Kind
from vlae_codec.pictures.sources import Sources, rebuild_planes
from vlae_codec.threads import Run

Draw = Callable[[TileCodec, tuple[int, int], list[int]], np.ndarray]  # (h, w, C) samples, the same for the same seed


def is_chroma(part: Part) -> bool:
    return part.planes.kind == Kind.SOURCE and part.channel > 0


def with_chroma(
    parts: Sequence[tuple[Part, TileCodec | None]],
    lumas: dict[int, np.ndarray],
    draw: Draw,
    run: Run,
    tick: Callable[[int], None],
) -> dict[int, np.ndarray]:
    """(H, W, 3) uint8 of the pictures of parts of chroma, of which the luma (H, W) uint8 is known.

    Chroma is drawn; where it is stored without a model it is what the file has.
    """
    sources = Sources({i: [luma] for i, luma in lumas.items()})
    for part, codec in parts:
        sources.add(part)
        _draw_plane(part, codec, sources, draw, run, tick)
    found = {}
    for part, _ in parts:
        for i, _, _ in part.pictures:
            h, w = lumas[i].shape
            found[i] = rebuild_planes(part.layout, sources.planes[i], (w, h), (0, 0, w, h))
    return found


def _draw_plane(
    part: Part, codec: TileCodec | None, sources: Sources, draw: Draw, run: Run, tick: Callable[[int], None]
) -> None:
    """Puts the plane of chroma that was added last into its place."""
    beside = sources.beside(part, codec)

    def show(index: int) -> None:
        (piece,), record = part.pieces[index], part.records[index]
        h, w = piece[1][2:]
        if codec is None or record.stored:
            (samples,) = stored.restore(record.method, record.data, [(h, w)], 1, 256)
        else:
            own = codec if beside is None else codec.beside(beside(piece))
            samples = draw(own, (h, w), [part.channel, index])
        sources.put(piece, samples)
        tick(h * w)

    run(show, range(len(part.records)))
