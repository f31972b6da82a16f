"""Another architecture that begins with a trained model's weights: wider, narrower, deeper, a larger window, other
latents, grey.

What has the same shape in both models is taken over. The local network is widened so that it computes the same as
before: new hidden units have no outgoing weights yet, a new hidden layer hands on what it gets, a new logistic is a
broad, unlikely copy of an old one. A narrower network keeps the hidden units that matter most. Parts of
the latent path that differ (another stride, say) start afresh, and with them the weights of the context. A grey model
begins as what a colour model makes of three equal channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from vlae_codec.contract import parameter_layout, window_offsets
from vlae_codec.errors import InputError

from .layers import Linear, Mlp
from .vlae import Config, Vlae

KEPT = ("channels", "levels")  # of the configuration
NO_LESS = ("layers", "mixtures", "context")
NEW_LOGIT, NEW_SCALE = -3.0, 1.0  # of a new logistic, relative to the old one's, the latter in octaves


@torch.no_grad()
def grow(start: Vlae, config: Config) -> Vlae:
    """A float model of this configuration. Raises InputError where the local networks have not enough in common."""
    if start.config.channels == 3 and config.channels == 1:
        start = grey(start)
    if start.config.hidden > config.hidden:
        start = narrow(start, config.hidden)
    old = start.config
    places = window_offsets(config.window)
    other = [key for key in KEPT if getattr(old, key) != getattr(config, key)]
    other += ["window"] if set(window_offsets(old.window)) - set(places) else []
    if other or any(getattr(old, key) > getattr(config, key) for key in NO_LESS):
        raise InputError(
            f"the model cannot grow: the recipe must agree in {', '.join(KEPT)} and have no less of "
            f"{', '.join(NO_LESS)} and window; leave out --grow"
        )
    if old == config:
        return start
    model = Vlae(config)
    mine, theirs = model.state_dict(), start.state_dict()
    fits = {key: key in theirs and theirs[key].shape == tensor.shape for key, tensor in mine.items()}
    model.load_state_dict({key: theirs[key] if fits[key] else tensor for key, tensor in mine.items()})
    # where each input of the old local network is in the new: window, reference, context
    c = config.channels
    cells = [places.index(place) for place in window_offsets(old.window)] + [len(places)]
    inputs = [cell * c + channel for cell in cells for channel in range(c)]
    if all(fits[key] for key in fits if key.startswith(("encoder.", "topdown."))):
        inputs += [(len(places) + 1) * c + feature for feature in range(old.context)]
    _widen(model.local, start.local, torch.tensor(inputs), _outputs(old, config))
    cast(Linear, model.local.hidden[0]).weight[:, len(places) * c + c + config.context :] = 0  # side planes
    fresh = torch.arange(config.mixtures) >= old.mixtures
    model.local.out.bias[: config.mixtures] += NEW_LOGIT * fresh
    _, _, scales, _ = model.local.out.bias.split(parameter_layout(config.mixtures, c))
    scales += NEW_SCALE * fresh.repeat_interleave(c)
    return model


@torch.no_grad()
def grey(start: Vlae) -> Vlae:
    """The model of one channel that gives a grey picture the bits that a colour model gives its first channel."""
    old = start.config
    config = replace(old, channels=1)
    model = Vlae(config)
    pixels = cast(Linear, start.local.hidden[0]).in_features - old.context  # inputs of the local network but context
    k = old.mixtures
    rows = torch.cat([torch.arange(k), k + 3 * torch.arange(k), 4 * k + 3 * torch.arange(k)])  # of the first channel

    def summed(weight: Tensor, begin: int, end: int) -> Tensor:
        """Columns begin .. end, three channels each, as one."""
        return torch.cat([weight[:, :begin], weight[:, begin:end].unflatten(1, (-1, 3)).sum(-1), weight[:, end:]], 1)

    state = start.state_dict()
    state["encoder.stem.weight"] = summed(state["encoder.stem.weight"], 0, 48)
    state["local.hidden.0.weight"] = summed(state["local.hidden.0.weight"], 0, pixels)
    out = state["local.out.weight"][rows]
    state["local.out.weight"] = summed(out, old.hidden, old.hidden + pixels)
    state["local.out.bias"] = state["local.out.bias"][rows]
    model.load_state_dict(state)
    return model


@torch.no_grad()
def narrow(start: Vlae, hidden: int) -> Vlae:
    """The model with so many units in each hidden layer of its local network: those by which most passes, as the
    product of the norms of the weights that lead there and away tells.
    """
    model = Vlae(replace(start.config, hidden=hidden))
    layers = [*cast(list[Linear], list(start.local.hidden)), start.local.out]
    weights = [layer.weight.clone() for layer in layers]
    biases = [layer.bias.clone() for layer in layers]
    for i in reversed(range(len(layers) - 1)):  # what leads to no unit that is kept counts for nothing
        here, after = weights[i], weights[i + 1]
        units = len(here)
        kept = (here.norm(dim=1) * after[:, :units].norm(dim=0)).topk(hidden).indices.sort().values
        weights[i], biases[i] = here[kept], biases[i][kept]
        weights[i + 1] = torch.cat([after[:, kept], after[:, units:]], dim=1)  # the output layer sees inputs, too
    state = start.state_dict()
    for layer, weight, bias in zip([*(f"hidden.{i}" for i in range(len(layers) - 1)), "out"], weights, biases):
        state[f"local.{layer}.weight"], state[f"local.{layer}.bias"] = weight, bias
    model.load_state_dict(state)
    return model


def _outputs(old: Config, new: Config) -> Tensor:
    """For each output of the new local network the old one's that it begins as."""
    component = torch.arange(new.mixtures) % old.mixtures
    rows, begin = [], 0
    for width in parameter_layout(1, new.channels):
        rows.append((begin + component[:, None] * width + torch.arange(width)).flatten())
        begin += old.mixtures * width
    return torch.cat(rows)


def _widen(new: Mlp, old: Mlp, inputs: Tensor, outputs: Tensor) -> None:
    """Copies the old network into the new: its first inputs to where `inputs` says, its outputs as often as named."""
    columns = inputs
    layers, begun = (cast(list[Linear], list(net.hidden)) for net in (new, old))
    for i, (mine, theirs) in enumerate(zip(layers, begun)):
        units = theirs.out_features
        # new places of the window and new units of the layer before say nothing yet
        mine.weight[:units, : None if i else int(inputs.max()) + 1] = 0
        mine.weight[:units, columns] = theirs.weight[:, : len(columns)]
        mine.bias[:units] = theirs.bias
        columns = torch.arange(units)
    for mine in layers[len(begun) :]:
        mine.weight[: len(columns)] = torch.eye(len(columns), mine.in_features)
        mine.bias[: len(columns)] = 0
    hidden = layers[-1].out_features
    new.out.weight.zero_()
    new.out.weight[:, columns] = old.out.weight[outputs][:, : len(columns)]
    new.out.weight[:, hidden + inputs] = old.out.weight[outputs][:, len(columns) : len(columns) + len(inputs)]
    new.out.bias.copy_(old.out.bias[outputs])
