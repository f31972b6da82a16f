"""Effort levels: how much work goes into fitting an adapter to the pictures of a file, and whether a model learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vlae_codec.contract import Pace
from vlae_codec.errors import InputError


class Effort(NamedTuple):
    passes: float  # over the pixels, at most
    richness: float  # the share of the pictures' bits for which an adapter gets numbers, at 4 bits each
    stop: float  # a pass that gains a smaller share of the bits than this is the last but for the annealing
    paces: tuple[Pace, ...] = ()  # at which a model that can learns while it codes, each tried
    tile: int | None = None  # pixels a side at most, if not as usual: in each tile a model that learns begins afresh


LEVELS = {
    1: Effort(0.0, 0.0, 0.0),
    2: Effort(0.25, 0.004, 0.0, (Pace(0),), 768),
    3: Effort(1.0, 0.006, 0.0, (Pace(0),), 768),
    4: Effort(2.0, 0.006, 0.0, (Pace(0),), 768),
    5: Effort(1.0, 0.006, 0.0, (Pace(0),), 1024),
    6: Effort(2.0, 0.006, 0.0, (Pace(0),), 1024),
    7: Effort(4.0, 0.007, 5e-4, (Pace(0), Pace(1)), 1024),
    8: Effort(8.0, 0.009, 5e-4, (Pace(0), Pace(1)), 1024),
    9: Effort(16.0, 0.011, 2e-4, (Pace(0), Pace(1)), 1024),
}
DEFAULT = 2
BEST = 5  # from which on the larger ones of the default models are taken


def level(effort: int) -> Effort:
    """The numbers of a level. Raises InputError for a level that does not exist."""
    if effort not in LEVELS:
        raise InputError(f"the effort must be {min(LEVELS)} to {max(LEVELS)}, not {effort}")
    return LEVELS[effort]


class Fitting(NamedTuple):
    """How far a fit has come."""

    done: float  # 0 .. 1
    before: float  # bits per subpixel without an adapter, as estimated from the pixels looked at
    now: float  # with it, its own bits included, likewise


Watch = Callable[[Fitting], None]
