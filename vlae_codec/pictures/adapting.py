"""Makes a file with an adapter fitted to its pictures, or as the model is, whichever is smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.adapter.effort import Watch, level
from vlae_codec.errors import InputError, WeightsError
from vlae_codec.format import stored
from vlae_codec.pictures.modes import with_adapter
from vlae_codec.threads import Progress, Run, alone

HOPELESS = 0.7  # a file of stored tiles that is so much smaller than the model's will not be beaten by adapting it
SURE = 4.0  # standard deviations of the size without an adapter by which a file with one must be smaller ...
MARGIN = 0.005  # ... and this share of it, so that the other file need not be made


class Job(NamedTuple):
    """How a file is to be made, and who wants to know of it."""

    effort: int
    seed: int
    verify: bool
    progress: Progress | None
    watch: Watch | None
    ledger: Any


Encode = Callable[[Any, bytes | None], tuple[bytes, Sequence[Any]]]


def smallest(codec: Any, tiles: Sequence[np.ndarray], coded: int, encode: Encode, job: Job, run: Run) -> bytes:
    """The smaller one of the files without and with an adapter fitted to tiles (H, W, C) uint8.

    encode: from a `TileCodec` and the payload of its adapter, if it has one, to a file and the ledgers of its parts.
    Raises InputError for an effort or a seed that there is not.
    """
    effort = level(job.effort)
    if job.seed < 0:
        raise InputError(f"the seed must be 0 or more, not {job.seed}")
    if not effort.passes:
        return _kept(*encode(codec, None), job)
    from vlae_codec.adapter.chunk import pack, size
    from vlae_codec.adapter.fit import fit, look

    problem = look(codec, tiles, coded, effort, run, job.seed)
    plain = None
    if job.ledger is not None or _may_be_stored(tiles, coded, problem.before):
        plain = encode(codec, None)
        without = sum(ledger.modes.get("no latents", 0.0) for ledger in plain[1])
        if 8 * len(plain[0]) <= HOPELESS * without:
            return _kept(*plain, job)
    adapter = None
    with suppress(WeightsError), alone():  # it would break the accumulator bound
        adapter = fit(problem, effort, run, job.watch)
    if adapter is not None:
        tables = codec.model.tables
        payload = pack(adapter, tables)
        data, spent = encode(with_adapter(codec, payload), payload)
        sure = 8 * len(data) < (1 - MARGIN) * problem.before - SURE * problem.deviation
        if plain is None and not sure:
            plain = encode(codec, None)
        if plain is None or len(data) < len(plain[0]):
            if job.ledger is not None:
                job.ledger.bits["adapter"] = size(adapter, tables)
            return _kept(data, spent, job)
    return _kept(*(plain or encode(codec, None)), job)


def _may_be_stored(tiles: Sequence[np.ndarray], coded: int, bits: float) -> bool:
    """Whether a tile may be stored without the model, which needs so many bits for all of them."""
    total = sum(tile[..., 0].size for tile in tiles)
    parts = (np.ascontiguousarray(tile[..., :coded]) for tile in tiles)
    return any(stored.worth_a_try(part, int(bits * part[..., 0].size / total / 8)) for part in parts)


def _kept(data: bytes, ledgers: Sequence[Any], job: Job) -> bytes:
    if job.ledger is not None:
        for ledger in ledgers:
            job.ledger.merge(ledger)
    return data
