"""Quantising export: a float VLAE -> the integer tensors of a weight file (`vlae_codec.weights.model`).

Ranges are fixed by the architecture, so no calibration data are needed. For each output channel the weights, times the
value of one input step, are scaled to int8; what remains goes into the multiplier, and bias, rounding and zero points
into the addend:

    v = sum_j W_j u_j (a_j - zero_j) + b        a: stored inputs, u: their unit
    out = v / u_out + zero_out = (accumulator * multiplier + addend) >> shift

A channel whose worst accumulator would reach 2^24 gets coarser weights. This is the only place where floats become the
codec's integers, and it runs once per model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from vlae_codec import contract
from vlae_codec.adapter.style import UNIT
from vlae_codec.contract import (
    ACCUMULATOR_LIMIT,
    DIGIT_BITS,
    INT8_MAX,
    INT8_MIN,
    RECTIFIED,
    SCALE_MIN_LOG2,
    TABLE_BITS,
    side_features,
    window_offsets,
)
from vlae_codec.gpu.logistics import LOC_UNIT, LOGIT_UNIT, SCALE_UNIT, mixture_units
from vlae_codec.native import mixture

from .layers import HIDDEN_UNIT, INPUT_UNIT, LATENT_UNIT
from .styles import GAIN
from .vlae import Vlae
from .weights_file import save_weights

LATENT_PATH = ("encoder.", "topdown.", "affine.", "mixture.")  # with which the names of its tensors begin


def quantise(
    weight: np.ndarray,
    bias: np.ndarray,
    unit: np.ndarray,
    zero: np.ndarray,
    out_unit: np.ndarray | float,
    out_zero: np.ndarray | float,
    digits: int = 1,
) -> dict[str, np.ndarray]:
    """One layer. weight: (outputs, inputs) float64; unit, zero: (inputs,); out_unit, out_zero: (outputs,) or one."""
    scaled = weight * unit
    peak, total = np.abs(scaled).max(1), np.abs(scaled).sum(1)
    inputs = weight.shape[1]
    step = np.maximum(peak / INT8_MAX, total * -INT8_MIN / (ACCUMULATOR_LIMIT - 1 - 64 * inputs))
    base = 1 << DIGIT_BITS * (digits - 1)
    step = np.maximum(step, 1e-12) / base
    integer = np.rint(scaled / step[:, None]).clip(-INT8_MAX * base, INT8_MAX * base)
    high = np.rint(integer / base)
    columns = [integer] if digits == 1 else [high, integer - base * high]
    ratio = step / out_unit
    shift = int(np.clip(np.floor(np.log2((1 << 20) / ratio.max())), 0, 40))
    offset = (bias - step * (integer @ zero)) / out_unit + out_zero
    return {
        "weight": np.ascontiguousarray(np.concatenate(columns).T).astype(np.int8),
        "multiplier": np.rint(ratio * 2.0**shift).astype(np.int64),
        "addend": np.rint(offset * 2.0**shift).astype(np.int64) + ((1 << shift) >> 1),
        "shift": np.array([shift], np.int64),
    }


def make_tables() -> mixture.Tables:
    """The probability tables, by the formulas in `vlae_codec.native.mixture`."""
    argument = np.arange(-contract.SIGMOID_HALF, contract.SIGMOID_HALF + 1) / (1 << contract.ARGUMENT_BITS)
    scale = 2.0 ** (np.arange(contract.SCALES) * SCALE_UNIT + SCALE_MIN_LOG2)
    outer = 2.0 ** ((np.arange(contract.OUTER_SCALES) - contract.OUTER_IDENTITY) * SCALE_UNIT)
    exp = np.exp(-np.arange(contract.EXP_ENTRIES) * LOGIT_UNIT)
    return mixture.Tables(
        np.rint(2.0**contract.SIGMOID_BITS / (1 + np.exp(-argument))).astype(np.int32),
        np.maximum(np.rint(2.0**contract.WEIGHT_BITS * exp), 1).astype(np.int32),
        np.rint(2.0 ** (TABLE_BITS + contract.ARGUMENT_BITS - contract.LEVEL_BITS) / scale).astype(np.int64),
        np.rint(2.0**TABLE_BITS * outer).astype(np.int64),
        np.rint(2.0**TABLE_BITS / outer).astype(np.int64),
    )


def as_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


class Form(NamedTuple):
    """How one float layer is held as integers; `quantise` and `models.restore` are its two directions."""

    name: str  # of its tensors
    layer: nn.Linear
    unit: np.ndarray  # (inputs,) float value of one step of an input
    zero: np.ndarray  # (inputs,) stored value of zero
    out_unit: np.ndarray | float = HIDDEN_UNIT  # (blank + outputs,) or one for all; by default a hidden activation's
    out_zero: np.ndarray | float = RECTIFIED
    digits: int = 1
    blank: int = 0  # outputs that the integer layer has before the float layer's: always zero


def forms(model: Vlae) -> Iterator[Form]:
    """Every layer of the weight file."""
    config, encoder, topdown = model.config, model.encoder, model.topdown
    c = config.latents

    def signed(name: str, layer: Any) -> Form:
        return Form(name, layer, np.full(layer.in_features, INPUT_UNIT), np.zeros(layer.in_features))

    def hidden(name: str, layer: Any) -> Form:
        return Form(name, layer, np.full(layer.in_features, HIDDEN_UNIT), np.full(layer.in_features, float(RECTIFIED)))

    def mlp(
        name: str, net: Any, unit: np.ndarray, out_unit: np.ndarray, out_zero: np.ndarray | float
    ) -> Iterator[Form]:
        zero = np.zeros(len(unit))
        for i, layer in enumerate(net.hidden):
            form = hidden(f"{name}.hidden.{i}", layer)
            yield form if i else form._replace(unit=unit, zero=zero, digits=2)
        width = net.out.in_features - len(unit)
        units, zeros = np.full(width, HIDDEN_UNIT), np.full(width, float(RECTIFIED))
        units, zeros = np.concatenate([units, unit]), np.concatenate([zeros, zero])
        yield Form(f"{name}.out", net.out, units, zeros, out_unit, out_zero, digits=2)

    yield signed("encoder.stem", encoder.stem)
    for kind in ("down", "grid"):
        for i, layer in enumerate(getattr(encoder, kind)):
            yield hidden(f"encoder.{kind}.{i}", layer)
    unit, zero = mixture_units(1, c, coupled=False)  # a logit that says nothing, then locations and scales
    unit[1 : 1 + c] *= LATENT_UNIT
    yield hidden("encoder.out", encoder.out)._replace(out_unit=unit, out_zero=zero, digits=2, blank=1)

    yield signed("topdown.grid.0", topdown.grid[0])
    yield hidden("topdown.grid.1", topdown.grid[1])
    yield hidden("topdown.spread", topdown.spread)
    yield hidden("topdown.fine", topdown.fine)
    yield hidden("topdown.out", topdown.out)._replace(out_zero=0.0)

    unit = np.full(len(window_offsets(config.prior_window)) * c, INPUT_UNIT)
    affine_unit = np.repeat([LOC_UNIT, SCALE_UNIT], c)
    for t, net in enumerate(model.prior.affine):
        yield from mlp(f"affine.{t}", net, unit, affine_unit, 0.0)
    if model.prior.mixture is not None:
        yield from mlp("mixture", model.prior.mixture, unit, *mixture_units(config.prior_mixtures, c, coupled=True))

    steps = (len(window_offsets(config.window)) + 1) * config.channels
    known = side_features(config.side)
    unit = np.repeat([INPUT_UNIT, HIDDEN_UNIT, INPUT_UNIT], [steps, config.context, known])
    yield from mlp("local", model.local, unit, *mixture_units(config.mixtures, config.channels, coupled=True))


def style_units(model: Vlae) -> list[np.ndarray]:
    """The float value of a number of a style, of each output of each layer."""
    last, _ = mixture_units(model.config.mixtures, model.config.channels, coupled=True)
    return [unit * 2.0**UNIT for unit in (*[np.full(model.config.hidden, HIDDEN_UNIT)] * model.config.layers, last)]


def _styles(model: Vlae) -> np.ndarray:
    assert model.styles is not None
    steps = [GAIN * as_array(part) / unit for part, unit in zip(model.styles.parts, style_units(model))]
    return np.rint(np.concatenate(steps, axis=2)).clip(-INT8_MAX, INT8_MAX).astype(np.int8)


def integer_tensors(model: Vlae) -> dict[str, np.ndarray]:
    """Every tensor of the weight file."""
    tensors: dict[str, np.ndarray] = {}
    for form in forms(model):
        weight, bias = as_array(form.layer.weight), as_array(form.layer.bias)
        if model.config.side and form.name.startswith(LATENT_PATH):
            weight = 0 * weight  # planes beside others have no latents
        weight = np.concatenate([np.zeros((form.blank, weight.shape[1])), weight])
        bias = np.concatenate([np.zeros(form.blank), bias])
        parts = quantise(weight, bias, form.unit, form.zero, form.out_unit, form.out_zero, form.digits)
        tensors.update({f"{form.name}.{key}": value for key, value in parts.items()})
    if model.styles is not None:
        tensors["styles"] = _styles(model)
    tensors["null"] = np.rint(as_array(model.topdown.null) / HIDDEN_UNIT).clip(INT8_MIN, INT8_MAX).astype(np.int8)
    if model.prior.mixture is None:
        c = model.config.latents
        loc, log2_scale = as_array(model.prior.base).reshape(2, c)
        row = np.concatenate([[0], loc / LOC_UNIT, (log2_scale - SCALE_MIN_LOG2) / SCALE_UNIT])
        low, high = mixture.parameter_limits(1, c, coupled=False)
        tensors["base"] = np.rint(row).clip(low, high).astype(np.int32)[None]
    tensors.update({f"tables.{field}": value for field, value in make_tables()._asdict().items()})
    return tensors


def export(model: Vlae, path: str | Path) -> bytes:
    """Writes the integer model; returns its id. Raises WeightsError if a bound cannot be kept."""
    return save_weights(path, model.config.to_dict(), integer_tensors(model))
