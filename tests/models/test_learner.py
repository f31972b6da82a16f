"""The learner in floating point, and the training of the weights with which it begins."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from vlae_codec.api import compress
from vlae_codec.errors import InputError
from vlae_codec.format import container
from vlae_codec.models import learning, parallel
from vlae_codec.models.learner import Learner, LearnerTrainer, Streams
from vlae_codec.models.learning import moments
from vlae_codec.models.restore import restore
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings, Trainer
from vlae_codec.weights.model import load_weights

SETTINGS = Settings(
    minutes=1e6,
    steps=40,
    batch=3,
    crop=64,
    pixels=1152,
    rate=1e-2,
    ema=0.8,
    no_latent=0.5,
    data_init=False,
    only_local=True,
    learner=True,
)


@pytest.fixture(autouse=True)
def whole_floats(monkeypatch):
    """Nothing is rounded to bfloat16, on any processor."""
    monkeypatch.setattr(parallel, "half_precision", lambda device: False)


@pytest.fixture
def images(synthetic):
    return [synthetic(80, 72, seed) for seed in range(4)]


@pytest.fixture
def start(tiny):
    return restore(tiny)


def trainer(start, images, **settings):
    made = LearnerTrainer(start.config, replace(SETTINGS, **settings), images, "cpu")
    made.start_from(start)
    return made


def test_gradients(start, images):
    """Streams that have learnt nothing yet have the bits and the gradients of the model."""
    run = trainer(start, images)
    rows = run.begin().rows(run.model)
    bits = run.learner.step(run.model, *rows)
    mine = [parameter.grad for parameter in run.model.local.parameters()]
    run.model.zero_grad()
    expected = run.model.local_bits(*rows)
    assert torch.allclose(bits, expected.unflatten(0, (3, -1)).sum(1))
    (expected.sum() / rows[-1].sum()).backward()
    for own, parameter in zip(mine, run.model.local.parameters()):
        assert torch.cosine_similarity(own.flatten(), parameter.grad.flatten(), dim=0) > 0.99
        assert 0.97 < own.norm() / parameter.grad.norm() < 1.03


def test_it_learns_as_the_core_does(learns, synthetic):
    """A picture gains about as much in floating point as its file does."""
    picture, model = 255 - synthetic(192, 192, 9) // 2, restore(learns)
    picture[-1] = np.arange(192)[:, None] + 64  # no levels that are not there
    picture[0] = np.arange(192)[:, None]
    images = [synthetic(96, 96, i) for i in range(3)]
    found = moments(model, Trainer(model.config, Settings(crop=32, batch=4, data_init=False), images, "cpu").batch)
    learner = Learner(model, found, 1)
    streams = Streams(model, torch.from_numpy(picture)[None], torch.ones(1, 3, dtype=torch.bool), no_latent=1)
    bits, still = 0.0, 0.0
    while not streams.ended():
        rows = streams.rows(model)
        still += model.local_bits(*rows).sum().item()
        bits += learner.step(model, *rows, teach=False).sum().item()
    sizes = []
    for effort in (1, 2):
        (part,) = container.read(compress(picture, model=learns, effort=effort, origin="none")).parts
        sizes.append(8 * sum(len(record.data) for record in part.records))
    assert part.planes.pace is not None
    gain = 1 - sizes[1] / sizes[0]
    assert gain > 0.005
    assert 0.7 * gain < 1 - bits / still < 1.4 * gain


def test_streams(start, images):
    """Every pixel is coded once, in the core's order, and a stream at its end gets another picture."""
    run = trainer(start, images, batch=2)
    streams = run.begin()
    x, y = streams.order % 64, streams.order // 64
    assert streams.order.sort().values.equal(torch.arange(64 * 64))
    assert ((x + start.config.window[1] * y).diff() >= 0).all()
    for stream in range(2):
        streams.put(run.model, stream, streams.pictures[stream].clone(), streams.coded[stream].clone())
    seen = [streams.rows(run.model)[2].unflatten(0, (2, -1)) for _ in range(10)]
    flat = streams.pictures.flatten(1, 2)[:, streams.order[:3840]]
    assert torch.cat(seen, 1).equal(flat.float())
    assert streams.ended() == [0, 1]
    run.streams, before = streams, streams.pictures.clone()
    for moved in run.learner.moved:
        moved[:] = 1
    run.step()
    assert streams.at.tolist() == [384, 384]
    assert not streams.pictures.equal(before)
    assert all(moved.abs().max() < 0.5 for moved in run.learner.moved)


def test_run(start, images, tmp_path):
    """The local network alone is trained, and what it needs where it learns falls."""
    inputs = []
    for i, image in enumerate(images):
        inputs.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(inputs[-1])
    before = trainer(start, images)
    before.begin()
    made = train(inputs, tmp_path / "run.ckpt", start.config, SETTINGS, init=start, valid=inputs, quiet=True)
    after = trainer(made, images)
    after.begin()
    assert after.learned(images) < 0.998 * before.learned(images)
    assert after.validate(images)["valid_learned"] == round(after.learned(images), 4)
    own, theirs = made.state_dict(), start.state_dict()
    same = {key for key in own if own[key].equal(theirs[key])}
    assert {key for key in own if not key.startswith("local.")} == same
    goes_on = {"resume": True, "quiet": True}
    assert train(inputs, tmp_path / "run.ckpt", start.config, replace(SETTINGS, steps=41), **goes_on) is not made


def test_one_process(start, images, monkeypatch):
    run = trainer(start, images)
    monkeypatch.setattr(parallel, "count", lambda: 2)
    with pytest.raises(InputError, match="one process"):
        run.step()


def test_side_planes(images):
    """A model that knows planes before is trained likewise."""
    torch.manual_seed(0)
    config = replace(make_golden.CONFIG, channels=1, side=1)
    planes = [image[..., :2] for image in images]
    run = LearnerTrainer(config, SETTINGS, planes, "cpu")
    first = run.step()[0]
    for _ in range(20):
        last = run.step()[0]
    assert last < first


def test_without(learns, tiny, tmp_path):
    """The command takes out what a model needs to learn, or finds it on pictures; not both."""
    out = tmp_path / "resting.safetensors"
    assert not CliRunner().invoke(learning.main, [str(learns), "--without", "-o", str(out)]).exit_code
    assert load_weights(out).id == load_weights(tiny).id
    assert load_weights(out).learning is None
    for images in ([], ["--without", str(out)]):
        assert CliRunner().invoke(learning.main, [str(learns), *images, "-o", str(out)]).exit_code == 2
