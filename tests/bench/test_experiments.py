"""The experiments' nets and code: causality, distributions that sum to one, bounds, files."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vlae_codec.bench.experiments import information, lossy, prior, record, sets, tables, vqvae, window
from vlae_codec.bench.experiments.fit import Budget, importance, spread_out, terms_of, trained
from vlae_codec.bench.experiments.latents import Flow
from vlae_codec.bench.experiments.likelihoods import colours, drawn, likelihood, normal
from vlae_codec.bench.experiments.nets import Net, Spec
from vlae_codec.contract import window_offsets
from vlae_codec.gpu.logistics import mixture_nll

COLOUR = window.colour()


def stirred(spec):
    """A net none of whose weights is zero."""
    torch.manual_seed(0)
    net = Net(spec)
    for p in net.parameters():
        p.data += 0.05 * torch.randn_like(p)
    return net.eval()


def made_up(levels=2, count=40, size=28):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(levels, (count, 1 if levels == 2 else 3, size, size), generator=generator, dtype=torch.uint8)
    return sets.Set("mnist", x, x[:8], x[8:16], levels)


@pytest.mark.parametrize(
    "spec",
    [
        *(Spec(window=w) for w in window.WINDOWS),
        Spec("attention"),
        Spec("attention", (5, 2)),
        Spec("dense"),
        Spec("unrestricted"),
        Spec(latents=0),
        Spec("unrestricted", latents=0),
        COLOUR,
        window.colour(window=(1, 0)),
        window.colour("unrestricted"),
    ],
    ids=str,
)
def test_decoders_see_what_they_say(spec):
    net, n = stirred(spec), spec.size
    x = torch.randn(1, spec.channels, n, n, requires_grad=True)
    out = net.decoder(torch.randn(1, spec.dimensions), x)
    for r, c in [(0, 0), (0, 5), (14, 13), (20, 3), (n - 1, n - 1)]:
        (gradient,) = torch.autograd.grad(out[0, :, r, c].sum(), x, retain_graph=True, allow_unused=True)
        seen = [] if gradient is None else [tuple(p) for p in gradient[0].abs().sum(0).nonzero().tolist()]
        if spec.decoder in ("window", "attention"):
            reach = [(r + a, c + b) for a, b in window_offsets(spec.window)]
            assert seen == sorted((a, b) for a, b in reach if a >= 0 and 0 <= b < n)
        elif spec.decoder == "dense":
            assert not seen
        else:
            assert all(place < (r, c) for place in seen)
            assert len(seen) >= 0.98 * (r * n + c)


def test_likelihood_of_bits_sums_to_one():
    net = stirred(Spec(window=(3, 1), size=4, latents=0))
    every = torch.tensor(list(itertools.product((0, 1), repeat=16)), dtype=torch.uint8).view(-1, 1, 4, 4)
    logs = -terms_of(net, every, size=4096)["total"]
    assert torch.logsumexp(logs.double(), 0).item() == pytest.approx(0, abs=1e-4)


def test_colours_are_drawn_from_their_likelihood():
    torch.manual_seed(0)
    row = 0.5 * torch.randn(1, COLOUR.parameters)
    pixels = drawn(row.expand(40000, -1), 256, 3).float()
    values = torch.arange(256.0)[:, None].expand(-1, 3)
    first = torch.tensor([[True, False, False]]).expand(256, -1)  # of the first channel alone
    bits = mixture_nll(colours(row.expand(256, -1), 3), values - 127.5, values <= 0, values >= 255, first)
    mass = torch.exp2(-bits)
    found = torch.bincount(pixels[:, 0].long(), minlength=256) / len(pixels)
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    assert (mass - found).abs().sum() < 0.08
    rows, x = row.expand(40000, -1), pixels.to(torch.uint8)
    nats = -likelihood(rows[..., None, None], x[..., None, None], 256).mean()
    # The entropy of the drawn pixels by the likelihood, against pixels drawn channel by channel without the coupling.
    apart = x.clone()
    apart[:, 1] = apart[torch.randperm(len(x)), 1]
    apart[:, 2] = apart[torch.randperm(len(x)), 2]
    assert nats < -likelihood(rows[..., None, None], apart[..., None, None], 256).mean()


@pytest.mark.parametrize("spec", [Spec(latents=6), Spec(latents=6, prior="normal")], ids=["flow", "normal"])
def test_flow_is_a_density_and_has_an_inverse(spec):
    torch.manual_seed(1)
    flow = Flow(spec)
    for p in flow.parameters():
        p.data += 0.3 * torch.randn_like(p)
    z = torch.randn(3, 6)
    assert torch.allclose(flow.base(flow.invert(z))[0], z, atol=1e-3)
    for one in z:  # change of variables, by the Jacobian of all of it
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.base(v[None])[0][0], one)
        eps, _ = flow.base(one[None])
        logs = normal(eps, torch.zeros_like(eps), torch.zeros_like(eps))[0] + torch.linalg.slogdet(jacobian)[1]
        assert flow(one[None])[0].item() == pytest.approx(logs.item(), abs=1e-3)


def test_importance_is_a_tighter_bound():
    net, x = stirred(Spec(latents=4)), made_up().test
    elbo = terms_of(net, x, samples=64)["total"]
    one, many = (importance(net, x, samples=n).mean() for n in (1, 64))
    assert many < elbo.mean()
    assert many < one
    plain = stirred(Spec(latents=0))
    assert torch.equal(importance(plain, x), terms_of(plain, x)["total"])


def test_terms_add_up_and_are_seeded():
    net, x = stirred(Spec()), made_up().test
    terms = terms_of(net, x)
    assert torch.allclose(terms["total"], terms["local"] + terms["prior"] - terms["posterior"])
    assert torch.equal(terms["total"], terms_of(net, x, size=len(x))["total"])


def test_a_net_is_trained_once(tmp_path, capsys):
    data, budget = made_up(), Budget(steps=4, batch=4, looks=2)
    net, facts = trained(Spec(), data, budget, tmp_path)
    assert facts["best_step"] in (2, 4)
    said = capsys.readouterr().out
    again, same = trained(Spec(), data, budget, tmp_path)
    assert same == facts
    assert "step 4" in said
    assert not capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters()))


def test_dynamic_bits():
    grey = torch.full((1000, 1, 4, 4), 51, dtype=torch.uint8)
    assert sets.draw(grey).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert not sets.draw(grey * 0).any()
    assert sets.draw(grey * 5).all()


def test_static_mnist_is_read(tmp_path):
    folder = tmp_path / "binary" / "mnist"
    folder.mkdir(parents=True)
    bits = np.random.default_rng(0).integers(2, size=(5, 784), dtype=np.uint8)
    packed = np.packbits(bits, axis=1)
    np.savez(folder / "binarized_mnist_static.npz", train=packed, valid=packed[:2], test=packed[2:])
    data = sets.load(tmp_path, "mnist")
    assert np.array_equal(data.train.numpy(), bits.reshape(-1, 1, 28, 28))
    assert len(data.test) == 3
    with pytest.raises(KeyError, match="no set"):
        sets.load(tmp_path, "imagenet")


def test_spread_out():
    assert spread_out(torch.arange(100), 4).tolist() == [0, 25, 50, 75]
    assert len(spread_out(torch.arange(3), 10)) == 3


def test_vqvae_files_come_back():
    torch.manual_seed(0)
    spec = vqvae.VqSpec(5, grid=2, size=8)
    net, x = spec.build().eval(), made_up(size=8, count=16).train
    data = vqvae.encode(net, x)
    assert torch.equal(vqvae.decode(net, data, len(x)), x)
    promised = terms_of(net, x)["total"].sum().item() / math.log(2)
    assert 8 * len(data) == pytest.approx(promised, abs=64 + 0.01 * promised)
    with pytest.raises(ValueError, match="does not end"):
        vqvae.decode(net, data, len(x) - 1)


def test_unused_codes_move():
    torch.manual_seed(0)
    net, x = vqvae.VqSpec(8, grid=2, size=8).build(), made_up(size=8).train
    net.book.data[3] = 1000.0
    net.used[3] = 0.0
    net(x)
    assert net.book[3].abs().max() < 100


@pytest.mark.slow
def test_a_command_writes_its_record(tmp_path, monkeypatch):
    data = made_up()
    monkeypatch.setattr(sets, "load", lambda folder, name: data)
    monkeypatch.setattr(information, "ROWS", [record.Row("tiny", "mnist", Spec(latents=2), Budget(steps=4, batch=4))])
    done = CliRunner().invoke(
        record.command(information.main),
        [str(tmp_path), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--steps", "1.5"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    found = json.loads((tmp_path / "out" / "a-information.json").read_text())
    assert found["command"].endswith(" DATA --steps 1.5")
    (row,) = found["rows"]
    assert row["label"] == "tiny"
    assert row["elbo"] == pytest.approx(row["local"] + row["kl"], rel=1e-5)
    assert set(found["columns"]) <= set(row)
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize("module", [information, window, prior, lossy, vqvae, tables])
def test_help_says_the_command(module):
    shown = CliRunner().invoke(record.command(module.main), ["--help"])
    assert shown.exit_code == 0
    assert f"bench.experiments.{module.__name__.rsplit('.', 1)[1]} DATA" in shown.output


def test_curve_is_drawn(tmp_path):
    rows = [{"set": "s", "label": str(n), "pixels": n, "kl": 9 - n, "elbo": 90 - n} for n in range(3)]
    window.plot([*rows, {**rows[0], "label": window.ATTENTION}], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_grid_of_pictures():
    rows = [np.zeros((4, 3, 5, 1), np.uint8), np.full((4, 3, 5, 1), 255, np.uint8)]
    assert lossy.grid(rows, 2).shape == (2 * 2 * (3 + 2), 2 * 4 * (5 + 2), 1)


def test_rises_are_told():
    rows = [{"set": "s", "label": label, "kl": kl} for label, kl in [("3x1", 5.0), ("5x2", 6.5), (window.PLAIN, 0.0)]]
    assert window.rises([*rows, {"set": "t", "label": "3x1", "kl": 9.0}]) == [
        "s: from 3x1 to 5x2 the KL rises, by 1.50 nats."
    ]
    again = {"set": "s", "label": "5x2" + window.AGAIN, "kl": 6.0}
    assert window.seeds([*rows, again]) == ["s: another seed moves the KL of 5x2 by 0.50 nats."]
