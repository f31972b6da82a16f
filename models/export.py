"""Quantising export: a float VLAE -> the integer tensors of a weight file (`vlae_codec.model`).

Ranges are fixed by the architecture, so no calibration data are needed. For each output channel the weights, times the
value of one input step, are scaled to int8; what remains goes into the multiplier, and bias, rounding and zero points
into the addend:

    v = sum_j W_j u_j (a_j - zero_j) + b        a: stored inputs, u: their unit
    out = v / u_out + zero_out = (accumulator * multiplier + addend) >> shift

A channel whose worst accumulator would reach 2^24 gets coarser weights. This is the only place where floats become the
codec's integers, and it runs once per model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vlae_codec import tables
from vlae_codec.model import save_weights
from vlae_codec.network import ACCUMULATOR_LIMIT, DIGIT_BITS

from .vlae import HIDDEN_UNIT, INPUT_UNIT, LATENT_UNIT, SCALE_LOG2_MIN, Vlae, mixture_width, window_offsets

RECTIFIED = -128.0  # stored zero of an unsigned activation
LOGIT_UNIT, LOC_UNIT, SCALE_UNIT, COEF_UNIT = 1 / 32, 1 / 64, 1 / 16, 1 / 256


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
    step = np.maximum(peak / 127, total * 128 / (ACCUMULATOR_LIMIT - 1 - 64 * inputs))
    base = 1 << DIGIT_BITS * (digits - 1)
    step = np.maximum(step, 1e-12) / base
    integer = np.rint(scaled / step[:, None]).clip(-127 * base, 127 * base)
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


def make_tables() -> tables.Tables:
    """The probability tables, by the formulas in `vlae_codec.tables`."""
    argument = np.arange(-tables.SIGMOID_HALF, tables.SIGMOID_HALF + 1) / 256
    scale = 2.0 ** (np.arange(tables.SCALES) * SCALE_UNIT + SCALE_LOG2_MIN)
    outer = 2.0 ** ((np.arange(tables.OUTER_SCALES) - tables.OUTER_IDENTITY) * SCALE_UNIT)
    exp = np.exp(-np.arange(tables.EXP_ENTRIES) * LOGIT_UNIT)
    return tables.Tables(
        np.rint(2.0**tables.SIGMOID_BITS / (1 + np.exp(-argument))).astype(np.int32),
        np.maximum(np.rint(2.0**tables.WEIGHT_BITS * exp), 1).astype(np.int32),
        np.rint(2.0**18 / scale).astype(np.int64),
        np.rint(2.0**16 * outer).astype(np.int64),
        np.rint(2.0**16 / outer).astype(np.int64),
    )


def mixture_units(mixtures: int, channels: int, coupled: bool) -> tuple[np.ndarray, np.ndarray]:
    """(unit, zero) of each parameter of a row."""
    k, kc = mixtures, mixtures * channels
    pairs = mixture_width(mixtures, channels, coupled) - k - 2 * kc
    unit = np.repeat([LOGIT_UNIT, LOC_UNIT, SCALE_UNIT, COEF_UNIT], [k, kc, kc, pairs])
    zero = np.repeat([0, 0, -SCALE_LOG2_MIN / SCALE_UNIT, 0], [k, kc, kc, pairs])
    return unit, zero


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def integer_tensors(model: Vlae) -> dict[str, np.ndarray]:
    """Every tensor of the weight file."""
    config = model.config
    tensors: dict[str, np.ndarray] = {}

    def put(
        name: str, layer: Any, unit: np.ndarray, zero: np.ndarray, out: tuple | None = None, digits: int = 1
    ) -> None:
        out_unit, out_zero = (HIDDEN_UNIT, RECTIFIED) if out is None else out
        parts = quantise(_array(layer.weight), _array(layer.bias), unit, zero, out_unit, out_zero, digits)
        tensors.update({f"{name}.{key}": value for key, value in parts.items()})

    def put_hidden(name: str, layer: Any, out: tuple | None = None, digits: int = 1) -> None:
        n = layer.in_features
        put(name, layer, np.full(n, HIDDEN_UNIT), np.full(n, RECTIFIED), out, digits)

    def put_signed(name: str, layer: Any) -> None:
        put(name, layer, np.full(layer.in_features, INPUT_UNIT), np.zeros(layer.in_features))

    def put_mlp(name: str, mlp: Any, unit: np.ndarray, out: tuple) -> None:
        zero = np.zeros(len(unit))
        for i, layer in enumerate(mlp.hidden):
            if i == 0:
                put(f"{name}.hidden.0", layer, unit, zero, digits=2)
            else:
                put_hidden(f"{name}.hidden.{i}", layer)
        hidden = mlp.out.in_features - len(unit)
        units = np.concatenate([np.full(hidden, HIDDEN_UNIT), unit])
        put(f"{name}.out", mlp.out, units, np.concatenate([np.full(hidden, RECTIFIED), zero]), out, digits=2)

    # encoder
    encoder, c = model.encoder, config.latents
    put_signed("encoder.stem", encoder.stem)
    for kind in ("down", "grid"):
        for i, layer in enumerate(getattr(encoder, kind)):
            put_hidden(f"encoder.{kind}.{i}", layer)
    out = nn.Linear(config.encoder, 1 + 2 * c)  # a logit that says nothing, then locations and scales
    with torch.no_grad():
        out.weight.zero_()
        out.bias.zero_()
        out.weight[1:], out.bias[1:] = encoder.out.weight, encoder.out.bias
        out.weight[1 : 1 + c] /= LATENT_UNIT
        out.bias[1 : 1 + c] /= LATENT_UNIT
    put_hidden("encoder.out", out, mixture_units(1, c, coupled=False), digits=2)

    # top-down
    put_signed("topdown.grid.0", model.topdown.grid[0])
    put_hidden("topdown.grid.1", model.topdown.grid[1])
    put_hidden("topdown.spread", model.topdown.spread)
    put_hidden("topdown.fine", model.topdown.fine)
    put_hidden("topdown.out", model.topdown.out, (HIDDEN_UNIT, 0.0))
    tensors["null"] = np.rint(_array(model.topdown.null) / HIDDEN_UNIT).clip(-128, 127).astype(np.int8)

    # prior
    unit = np.full(len(window_offsets(config.prior_window)) * c, INPUT_UNIT)
    affine_unit = np.repeat([LOC_UNIT, SCALE_UNIT], c)
    for t, net in enumerate(model.prior.affine):
        put_mlp(f"affine.{t}", net, unit, (affine_unit, 0.0))
    if model.prior.mixture is not None:
        put_mlp("mixture", model.prior.mixture, unit, mixture_units(config.prior_mixtures, c, coupled=True))
    else:
        loc, log2_scale = _array(model.prior.base).reshape(2, c)
        row = np.concatenate([[0], loc / LOC_UNIT, (log2_scale - SCALE_LOG2_MIN) / SCALE_UNIT])
        low, high = tables.parameter_limits(1, c, coupled=False)
        tensors["base"] = np.rint(row).clip(low, high).astype(np.int32)[None]

    # local
    steps = (len(window_offsets(config.window)) + 1) * config.channels
    unit = np.concatenate([np.full(steps, INPUT_UNIT), np.full(config.context, HIDDEN_UNIT)])
    put_mlp("local", model.local, unit, mixture_units(config.mixtures, config.channels, coupled=True))

    tensors.update({f"tables.{field}": value for field, value in make_tables()._asdict().items()})
    return tensors


def export(model: Vlae, path: str | Path) -> bytes:
    """Writes the integer model; returns its id. Raises WeightsError if a bound cannot be kept."""
    return save_weights(path, model.config.to_dict(), integer_tensors(model))
