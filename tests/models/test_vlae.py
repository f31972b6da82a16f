"""The float model: that it is a likelihood, that it is the integer codec's, and that it learns."""

import io
import math
from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch
from PIL import Image

from vlae_codec.coder.tile import Ledger
from vlae_codec.contract import parameter_count
from vlae_codec.errors import InputError, UnsupportedImage
from vlae_codec.gpu.logistics import Mixture, mixture_nll
from vlae_codec.models import vlae
from vlae_codec.models.crops import Crops, demosaic, half_chroma, jpeg
from vlae_codec.models.data import load_images
from vlae_codec.models.evaluation import evaluate
from vlae_codec.models.export import as_array, export, forms, quantise
from vlae_codec.models.grow import grow
from vlae_codec.models.optim import orthogonal
from vlae_codec.models.rounding import quantise_aware
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings, Trainer, draw, schedule
from vlae_codec.models.vlae import Config, Vlae, split_mixture
from vlae_codec.native import ans
from vlae_codec.weights import model


def latents(shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).float()


def lively(prior):
    """The prior with weights that make every clamp and every dependence show."""
    with torch.no_grad():
        for net in prior.affine:
            net.out.weight *= 4
            net.out.bias.normal_(generator=torch.Generator().manual_seed(2))
    return prior.double()


# ---------------------------------------------------------------------------------------------------- the prior


@pytest.mark.parametrize("flow_steps", [1, 2, 3])
def test_log_det(flow_steps):
    """dz -> du is triangular in raster order; its log|det| is minus the sum of the log scales."""
    torch.manual_seed(3)
    prior = lively(vlae.Prior(replace(make_golden.CONFIG, flow_steps=flow_steps)))
    shape = (1, 3, 4, 2)
    z = latents(shape).double()
    jacobian = torch.autograd.functional.jacobian(lambda v: prior.steps(v.reshape(shape))[0].flatten(), z.flatten())
    cells = jacobian.reshape(12, 2, 12, 2)
    for cell in range(12):
        assert not cells[cell, :, cell + 1 :].any()
        assert not cells[cell, 0, cell, 1]
        assert not cells[cell, 1, cell, 0]
    below = jacobian - torch.diag(jacobian.diagonal())
    assert bool(below.any()) == (flow_steps > 1)
    outer = prior.steps(z)[1]
    sign, log_det = torch.linalg.slogdet(jacobian)
    assert sign.item() == 1
    assert log_det.item() == pytest.approx(-outer.sum().item() * math.log(2), abs=1e-9)
    assert outer.std().item() > 0.3 or flow_steps == 1


@pytest.mark.parametrize("flow_steps", [0, 1, 2, 3])
def test_prior_is_a_distribution(flow_steps):
    """The masses of one latent given all the others before it add up to 1, whatever the flow does to it."""
    torch.manual_seed(4)
    prior = lively(vlae.Prior(replace(make_golden.CONFIG, flow_steps=flow_steps)))
    z = latents((1, 3, 4, 2)).double().repeat(64, 1, 1, 1)
    z[:, 2, 3, 1] = torch.arange(-32, 32)  # the last channel of the last cell: nothing else depends on it
    bits = prior.bits(z)
    assert torch.allclose(bits[:, :2], bits[:1, :2])
    joint = torch.exp2(-bits[:, 2, 3])
    z[:, 2, 3, 0] = z[:, 2, 3, 1]
    assert joint.sum().item() < 1
    # over both channels of the cell: 64 * 64 symbols
    z = latents((1, 3, 4, 2)).double().repeat(64 * 64, 1, 1, 1)
    symbols = torch.arange(-32, 32)
    z[:, 2, 3, 0], z[:, 2, 3, 1] = symbols.repeat_interleave(64), symbols.repeat(64)
    assert torch.exp2(-prior.bits(z)[:, 2, 3]).sum().item() == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("flow_steps", [1, 2, 3])
def test_prior_causality(flow_steps):
    torch.manual_seed(5)
    prior = lively(vlae.Prior(replace(make_golden.CONFIG, flow_steps=flow_steps)))
    z = latents((1, 4, 5, 2)).double()
    changed = z.clone()
    changed[0, 2, 2] += 5
    (u, outer), (u2, outer2) = prior.steps(z), prior.steps(changed)
    before, after = prior.bits(z).flatten(), prior.bits(changed).flatten()
    assert torch.equal(before[:12], after[:12])
    assert before[12] != after[12]
    assert not torch.equal(before[13:], after[13:])
    assert torch.equal(u.reshape(20, 2)[:12], u2.reshape(20, 2)[:12])
    assert torch.equal(outer.reshape(20, 2)[:13], outer2.reshape(20, 2)[:13])  # a scale does not see its own latent


# ---------------------------------------------------------------------------------------------------- the likelihood


@pytest.mark.parametrize("log2_scale", [-4.0, 0.0, 5.9375])
@pytest.mark.parametrize("loc", [-400.0, 0.0, 100.3, 255.0, 900.0])
def test_masses(log2_scale, loc):
    """Every symbol of one channel: the masses add up to 1 and each has its leak."""
    x = torch.arange(256).double()[:, None].repeat(1, 3)
    ones = torch.ones(256, 2, 3).double()
    mixture = Mixture(torch.tensor([[0.7, 0.3]]).double(), loc * ones + ones.cumsum(1), log2_scale * ones, 0.5 * ones)
    coded = torch.zeros(256, 3, dtype=torch.bool)
    coded[:, 0] = True
    bits = mixture_nll(mixture, x, x <= 0, x >= 255, coded)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1, abs=2e-5)
    assert bits.max().item() <= 24.001
    assert not mixture_nll(mixture, x, x <= 0, x >= 255, ~coded & coded).any()


def test_masses_of_second_channel():
    """Summed over the second channel, the joint is the first channel's marginal."""
    x = torch.stack([torch.full((256,), 90), torch.arange(256), torch.zeros(256)], dim=1).double()
    torch.manual_seed(6)
    row = torch.randn(1, parameter_count(3, 3)).double().repeat(256, 1)
    row[:, 3:12] = row[:, 3:12] * 5 + 90
    mixture = split_mixture(row, 3, 3)
    coded = torch.tensor([[True, False, False]]).repeat(256, 1)
    first = mixture_nll(mixture, x, x <= 0, x >= 255, coded)
    coded[:, 1] = True
    both = mixture_nll(mixture, x, x <= 0, x >= 255, coded)
    assert torch.exp2(-both).sum().item() == pytest.approx(torch.exp2(-first[0]).item(), rel=2e-5)


@pytest.mark.parametrize("position", [(0, 0), (3, 4), (5, 8)])
def test_causality(random_vlae, synthetic, position):
    """A pixel's parameters look at no pixel that is coded with or after it."""
    net = random_vlae()
    x = torch.from_numpy(synthetic(6, 9, 1))[None]
    context, at = torch.zeros(54, 4), torch.arange(54)
    changed = x.clone()
    changed[0, position[0], position[1]] ^= 64
    before, after = (net.local(net.local_rows(v, context, at)[0]) for v in (x, changed))
    index = position[0] * 9 + position[1]
    assert torch.equal(before[: index + 1], after[: index + 1])
    if index < 53:
        assert not torch.equal(before[index + 1 :], after[index + 1 :])


def test_colour_causality(random_vlae):
    """Within a pixel G sees R, B sees both, and nothing looks the other way."""
    torch.manual_seed(7)
    mixture = split_mixture(torch.randn(1, parameter_count(2, 3)), 2, 3)
    u, edge = torch.tensor([[3.0, -2.0, 5.0]]), torch.zeros(1, 3, dtype=torch.bool)
    for c in range(3):
        coded = torch.arange(3)[None] <= c
        bits = mixture_nll(mixture, u, edge, edge, coded)
        for other in range(3):
            moved = u.clone()
            moved[0, other] += 1
            assert (mixture_nll(mixture, moved, edge, edge, coded) != bits).item() == (other <= c)


def test_terms(random_vlae, synthetic):
    net = random_vlae()
    x = torch.from_numpy(np.stack([synthetic(16, 24, seed) for seed in range(3)]))
    at, use = torch.tensor([0, 5, 400, 1151]), torch.tensor([True, False, True])
    coded = torch.tensor([[True] * 3, [True] * 3, [True, False, False]])
    terms = net(x, at, use, ~use, coded)
    assert terms.local.shape == (4,)
    assert terms.prior.shape == terms.posterior.shape == (3, 2, 3)
    assert all(bool(torch.all(term > 0)) for term in terms)
    context = net.context(latents((3, 2, 3, 2)), at, use)
    assert context.shape == (4, 4)
    assert context.abs().max().item() <= 2


@pytest.mark.parametrize("flow_steps", [0, 1, 2, 3])
@pytest.mark.parametrize("stride", [4, 8, 16, 28])
def test_integer_twin(random_vlae, random_codec, synthetic, flow_steps, stride):
    """Float and integer model agree on the bits of each term, for the same picture and latents."""
    changes = {"flow_steps": flow_steps, "stride": stride}
    net, codec = random_vlae(**changes), random_codec(**changes)
    height, width = (56, 84) if stride == 28 else (32, 48)
    x = synthetic(height, width, 2)
    cells = (height // stride, width // stride)
    rng = np.random.default_rng(8)
    message = ans.Message(rng.integers(1 << 32, 1 << 64, 1, np.uint64), rng.integers(0, 1 << 32, 9999, np.uint32))
    ledger = Ledger()
    _, (z,) = codec.posterior([x], ledger).pop([message])
    codec.prior([cells], ledger).push([message], [z])
    codec.pixels([x[:0]], [height], [codec.nets.context(z, width)], 3, ledger).push([message], [x])
    codec.pixels([x[:0]], [height], None, 3, ledger).push([message], [x])

    with torch.no_grad():
        images, zs = torch.from_numpy(x)[None], torch.from_numpy(z)[None].float() - 32
        posterior = net.posterior_bits(zs, *net.posterior(images)).sum().item()
        prior = net.prior.bits(zs).sum().item()
        at, coded = torch.arange(height * width), torch.ones(1, 3, dtype=torch.bool)
        local = []
        for use in (True, False):
            context = net.context(zs, at, torch.tensor([use]))
            local.append(net.local_bits(*net.local_rows(images, context, at), coded).sum().item())
    assert ledger.bits["band B"] == pytest.approx(local[0], rel=0.01)
    assert ledger.bits["band A"] == pytest.approx(local[1], rel=0.01)
    assert ledger.bits["prior"] == pytest.approx(prior, rel=0.02)
    # a scale of a quarter step makes a latent's bits steep in its location, which has passed five 8-bit layers
    assert -ledger.bits["posterior"] == pytest.approx(posterior, rel=0.02, abs=0.25 * z.size)
    assert z.std() > 1


def test_sample(random_vlae):
    """Samples are latents with the bits of `posterior_bits`, and gradients reach the parameters."""
    net = random_vlae()
    torch.manual_seed(9)
    loc, log2_scale = (torch.zeros(4, 50, 50, 2) + v for v in (3.3, 1.0))
    loc.requires_grad_()
    z, bits = net.sample(loc, log2_scale)
    assert torch.equal(z, z.round())
    assert z.mean().item() == pytest.approx(3.3, abs=0.1)
    entropy = 1 + 2 * math.log2(math.e)  # of a logistic of scale 2, in bits
    assert bits.mean().item() == pytest.approx(entropy, abs=0.05)
    z.sum().backward()
    assert loc.grad is not None
    assert bool(torch.all(loc.grad == 1))
    far, _ = net.sample(torch.tensor([-500.0, 500.0]), torch.zeros(2))
    assert far.tolist() == [-32, 31]


# ---------------------------------------------------------------------------------------------------- training

SETTINGS = Settings(minutes=1e6, steps=6, batch=2, crop=32, pixels=512, rate=1e-2, seed=3)
TINY = replace(make_golden.CONFIG, hidden=16)


def test_schedule():
    settings = Settings()
    rate, kl, blank = schedule(settings, 0.0, 10_000)
    assert (rate, kl, blank) == pytest.approx((settings.rate, settings.kl_start, settings.blank))
    assert schedule(settings, 0.0, 0)[0] == pytest.approx(settings.rate / 200)
    assert schedule(settings, settings.kl_warmup, 1)[1] == 1
    assert schedule(settings, settings.blank_until, 1)[2] == 0
    for late in (1.0, 1.5):
        assert schedule(settings, late, 10_000) == (pytest.approx(settings.rate * 0.002), 1, 0)


def test_draw():
    """Pixels of plain neighbourhoods come more rarely, and the weights make up for it."""
    x = torch.zeros(2, 28, 28, 1, dtype=torch.uint8)
    x[1, 10:12, 10] = 1
    busy = torch.zeros(2, 28, 28, dtype=torch.bool)
    busy[1, 8:14, 8:13] = True
    torch.manual_seed(1)
    at, weight = draw(x, 40_000, plain=0.1)
    share = busy.float().mean().item()
    assert busy.flatten()[at].float().mean().item() == pytest.approx(share / (share + 0.1 * (1 - share)), rel=0.05)
    assert weight.mean().item() == pytest.approx(1, rel=0.05)
    assert (weight * busy.flatten()[at]).mean().item() == pytest.approx(share, rel=0.05)
    at, weight = draw(x, 40_000)
    assert busy.flatten()[at].float().mean().item() == pytest.approx(share, rel=0.15)
    assert bool((weight == 1).all())


def test_resume(pictures, tmp_path):
    """6 steps are 3 steps, a checkpoint and 3 more, bit for bit: parameters, averages and random numbers."""
    images = load_images([pictures], 32)
    whole = Trainer(TINY, SETTINGS, images, "cpu")
    records = [whole.step() for _ in range(6)]
    half = Trainer(TINY, SETTINGS, images, "cpu")
    assert [half.step() for _ in range(3)] == records[:3]
    half.save(tmp_path / "run.ckpt")
    torch.manual_seed(99)
    again = Trainer(TINY, replace(SETTINGS, seed=98), images, "cpu")
    again.load(tmp_path / "run.ckpt")
    assert again.step_count == 3
    assert [again.step() for _ in range(3)] == records[3:]
    for one, other in ((whole.model, again.model), (whole.ema, again.ema)):
        assert one.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_free_bits(pictures):
    """Below its allowance the KL costs nothing: encoder and prior then learn from the pixels alone."""
    grads = []
    for free_bits in (0.0, 1e6):
        settings = replace(SETTINGS, free_bits=free_bits, no_latent=0.0, kl_start=1.0)
        trainer = Trainer(TINY, settings, load_images([pictures], 32), "cpu")
        trainer.step()
        grads.append([p.grad for p in trainer.model.prior.parameters()])
    assert any(g is not None and bool(g.any()) for g in grads[0])
    assert all(g is None or not g.any() for g in grads[1])


def test_train(pictures, tmp_path):
    """A short run lowers the loss, goes on from its checkpoint, and its export loads and codes."""
    checkpoint, settings = tmp_path / "run.ckpt", replace(SETTINGS, steps=40, blank=0.0, rate=5e-2)
    images = load_images([pictures], 32)
    torch.manual_seed(settings.seed)
    before = evaluate(Vlae(TINY), images)
    net = train([str(pictures)], checkpoint, TINY, settings, valid=[str(pictures)], quiet=True)
    after = evaluate(net, images)
    assert after["no_latent"] < before["no_latent"] - 0.2
    assert after["total"] == pytest.approx(after["local"] + after["kl"])

    longer = train([str(pictures)], checkpoint, TINY, replace(settings, steps=43), resume=True, quiet=True)
    assert torch.load(checkpoint, weights_only=False)["step"] == 43
    changed = [not torch.equal(a, b) for a, b in zip(net.parameters(), longer.parameters())]
    assert any(changed)

    path = tmp_path / "model.safetensors"
    made = export(longer, path)
    assert model.load_weights(path).id == made
    assert Config.from_dict(dict(model.load_weights(path).config)) == TINY


def test_crops(synthetic):
    images = [synthetic(40, 50, 1), synthetic(33, 32, 2)]
    x, coded = Crops(images, 32, grey=0.5, seed=1).batch(40)
    assert x.shape == (40, 32, 32, 3)
    assert x.dtype == torch.uint8
    grey = ~coded[:, 1]
    assert 0 < grey.sum() < 40
    assert bool(coded[:, 0].all())
    assert bool((x[grey] == x[grey][..., :1]).all())
    again, _ = Crops(images, 32, grey=0.5, seed=1).batch(40)
    assert torch.equal(x, again)
    plain = [image.tobytes() for image in Crops(images[1:], 32, flips=False, seed=1).batch(9)[0].numpy()]
    assert set(plain) <= {np.ascontiguousarray(images[1][r : r + 32, :32]).tobytes() for r in range(2)}


def test_altered_crops(synthetic):
    """Interpolated samples are what their neighbours say; the kept ones of a demosaiced crop are as they were."""
    image = torch.from_numpy(synthetic(40, 50, 1)).float()[None]
    half = half_chroma(image, rows=torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    chroma = half[..., 0] - half[..., 1]
    assert torch.allclose(chroma[:, :, 1:-1:2], (chroma[:, :, :-2:2] + chroma[:, :, 2::2]) / 2, atol=1e-3)
    weights = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose((half * weights).sum(-1), (image * weights).sum(-1), atol=1e-3)
    seen = demosaic(image)
    assert torch.equal(seen[:, ::2, ::2, 0], image[:, ::2, ::2, 0])
    assert torch.equal(seen[:, 1::2, 1::2, 2], image[:, 1::2, 1::2, 2])
    assert torch.allclose(seen[:, 2::2, 1:-1:2, 0], (image[:, 2::2, :-2:2, 0] + image[:, 2::2, 2::2, 0]) / 2)
    x, coded = Crops([synthetic(40, 50, 1)], 32, altered=1.0).batch(20)
    assert x.dtype == torch.uint8
    assert bool(coded.all())
    assert len({tuple(map(tuple, crop[0].tolist())) for crop in x}) == 20


@pytest.mark.parametrize("size", [(64, 96), (50, 37), (17, 100)])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [70, 85])
def test_jpeg(synthetic, size, subsampling, quality):
    """As libjpeg brings it back, but for its rounding of the planes and its way of enlarging chroma."""
    pixels = synthetic(*size, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    expected = np.asarray(Image.open(file)).astype(float)
    levels, half = torch.full((2, 1, 1, 1), float(quality)), torch.tensor([subsampling > 0, True])[:, None, None, None]
    x = torch.from_numpy(pixels).float().expand(2, -1, -1, -1)
    found = jpeg(x, levels, half)[0].round().clamp(0, 255).numpy()
    assert found.shape == pixels.shape
    away = np.abs(expected - pixels).mean()
    assert np.abs(found - expected).mean() < min(1.3, 0.5 * away)


@pytest.mark.parametrize("shape", [(7, 7), (5, 20), (20, 5)])
def test_orthogonal(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_rounding(random_vlae):
    """A layer that trains with rounding computes with the very weights that its export has."""
    net = Vlae(random_vlae().config)
    for form in forms(quantise_aware(net)):
        layer = form.layer
        rounded = layer.rounding.weight(layer.weight)
        (gradient,) = torch.autograd.grad(rounded.sum(), layer.weight)
        assert bool((gradient == 1).all())
        made = quantise(as_array(layer.weight), as_array(layer.bias), form.unit, form.zero, 1.0, 0.0, form.digits)
        integers = np.split(made["weight"].T.astype(float), form.digits)
        step = made["multiplier"][:, None] * 2.0 ** -made["shift"]
        exported = (integers[0] if form.digits == 1 else 128 * integers[0] + integers[1]) * step
        off = np.abs(as_array(rounded) * form.unit - exported) / step
        assert off.max() < 1.1  # a tie may be rounded the other way
        assert off.mean() < 0.02
        x = torch.linspace(-1, 3, layer.in_features)
        steps = layer.rounding.inputs(x) / layer.rounding.unit
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        assert (layer.rounding.inputs(x) - x).abs().max() <= layer.rounding.unit.max() / 2
    assert quantise_aware(net, on=False).local.out.rounding is None


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 72},
        {"hidden": 72, "mixtures": 4},
        {"window": (7, 3)},
        {"window": (7, 3), "hidden": 72},
        {"layers": 3},
        {"layers": 4, "hidden": 72},
        {"context": 6, "stride": 16},
    ],
)
def test_grow(random_vlae, synthetic, changes):
    """A wider model begins as the one it grows from; where the latent path differs, without its context."""
    start = random_vlae()
    grown = grow(start, replace(start.config, **changes))
    x = torch.from_numpy(synthetic(32, 48, 2))[None]
    at, on = torch.arange(32 * 48), torch.ones(1, 3, dtype=torch.bool)
    context = [torch.zeros(len(at), net.config.context) for net in (start, grown)]
    with torch.no_grad():
        bits = [net.local_bits(*net.local_rows(x, c, at), on).sum() for net, c in zip((start, grown), context)]
        assert bits[1].item() == pytest.approx(bits[0].item(), rel=0.05 if "mixtures" in changes else 1e-5)
        if "stride" not in changes:
            total = [net(x, at, ~on[:, 0], ~on[:, 0], on).local.sum().item() for net in (start, grown)]
            assert total[1] == pytest.approx(total[0], rel=0.05 if "mixtures" in changes else 1e-5)
    with pytest.raises(InputError, match="grow"):
        grow(grown, replace(start.config, window=(3, 2)))


def test_narrow(random_vlae, synthetic):
    """The units that lead nowhere go first: what was widened comes back as it was."""
    start = grow(random_vlae(), replace(random_vlae().config, layers=3))
    hidden = start.config.hidden
    back = grow(grow(start, replace(start.config, hidden=hidden + 9)), start.config)
    x, at = torch.from_numpy(synthetic(32, 48, 2))[None], torch.arange(32 * 48)
    on = torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        bits = [net(x, at, ~on[:, 0], ~on[:, 0], on).local.sum().item() for net in (start, back)]
    assert bits[1] == pytest.approx(bits[0], rel=1e-5)
    fewer = grow(start, replace(start.config, hidden=hidden // 2))
    assert [layer.out_features for layer in fewer.local.hidden] == [hidden // 2] * 3


def test_grey(random_vlae, synthetic):
    """A colour model turned grey gives a grey picture the bits that the colour model gave its first channel."""
    start = random_vlae()
    net = grow(start, replace(start.config, channels=1))
    x = torch.from_numpy(synthetic(32, 48, 2)[..., :1].copy())[None]
    at, on = torch.arange(32 * 48), torch.tensor([True])
    totals = []
    for colour, image in ((start, x.expand(-1, -1, -1, 3)), (net, x)):
        torch.manual_seed(1)
        coded = torch.arange(image.shape[3])[None] < 1
        with torch.no_grad():
            totals.append(torch.stack([term.sum() for term in colour(image, at, on, ~on, coded)]))
    assert torch.allclose(totals[0], totals[1], rtol=1e-4)


def test_invalid_pictures(tmp_path, synthetic):
    with pytest.raises(UnsupportedImage, match="at least 32x32"):
        load_images([tmp_path], 32)
    Image.fromarray(synthetic(31, 64, 1)).save(tmp_path / "small.png")
    with pytest.raises(UnsupportedImage, match="at least 32x32"):
        load_images([tmp_path], 32)
    (tmp_path / "broken.png").write_bytes(b"?")
    with pytest.raises(UnsupportedImage, match="broken"):
        load_images([tmp_path], 1)


def test_config():
    assert Config.from_dict(Config().to_dict()) == Config()
    assert Config.from_dict({**Config().to_dict(), "window": [9, 5]}).window == (9, 5)
