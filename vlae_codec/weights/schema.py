"""What a weight file must hold: from a checked configuration, every tensor's type, shape and range.

    tables.*      integer tables (`vlae_codec.native.mixture`)
    encoder.*     q(z | x): patches of 4x4 pixels, patches of those, two 3x3 layers on the latent grid, parameters
    topdown.*     z -> context: two 3x3 layers on the grid, spread to quarter size, a 3x3 layer, spread to pixels
    null          (stride, stride, context) int8: the context of the no-latent mode, by a pixel's place in its cell;
                  or (context,), the same for all places
    affine.t.*    flow step t of the prior: locations (1/64) | outer scale indices
    mixture.*     last step of the prior
    base          a constant row of parameters, in the place of a mixture, in a model with no flow step
    local.*       p(x | window, context, side planes)
    styles        (stages, styles, outputs of all local layers) int8: what each style adds to these (`adapter.style`);
                  only where the configuration has stages
    learn.*       how these learn while they code (`core/learn.h`), LAYER being out and each hidden.i but hidden.0:
                  learn.LAYER.down and up, the layers of its preconditioner, int32 numbers of each of its inputs and of
                  its bias, diagonal (0 .. 2^16) and reduce (0 .. 24), and of each of its outputs scale (0 .. 2^12) and
                  rate (0 .. 2^15); from the second hidden layer on, and of out if there are two, back (0 .. 2^16) of
                  each output, by which derivatives go back, and then learn.slope (0 .. 2^12), of the derivatives by the
                  outputs of out. All of these or none; with them, weights of out have two digits and those of the
                  others one

A layer is four tensors: NAME.weight, NAME.multiplier, NAME.addend and NAME.shift (`vlae_codec.native.network`). A model
has exactly the tensors that are listed here. The bounds are those of the native core; the last one keeps a model from
asking for hours a megapixel.
"""

from __future__ import annotations

import reprlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from vlae_codec import contract
from vlae_codec.contract import (
    AFFINE_HIGH,
    AFFINE_LOW,
    INT8_MAX,
    INT8_MIN,
    LOC_LIMIT,
    REDUCTIONS,
    side_features,
    window_offsets,
)
from vlae_codec.errors import WeightsError
from vlae_codec.native.library import MAX_STEPS
from vlae_codec.native.mixture import parameter_limits

MAX_WIDTH = 4096  # inputs or outputs of a layer
MAX_MULTIPLY_ADDS = 1 << 24  # a pixel
LEARN = "learn."  # with which the names of the tensors of learning begin
FINE = 32  # channels of the top-down network at quarter size


def _of(*allowed: Container[int], **default: Any) -> Any:
    """A field that is an integer in `allowed`, or a pair of integers, one in each."""
    return field(metadata={"allowed": allowed}, **default)


@dataclass(frozen=True)
class Config:
    """The configuration of a model, its types and ranges checked."""

    channels: int = _of((1, 3))
    window: tuple[int, int] = _of(range(3, 64, 2), range(1, 33))  # the causal window: so wide, and so many rows up
    hidden: int = _of(range(1, MAX_WIDTH + 1))  # width of the local network
    layers: int = _of(range(1, 9))  # its hidden layers
    mixtures: int = _of(range(1, 65))  # logistics a pixel
    context: int = _of(range(1, 257))  # features a pixel from the latents
    stride: int = _of(tuple(REDUCTIONS))  # pixels a latent cell and direction
    latents: int = _of(range(1, 33))  # channels of the latent grid
    encoder: int = _of(range(1, MAX_WIDTH + 1))  # width of the encoder
    topdown: int = _of(range(1, MAX_WIDTH + 1))  # width of the top-down network
    prior_window: tuple[int, int] = _of(range(3, 64, 2), range(1, 33))
    prior_hidden: int = _of(range(1, MAX_WIDTH + 1))
    prior_mixtures: int = _of(range(1, 65))
    flow_steps: int = _of(range(MAX_STEPS + 1))
    levels: int = _of((2, 256), default=256)  # values of a subpixel
    styles: tuple[int, int] = _of(range(5), range(65), default=(0, 0))  # stages, and styles in each
    side: int = _of(range(3), default=0)  # planes known before, whose samples enter beside the context

    @staticmethod
    def of(values: Any) -> Config:
        """The configuration that a mapping of JSON types describes. Raises WeightsError."""
        if not isinstance(values, Mapping):
            raise WeightsError("its configuration is not a JSON object")
        if wrong := sorted({one.name for one in fields(Config)} ^ {*values, "levels", "side", "styles"}):
            raise WeightsError(f"its configuration lacks, or should not have, {reprlib.repr(wrong[0])}")
        return Config(**{one.name: _checked(one, values[one.name]) for one in fields(Config) if one.name in values})


def _checked(one: Field, value: Any) -> Any:
    allowed = one.metadata["allowed"]
    parts = [value] if len(allowed) == 1 else list(value) if isinstance(value, (list, tuple)) else []
    if len(parts) != len(allowed) or not all(type(n) is int and n in among for n, among in zip(parts, allowed)):
        raise WeightsError(f"its configuration has {one.name} = {reprlib.repr(value)}, which is not allowed")
    return tuple(parts) if len(allowed) > 1 else parts[0]


class LayerForm(NamedTuple):
    """A layer of a model; with limits it is an output layer."""

    name: str
    inputs: int
    outputs: int
    pixels: int  # that share one run of it
    limits: tuple[np.ndarray, np.ndarray] | None = None  # of its outputs


class TensorForm(NamedTuple):
    """A tensor of a model."""

    dtype: str
    shapes: tuple[tuple[int, ...], ...]  # it has one of them
    low: Any  # its values' range, inclusive
    high: Any
    pixels: int = 0  # that share its products, if it is a weight


def layer_forms(config: Config, learns: bool = False) -> Iterator[LayerForm]:
    """Every layer, in the order in which a part's networks run. learns: the model has tensors of `LEARN`."""
    c, z, cell = config.channels, config.latents, config.stride**2
    window, prior_window = (len(window_offsets(size)) for size in (config.window, config.prior_window))
    wide, top = config.encoder, config.topdown

    def mlp(name: str, inputs: int, hidden: int, layers: int, pixels: int, limits: Any) -> Iterator[LayerForm]:
        for i in range(layers):
            yield LayerForm(f"{name}.hidden.{i}", hidden if i else inputs, hidden, pixels)
        yield LayerForm(f"{name}.out", hidden + inputs, limits[0].size, pixels, limits)

    yield LayerForm("encoder.stem", 16 * c, wide, 16)
    shared = 16
    for i, size in enumerate(REDUCTIONS[config.stride]):
        shared *= size**2
        yield LayerForm(f"encoder.down.{i}", size**2 * wide, wide, shared)
    yield LayerForm("encoder.grid.0", 9 * wide, wide, cell)
    yield LayerForm("encoder.grid.1", 9 * wide, wide, cell)
    limits = parameter_limits(1, z, coupled=False)
    yield LayerForm("encoder.out", wide, limits[0].size, cell, limits)
    yield LayerForm("topdown.grid.0", 9 * z, top, cell)
    yield LayerForm("topdown.grid.1", 9 * top, top, cell)
    yield LayerForm("topdown.spread", top, FINE * cell // 16, cell)
    yield LayerForm("topdown.fine", 9 * FINE, FINE, 16)
    yield LayerForm("topdown.out", FINE, 16 * config.context, 16)
    low, high = (
        np.repeat(np.array(pair, np.int32), z) for pair in ((-LOC_LIMIT, AFFINE_LOW), (LOC_LIMIT, AFFINE_HIGH))
    )
    for t in range(config.flow_steps - 1):
        yield from mlp(f"affine.{t}", prior_window * z, config.prior_hidden, 1, cell, (low, high))
    if config.flow_steps:
        limits = parameter_limits(config.prior_mixtures, z, coupled=True)
        yield from mlp("mixture", prior_window * z, config.prior_hidden, 2, cell, limits)
    limits = parameter_limits(config.mixtures, c, coupled=True)
    yield from mlp(
        "local", (window + 1) * c + config.context + side_features(config.side), config.hidden, config.layers, 1, limits
    )
    seen = (window + 1) * c + config.context + side_features(config.side)
    for name in taught(config) if learns else ():
        inputs = config.hidden + 1 + (seen if name == "out" else 0)
        if inputs > contract.LEARN_WIDTH:
            raise WeightsError(
                f"its layer {name} is too wide to learn: {inputs} over the limit of {contract.LEARN_WIDTH}"
            )
        limit = np.full(inputs, contract.LEARN_LIMIT, np.int32)
        rank = contract.LEARN_RANK if name == "out" else contract.LEARN_HIDDEN_RANK
        yield LayerForm(f"{LEARN}{name}.down", inputs, rank, 0)
        yield LayerForm(f"{LEARN}{name}.up", rank, inputs, 0, (-limit, limit))


def tensor_forms(config: Config, learns: bool = False) -> dict[str, TensorForm]:
    """Every tensor by its name. Raises WeightsError if a layer is too wide."""
    forms = {
        "tables.sigmoid": TensorForm("int32", ((2 * contract.SIGMOID_HALF + 1,),), 0, 1 << contract.SIGMOID_BITS),
        "tables.exp": TensorForm("int32", ((contract.EXP_ENTRIES,),), 1, 1 << contract.WEIGHT_BITS),
        "tables.inverse": TensorForm("int64", ((contract.SCALES,),), 1, 1 << 22),
        "tables.outer_scale": TensorForm("int64", ((contract.OUTER_SCALES,),), 1, 1 << 24),
        "tables.outer_inverse": TensorForm("int64", ((contract.OUTER_SCALES,),), 1, 1 << 20),
    }
    for name, inputs, outputs, pixels, _ in layer_forms(config, learns):
        if max(inputs, outputs) > MAX_WIDTH:
            raise WeightsError(f"layer {name} has {inputs} inputs and {outputs} outputs, over the limit of {MAX_WIDTH}")
        digits = (inputs, outputs), (inputs, 2 * outputs)
        forms[f"{name}.weight"] = TensorForm("int8", digits, INT8_MIN, INT8_MAX, pixels)
        forms[f"{name}.multiplier"] = TensorForm("int64", ((outputs,),), 0, 1 << 20)
        forms[f"{name}.addend"] = TensorForm("int64", ((outputs,),), 1 - (1 << 60), (1 << 60) - 1)
        forms[f"{name}.shift"] = TensorForm("int64", ((1,),), 0, 40)
    place = (config.context,)
    forms["null"] = TensorForm("int8", ((config.stride, config.stride, *place), place), INT8_MIN, INT8_MAX)
    if config.styles[0]:
        outputs = config.layers * config.hidden + parameter_limits(config.mixtures, config.channels, True)[0].size
        forms["styles"] = TensorForm("int8", ((*config.styles, outputs),), -INT8_MAX, INT8_MAX)
    layers = taught(config) if learns else ()
    for name in layers:
        own = f"{LEARN}{name}"
        ins, outs = forms[f"{own}.up.addend"].shapes, forms[f"local.{name}.addend"].shapes
        forms[f"{own}.diagonal"] = TensorForm("int32", ins, 0, 1 << 16)
        forms[f"{own}.reduce"] = TensorForm("int32", ins, 0, 24)
        forms[f"{own}.scale"] = TensorForm("int32", outs, 0, 1 << 12)
        forms[f"{own}.rate"] = TensorForm("int32", outs, 0, 1 << 15)
        if name != layers[-1]:
            forms[f"{own}.back"] = TensorForm("int32", outs, 0, 1 << 16)
    if len(layers) > 1:
        forms[f"{LEARN}slope"] = TensorForm("int32", forms["local.out.addend"].shapes, 0, 1 << 12)
    if not config.flow_steps:
        low, high = parameter_limits(1, config.latents, coupled=False)
        forms["base"] = TensorForm("int32", ((1, low.size),), low, high)
    return forms


def learns(names: Iterable[str]) -> bool:
    """Whether tensors of these names are of a model that can learn while it codes."""
    return any(name.startswith(LEARN) for name in names)


def taught(config: Config) -> tuple[str, ...]:
    """The layers of the local network that can learn while it codes, from the last one on: all but the first."""
    return "out", *(f"hidden.{i}" for i in reversed(range(1, config.layers)))


def check_shapes(config: Config, given: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """The multiply-adds a pixel of a model with the given types and shapes, by tensors' names.

    Raises WeightsError unless these are all the tensors of the configuration, and no others.
    """
    forms, total = tensor_forms(config, learns(given)), 0
    layers = taught(config) if learns(given) else ()
    wanted = {f"local.{name}.weight": 2 if name == "out" else 1 for name in layers}  # digits of weights
    if wrong := sorted(forms.keys() ^ given.keys()):
        raise WeightsError(f"it lacks, or should not have, the tensor {reprlib.repr(wrong[0])}")
    for name, form in forms.items():
        dtype, shape = given[name]
        if dtype != form.dtype or shape not in form.shapes:
            raise WeightsError(f"{name} is {dtype} {shape}, not {form.dtype} {' or '.join(map(str, form.shapes))}")
        if name in wanted and shape != form.shapes[wanted[name] - 1]:
            raise WeightsError(f"{name} has not the {wanted[name]} digits with which it could learn")
        if form.pixels:
            total += shape[0] * shape[1] * 256 // form.pixels  # a weight of two digits counts twice
    if total > MAX_MULTIPLY_ADDS * 256:
        raise WeightsError(f"it takes {total >> 8} multiply-adds a pixel, over the limit of {MAX_MULTIPLY_ADDS}")
    return -(-total // 256)


def check_values(config: Config, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises WeightsError unless the tensors, whose shapes were checked, are in their ranges."""
    for name, form in tensor_forms(config, learns(tensors)).items():
        if form.dtype != "int8" and (np.any(tensors[name] < form.low) or np.any(tensors[name] > form.high)):
            raise WeightsError(f"{name} has values out of their range")
    if np.any(np.diff(tensors["tables.sigmoid"]) < 0):
        raise WeightsError("tables.sigmoid does not rise, so frequencies would be negative")
