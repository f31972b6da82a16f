"""The way back from a weight file to a float model, for fine-tuning: `models.export` read backwards.

    step = multiplier * out_unit / 2^shift       W = integer * step / unit
    b    = (addend / 2^shift - zero_out) * out_unit + step * (integer . zero)

The largest weight of a channel is 127 steps in both directions, so exporting the model unchanged finds the same steps
and gives the same integers; only the last bits of an addend, far below one step of an output, are lost to float32.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from vlae_codec.contract import DIGIT_BITS, SCALE_MIN_LOG2
from vlae_codec.errors import WeightsError
from vlae_codec.gpu.logistics import LOC_UNIT, SCALE_UNIT
from vlae_codec.weights.model import find_weights, load_weights, read_weights

from .export import Form, forms, style_units
from .layers import HIDDEN_UNIT
from .styles import GAIN
from .trainer import read_checkpoint
from .vlae import Config, Vlae


def starting_point(wanted: str | Path) -> Vlae:
    """The float model, on the CPU, of a checkpoint (its averaged weights), a weight file or a known model's name.

    Raises InputError, WeightsError.
    """
    path = Path(wanted)
    if not (path.is_file() and zipfile.is_zipfile(path)):  # as torch writes them
        return restore(find_weights(wanted))
    state = read_checkpoint(path)
    model = Vlae(Config.from_dict(state["config"]))
    model.load_state_dict(state["ema"])
    return model


def dequantise(form: Form, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Weight (outputs, inputs) and bias (outputs,) of a layer, float64; the inverse of `export.quantise`."""
    weight, multiplier, addend, shift = (
        tensors[f"{form.name}.{key}"] for key in ("weight", "multiplier", "addend", "shift")
    )
    integer, digits = weight.astype(np.float64).T, weight.shape[1] // multiplier.size
    if digits == 2:
        integer = integer[: multiplier.size] * (1 << DIGIT_BITS) + integer[multiplier.size :]
    scale = 2.0 ** -shift.item()
    step = multiplier * scale * form.out_unit
    offset = (addend - ((1 << shift.item()) >> 1)) * scale
    bias = (offset - form.out_zero) * form.out_unit + step * (integer @ form.zero)
    return (integer * step[:, None] / form.unit)[form.blank :], bias[form.blank :]


def restore(path: str | Path) -> Vlae:
    """The float model of a weight file, on the CPU. Raises WeightsError."""
    load_weights(path)  # checks what is in it
    config, tensors, _ = read_weights(path)
    try:
        model = Vlae(Config.from_dict(dict(config)))
    except (TypeError, KeyError) as error:
        raise WeightsError(f"{path} is of an architecture that cannot be trained here: {error}; train anew") from error

    def put(parameter: torch.Tensor, values: np.ndarray) -> None:
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))

    with torch.no_grad():
        for form in forms(model):
            weight, bias = dequantise(form, tensors)
            put(form.layer.weight, weight)
            put(form.layer.bias, bias)
        if model.styles is not None:
            units = style_units(model)
            parts = np.split(tensors["styles"], np.cumsum([len(unit) for unit in units])[:-1], axis=2)
            for parameter, part, unit in zip(model.styles.parts, parts, units):
                put(parameter, part * unit / GAIN)
        model.topdown.null.copy_(torch.from_numpy(tensors["null"] * HIDDEN_UNIT))
        if model.prior.mixture is None:
            loc, scale = tensors["base"][0, 1:].reshape(2, -1)
            put(model.prior.base, np.concatenate([loc * LOC_UNIT, scale * SCALE_UNIT + SCALE_MIN_LOG2]))
    return model
