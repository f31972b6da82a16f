"""The integers that the codec, the C core, the weight files and the training share, each defined once.

A float that training uses is a number of these steps, so a float network and its integer twin have the same ranges. The
loader compares the constants of the core with these (`native.library`). This module imports nothing but the standard
library.
"""

from __future__ import annotations

from typing import NamedTuple

# Networks: 8-bit activations, and weights of one or two digits
DIGIT_BITS = 7  # a weight of two digits is 128 * high + low
ACCUMULATOR_LIMIT = 1 << 24  # every partial sum stays below it, which makes float32 products exact
INT8_MIN, INT8_MAX = -128, 127
RECTIFIED = INT8_MIN  # the stored value of zero of a rectified activation
PIXEL_CENTRE = 128  # a pixel enters a network less this
INPUT_BITS = 4  # a step of a network's input is 1/16
ACTIVATION_BITS = 6  # a step of an activation is 1/64
STRETCH = {256: 0, 2: 6}  # left shift of a subpixel where it enters a network, by its number of levels

# Latents
LATENT_LEVELS = 64
LATENT_CENTRE = LATENT_LEVELS // 2  # the symbol of the latent 0
LATENT_STEP_BITS = 2  # a latent step is 4 input steps where latents enter a network

# edge of a latent cell in pixels -> how the encoder comes to it from patches of 4x4: so many to a side become one
REDUCTIONS: dict[int, tuple[int, ...]] = {4: (), 8: (2,), 16: (2, 2), 28: (7,)}

# Distributions: units of the parameters, and their limits in a row
PRECISION = 24  # bits of a CDF
LEVEL_BITS = 6  # a location is in 1/64 level
LOGIT_BITS = 5  # a logit is in 1/32 nat
SCALE_BITS = 4  # a scale index is in 1/16 octave
COEF_BITS = 8  # a coefficient is in 1/256
SCALE_MIN_LOG2 = -4  # log2 of the scale of index 0, in levels
SCALES = 160
OUTER_SCALES = 192
OUTER_IDENTITY = -SCALE_MIN_LOG2 << SCALE_BITS  # the index of scale 1
AFFINE_LOW, AFFINE_HIGH = -32, 63  # how far one flow step moves the outer scale index: 2^-2 .. 2^3.94
LOC_LIMIT, LOGIT_LIMIT, COEF_LIMIT = 1 << 15, 1 << 12, 1 << 10
OFFSET_LIMIT = 1 << 20
MEAN_LIMIT = 1 << 29  # of a component, 1/64 level

# Samples
MAX_LEVELS = 1 << 16
MAX_SHIFT = 10  # the networks work in coarse levels of 2^shift levels

# Tables of the CDFs
WEIGHT_BITS = 12  # of the largest weight of a mixture
SIGMOID_BITS = 20
ARGUMENT_BITS = 8  # the sigmoid's argument is in 1/256 scale
SIGMOID_HALF = 4096  # entries of the sigmoid's table on each side of 0
FACTOR_BITS = 18
MAX_ESCAPE = 16  # symbols outside a set of values have 2^-escape of the range, at least 2^8
EXP_ENTRIES = 512
TABLE_BITS = 16  # fraction of the tables of scales and their inverses

# Learning while coding
LEARN_PIXELS = 384  # after so many the network learns
LEARN_BIAS = 64  # the activation of the bias
LEARN_BITS = 8  # of a weight's fraction
LEARN_STEP_BITS = 8  # of what the preconditioner gives, that a step is without
LEARN_RATE_BITS = 6
LEARN_UNITS = 12  # bits of the parts of a score
LEARN_SCALE_BITS = 16
LEARN_STEP = (1 << 15) - 1  # the largest step
LEARN_LIMIT = 1 << 24  # of what the preconditioner's network gives
LEARN_RANK, LEARN_HIDDEN_RANK = 64, 32  # its hidden units, for the last layer and for others
MAX_SLOW = 6  # rates may be divided by 2^6
LEARN_WIDTH = 512  # inputs of a layer that learns and its bias, at most: the bounds hold wherever its weights move


class Pace(NamedTuple):
    """How a model learns while it codes."""

    slow: int = 0  # rates are divided by 2^slow, 0 .. MAX_SLOW
    whole: bool = True  # all layers of the local network learn but the first, or only the last one


# Calls of the core
SLACK = 64  # bytes behind pixels and features that the core may read
COST_BITS = 20  # of fraction in a cost


class Layout(NamedTuple):
    """How many numbers of each kind a row of parameters has, in this order."""

    logits: int
    locations: int
    scales: int
    coefficients: int


def parameter_layout(mixtures: int, channels: int, coupled: bool = True) -> Layout:
    """The layout of a row of K joint logistics over C channels; `coupled`: channels depend on those before them."""
    pairs = channels * (channels - 1) // 2 if coupled else 0
    return Layout(mixtures, mixtures * channels, mixtures * channels, mixtures * pairs)


def parameter_count(mixtures: int, channels: int, coupled: bool = True) -> int:
    """The length of a row of parameters."""
    return sum(parameter_layout(mixtures, channels, coupled))


def window_offsets(window: tuple[int, int]) -> list[tuple[int, int]]:
    """(row, column) offsets of the causal A x B window in raster order: B rows of A above, then A // 2 to the left."""
    wide, up = window
    reach = wide // 2
    above = [(-r, c) for r in range(up, 0, -1) for c in range(-reach, reach + 1)]
    return above + [(0, c) for c in range(-reach, 0)]


SIDE_OFFSETS = [(r, c) for r in (-1, 0, 1) for c in range(-2, 3) if r or c]  # around a sample of a side plane


def side_features(planes: int) -> int:
    """The features of a pixel that so many side planes give: differences to their samples, and these."""
    return planes * (len(SIDE_OFFSETS) + 1)


def window_slope(window: tuple[int, int]) -> int:
    """The columns by which a wave shifts from row to row."""
    return window[0] // 2 + 1
