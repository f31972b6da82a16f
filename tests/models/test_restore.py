"""From a weight file back to a float model: exported again it is the same integers, and it codes alike."""

import os

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch

from vlae_codec.errors import InputError, WeightsError
from vlae_codec.models.evaluation import evaluate
from vlae_codec.models.export import export, integer_tensors
from vlae_codec.models.restore import restore, starting_point
from vlae_codec.weights.model import load_weights, read_weights, weights_folder


def differences(before, after):
    """Names of tensors that differ, but for addends, which are to agree to 1/1000 of a step of the output."""
    assert before.keys() == after.keys()
    found = []
    for name, value in before.items():
        if name.endswith(".addend"):
            shift = before[name.replace("addend", "shift")].item()
            close = 2.0**shift / 1000 + 2.0**-23 * np.abs(value)  # a large bias has the digits of a 32-bit float
            same = bool((np.abs(value - after[name]) <= close).all())
        else:
            same = np.array_equal(np.broadcast_to(value, after[name].shape), after[name])
        if not same:
            found.append(name)
    return found


@pytest.mark.parametrize("changes", [{}, {"flow_steps": 0, "stride": 16}, {"flow_steps": 3, "layers": 3, "stride": 28}])
def test_integers(random_vlae, tmp_path, changes):
    net = random_vlae(**changes)
    export(net, tmp_path / "a.safetensors")
    again = restore(tmp_path / "a.safetensors")
    assert again.config == net.config
    assert differences(integer_tensors(net), integer_tensors(again)) == []


@pytest.mark.parametrize("path", sorted(weights_folder().glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped(path):
    tensors = {name: tensor for name, tensor in read_weights(path)[1].items() if not name.startswith("learn.")}
    assert differences(tensors, integer_tensors(restore(path))) == []


def test_bits(random_vlae, tmp_path, synthetic):
    """The rate of the float model is that of the one before the export, but for the rounding of its weights."""
    net = random_vlae()
    export(net, tmp_path / "a.safetensors")
    rates = []
    for one in (net, restore(tmp_path / "a.safetensors")):
        torch.manual_seed(1)
        rates.append(evaluate(one, [synthetic(64, 64, 1)]))
    for key in ("total", "local", "no_latent"):
        assert rates[1][key] == pytest.approx(rates[0][key], rel=5e-4)


def test_codes_alike(tmp_path, synthetic):
    """Exported again, a model decodes what it codes, and takes as many bytes as before."""
    from vlae_codec import compress, decompress

    path = tmp_path / "again.safetensors"
    made = export(restore(make_golden.DATA / "tiny.safetensors"), path)
    assert load_weights(path).id == made
    pixels = synthetic(48, 56, 3)
    data = compress(pixels, model=path, verify=False)
    assert np.array_equal(decompress(data, model=path), pixels)
    assert len(data) == pytest.approx(len(compress(pixels, model=make_golden.DATA / "tiny.safetensors")), rel=1e-3)


def test_invalid(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"?")
    with pytest.raises(WeightsError, match="broken"):
        restore(tmp_path / "broken.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_no_file(tmp_path):
    """A pipe is refused, without waiting for a writer."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises((InputError, WeightsError), match="as a weight file"):
            starting_point(path)
