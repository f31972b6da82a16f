"""Quantisation-aware training: layers that compute with the values that their integer twins will have.

`quantise_aware(model)` gives each layer of `export.forms` a `Rounding`: inputs are rounded to the steps of their 8-bit
form, weights to the digits that `export.quantise` would give them; gradients pass as if nothing had been rounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlae_codec.contract import ACCUMULATOR_LIMIT, DIGIT_BITS, INT8_MAX, INT8_MIN

from .export import Form, forms
from .layers import Linear
from .vlae import Vlae


class Rounding:
    """What `export.quantise` does to one layer, in floats."""

    def __init__(self, form: Form) -> None:
        self.base = 1 << DIGIT_BITS * (form.digits - 1)
        self.unit = torch.from_numpy(form.unit).to(form.layer.weight)

    def inputs(self, x: Tensor) -> Tensor:
        return straight(x, (x / self.unit).round() * self.unit)

    def weight(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            rounded = self.moved(weight, weight)
        return straight(weight, rounded)

    def moved(self, start: Tensor, weight: Tensor) -> Tensor:
        """A weight, (..., outputs, inputs), in the steps of the one with which it began, (outputs, inputs)."""
        size = (start * self.unit).abs()
        most = (ACCUMULATOR_LIMIT - 1 - 64 * start.shape[1]) / -INT8_MIN
        step = torch.maximum(size.amax(1) / INT8_MAX, size.sum(1) / most).clamp(min=1e-12)[:, None] / self.base
        scaled = weight * self.unit
        return (scaled / step).round().clamp(-INT8_MAX * self.base, INT8_MAX * self.base) * step / self.unit


def straight(x: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` with the gradient of x."""
    return x + (rounded - x).detach()


def quantise_aware(model: Vlae, on: bool = True) -> Vlae:
    """The model, its layers with or without rounding."""
    for form in forms(model):
        assert isinstance(form.layer, Linear)
        form.layer.rounding = Rounding(form) if on else None
    return model
