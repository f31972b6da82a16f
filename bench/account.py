"""What the bits of a file were spent on: each of its streams is decoded, and pushed again as its encoder pushed it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vlae_codec.adapter import chunk
from vlae_codec.adapter.style import read
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.streams import retrace, with_latents, without_latents
from vlae_codec.coder.tile import Ledger, TileCodec
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method, Part, tiles_of
from vlae_codec.format.header import Kind
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.pictures.codec import codec_for, with_adapter
from vlae_codec.pictures.modes import tile_of
from vlae_codec.pictures.pieces import each_piece
from vlae_codec.pictures.sources import Beside, Sources
from vlae_codec.threads import workers

Terms = dict[str, float]


@dataclass
class Account:
    """Bits. The terms of all streams and of the adapter add up to -ELBO."""

    parts: list[Terms] = field(default_factory=list)  # terms of -ELBO of each stream, in the file's order; what has no
    # model has "stored", "exceptions" or "coefficients"
    adapter: float = 0.0
    modes: Terms = field(default_factory=dict)  # "no latents" everywhere, "latents" where they can be, and their "KL";
    # "neither": no latents and no adapter

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
    found, sources = Account(), Sources()
    for part in container.read(data).parts:
        codec = plain = None
        if part.planes.model_id is not None:
            codec = plain = codec_for(replace(part, adapter=None), model, device)
            if part.adapter is not None:
                base = codec.model
                fitted = len(part.adapter) >= chunk.RECORD  # no style
                bits = chunk.size(read(part.adapter, base), base.tables) if fitted else 8 * len(part.adapter)
                found.adapter += bits
                codec = with_adapter(codec, part.adapter)
        beside = decode_source(part, codec, sources) if part.planes.kind == Kind.SOURCE else None
        for index in range(len(part.records)):
            planes = [] if beside is None else beside(part.pieces[index][0])
            own, other = (one if one is None else one.beside(planes) for one in (codec, plain))
            terms, modes = _stream(own, other, part, index, beside is None)
            found.parts.append(terms)
            add(found.modes, modes)
    return found


def decode_source(part: Part, codec: TileCodec | None, sources: Sources) -> Beside | None:
    """Adds a source plane of pictures with an origin; what is known beside its pieces."""
    sources.add(part)
    beside = sources.beside(part, codec)
    with workers(1) as run:
        each_piece(part, codec, sources.put, run, lambda _: None, beside)
    return beside


def first_model(data: bytes) -> str:
    """The id of the first model that a file names; empty if it names none."""
    ids = (planes.model_id for _, _, planes in container.read_header(data).parts)
    return next((found.hex() for found in ids if found is not None), "")


def _stream(
    codec: TileCodec | None, plain: TileCodec | None, part: Part, index: int, latents: bool
) -> tuple[Terms, Terms]:
    """Terms of -ELBO and modes of a stream. A chain's other mode is that of its tiles one by one; what has no model,
    and differences, are as they are in either. plain: the codec without the
    adapter; latents: whether there may be some.
    """
    planes, record, pieces = part.planes, part.records[index], part.pieces[index]
    terms: Terms = {}
    modes = {"neither": 0.0, "no latents": 0.0, "latents": 0.0, "KL": 0.0}
    if not record.coded:
        name = part.planes.kind.name.lower() if not record.stored else "stored"
        bits = terms[name] = 8.0 * len(record.data)
        if codec is None or plain is None or record.differences or not record.stored:
            return terms, modes | {"neither": bits, "no latents": bits, "latents": bits}
        shapes = [place[2:] for _, place in pieces]
        tiles: list[tuple[np.ndarray, Ledger | None]] = [
            (tile_of(one[y : y + h, x : x + w], codec.config["channels"]), None)
            for one in stored.restore(record.method, record.data, shapes, planes.channels, planes.levels)
            for y, x, h, w in container.tile_grid(one.shape[1], one.shape[0], planes.tile_size)
        ]
    else:
        assert codec is not None
        assert plain is not None
        shapes = [place[2:] for _, place in tiles_of(pieces, planes.tile_size)]
        found = retrace(codec, record, shapes, planes.channels, planes.lane_symbols)
        tiles = [(tile, spent) for tile, _, _, spent in found]
    for tile, spent in tiles:
        if spent is not None:
            add(terms, spent.bits)
        draft = Draft(codec, tile, planes.channels)
        null = without_latents(draft, planes.lane_symbols)[1]
        drawn: Ledger | None = spent if spent is not None and "band B" in spent.bits else None
        if drawn is None and record.method != Method.CHAIN and latents:
            attempt = with_latents(draft, planes.lane_symbols)
            drawn = null if attempt is None else attempt[1]
        drawn = drawn or null
        bare = (
            null
            if part.adapter is None
            else without_latents(Draft(plain, tile, planes.channels), planes.lane_symbols)[1]
        )
        add(
            modes,
            {"neither": total(bare), "no latents": total(null), "latents": total(drawn), "KL": drawn.kl / COST_UNIT},
        )
    return terms, modes


def total(ledger: Ledger) -> float:
    return sum(ledger.costs.values()) / COST_UNIT
