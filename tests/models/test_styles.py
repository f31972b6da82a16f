"""Training of styles: each picture has the one by which it needs least, and files choose alike."""

import numpy as np
import pytest
import torch

from vlae_codec.adapter.style import choose_style
from vlae_codec.coder.tile import TileCodec
from vlae_codec.models.export import export, integer_tensors
from vlae_codec.models.grow import grow
from vlae_codec.models.report import report
from vlae_codec.models.restore import restore
from vlae_codec.models.styles import GAIN, MEMORY, Styles
from vlae_codec.models.trainer import Settings, Trainer
from vlae_codec.weights.model import build

STAGES = (2, 3)


def test_shifts():
    """Number 0 of a stage shifts nothing; the others by what they hold."""
    styles = Styles(STAGES, [4, 4, 6])
    found = styles(1)
    assert [tuple(part.shape) for part in found] == [(4, 4), (4, 4), (4, 6)]
    assert not any(part[0].any() for part in found)
    assert torch.equal(found[0][2], GAIN * styles.parts[0][1, 1])


def test_choose():
    """Of each stage the cheapest style of each picture by some of its pixels; their shifts add up."""
    styles, image = Styles(STAGES, [1, 1]).train(), torch.arange(64) // 32
    with torch.no_grad():  # the first layer's shifts are to come near to -7 for one picture, and to 5 for the other
        styles.parts[0][:] = torch.tensor([[-5.0, 1, 4], [-2, 2, 3]])[..., None] / GAIN

    def bits(some, shifts):
        return (shifts[0][:, 0] - torch.tensor([-7.0, 5.0])[image[some]]).abs()

    assert styles.choose(bits, image, 2)[0].flatten().tolist() == [-7, 4]
    first = [MEMORY / 4 + (1 - MEMORY) * share for share in (0, 0.5, 0, 0.5)]
    assert np.allclose(styles.shares, [first, [MEMORY / 4 + (1 - MEMORY) * share for share in (0.5, 0.5, 0, 0)]])


def test_balance():
    """A style that is chosen often is held back, at the start."""
    styles, image = Styles(STAGES, [1, 1]).eval(), torch.zeros(8, dtype=torch.int64)
    with torch.no_grad():
        styles.parts[0][:] = torch.tensor([[1.0, 2, 3], [9, 9, 9]])[..., None] / GAIN
    styles.shares[0] = torch.tensor([0.0, 0.0, 0.0, 1.0])

    def bits(some, shifts):
        return 0.02 * (shifts[0][:, 0] - 3).abs()

    for progress, wanted in ((0.0, 2), (1.0, 3)):
        styles.progress(progress)
        assert styles.choose(bits, image, 1)[0].item() == wanted


def test_integers(random_vlae, tmp_path):
    """The shifts of the weight file are those of the float model, and come back as they were."""
    net = random_vlae(styles=STAGES)
    export(net, tmp_path / "a.safetensors")
    again = restore(tmp_path / "a.safetensors")
    assert again.config == net.config
    numbers = integer_tensors(net)["styles"]
    assert numbers.shape == (*STAGES, sum(part.shape[2] for part in net.styles.parts))
    assert np.abs(numbers).max() > 1
    assert np.array_equal(integer_tensors(again)["styles"], numbers)


def test_trains(random_vlae, synthetic, tmp_path):
    """Pictures of two kinds get different styles, in training and from the codec, and cost less than without."""
    start = random_vlae()
    config = type(start.config)(**{**start.config.to_dict(), "styles": STAGES})
    bright, dark = (synthetic(64, 64, 3) // 2 + lift for lift in (128, 0))
    noise = np.random.default_rng(2).integers(0, 30, bright.shape).astype(np.uint8)
    images = [bright.astype(np.uint8), (dark // 2 + noise).astype(np.uint8)]
    settings = Settings(batch=4, crop=32, pixels=1024, data_init=False, rate=4e-3, steps=60, grey=0, altered=0)
    trainer = Trainer(config, settings, images, "cpu")
    trainer.start_from(grow(start, config))
    for _ in range(60):
        trainer.step()
    model = trainer.model.eval()
    codec = TileCodec(build(config.to_dict(), integer_tensors(model)))
    chosen = [choose_style(codec, [image], 3) for image in images]
    assert chosen[0] != chosen[1]
    export(model, tmp_path / "a.safetensors")
    rates = report(model, tmp_path / "a.safetensors", images)
    assert rates["integer"][1] == pytest.approx(rates["float"][1], rel=0.02)
