"""What the bits of a file were spent on: each of its streams is decoded, and pushed again as its encoder pushed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vlae_codec.adapter import chunk
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.streams import retrace, with_latents, without_latents
from vlae_codec.coder.tile import Ledger, TileCodec
from vlae_codec.format import container, stored
from vlae_codec.format.container import STORED, Contents, Method, tiles_of
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.pictures.codec import codec_for, find_codec, with_adapter
from vlae_codec.pictures.modes import tile_of

Terms = dict[str, float]


@dataclass
class Account:
    """Bits. The terms of all streams and of the adapter add up to -ELBO."""

    parts: list[Terms] = field(default_factory=list)  # terms of -ELBO of each stream, in the file's order
    adapter: float = 0.0
    modes: Terms = field(default_factory=dict)  # "no latents" everywhere, "latents" where they can be, and their "KL"

    @property
    def bits(self) -> Terms:
        terms: Terms = {"adapter": self.adapter} if self.adapter else {}
        for part in self.parts:
            add(terms, part)
        return terms


def add(terms: Terms, more: Terms) -> None:
    for name, bits in more.items():
        terms[name] = terms.get(name, 0.0) + bits


def account(data: bytes, model: str | Path | None = None, device: str = "auto") -> Account:
    """The account of a file; model: by default what it names."""
    contents, found = container.read(data), Account()
    codec = codec_for(contents, model, device)
    if codec is None:  # all is stored
        codec = find_codec(model, contents.header.model_id, device, contents.header.mode)
        if contents.adapter is not None:
            codec = with_adapter(codec, contents.adapter)
    if contents.adapter is not None:
        base = find_codec(model, contents.header.model_id, device, contents.header.mode).model
        found.adapter = chunk.size(chunk.unpack(contents.adapter, base.local, base.tables), base.tables)
    for index in range(len(contents.tiles)):
        terms, modes = _stream(codec, contents, index)
        found.parts.append(terms)
        add(found.modes, modes)
    return found


def _stream(codec: TileCodec, contents: Contents, index: int) -> tuple[Terms, Terms]:
    """Terms of -ELBO and modes of a stream. A chain's other mode is that of its tiles one by one."""
    header, record, parts = contents.header, contents.tiles[index], contents.pieces[index]
    args = (header.channels, header.lane_symbols)
    terms: Terms = {}
    modes = {"no latents": 0.0, "latents": 0.0, "KL": 0.0}
    if record.method in STORED:
        terms["stored"] = 8.0 * len(record.data)
        pixels = stored.restore(record.method, record.data, [place[2:] for _, place in parts], header.mode)
        tiles: list[tuple[np.ndarray, Ledger | None]] = [
            (tile_of(one[y : y + h, x : x + w], codec.config["channels"]), None)
            for one in pixels
            for y, x, h, w in container.tile_grid(one.shape[1], one.shape[0], header.tile_size)
        ]
    else:
        shapes = [place[2:] for _, place in tiles_of(parts, header.tile_size)]
        tiles = [(tile, spent) for tile, _, _, spent in retrace(codec, record, shapes, *args)]
    for tile, spent in tiles:
        if spent is not None:
            add(terms, spent.bits)
        draft = Draft(codec, tile, header.channels)
        null = without_latents(draft, header.lane_symbols)[1]
        drawn: Ledger | None = spent if spent is not None and "band B" in spent.bits else None
        if drawn is None and record.method != Method.CHAIN:
            attempt = with_latents(draft, header.lane_symbols)
            drawn = null if attempt is None else attempt[1]
        drawn = drawn or null
        add(modes, {"no latents": total(null), "latents": total(drawn), "KL": drawn.kl / COST_UNIT})
    return terms, modes


def total(ledger: Ledger) -> float:
    return sum(ledger.costs.values()) / COST_UNIT
