"""Makes a file twice, as the model is and with an adapter fitted to its pictures, and keeps the smaller one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from vlae_codec.effort import Watch, level
from vlae_codec.errors import InputError, WeightsError
from vlae_codec.modes import with_adapter
from vlae_codec.workers import Progress, Run, alone

HOPELESS = 0.7  # a file of stored tiles that is so much smaller than the model's will not be beaten by adapting it


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
    data, ledgers = encode(codec, None)
    without = sum(ledger.modes.get("no latents", 0.0) for ledger in ledgers)
    adapter = None
    if effort.passes and 8 * len(data) > HOPELESS * without:
        from vlae_codec.adapter import pack, size
        from vlae_codec.models.fit import fit

        tables = codec.model.tables
        with suppress(WeightsError), alone():  # it would break the accumulator bound
            adapter = fit(codec, tiles, coded, effort, run, job.watch, job.seed)
    if adapter is not None:
        payload = pack(adapter, tables)
        other, spent = encode(with_adapter(codec, payload), payload)
        if len(other) < len(data):
            data, ledgers = other, spent
            if job.ledger is not None:
                job.ledger.bits["adapter"] = size(adapter, tables)
    if job.ledger is not None:
        for ledger in ledgers:
            job.ledger.merge(ledger)
    return data
