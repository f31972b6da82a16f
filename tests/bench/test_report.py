"""The report of float, rounded and integer rates, data-dependent initialisation, and compiled steps."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import pytest
import torch

from vlae_codec.models.export import export, forms
from vlae_codec.models.report import lines, report
from vlae_codec.models.restore import restore
from vlae_codec.models.trainer import Settings, Trainer
from vlae_codec.models.vlae import Vlae

SETTINGS = Settings(minutes=1e6, steps=100, batch=2, crop=32, pixels=512, seed=3)
TINY = replace(make_golden.CONFIG, hidden=16)


def test_report(tiny, tmp_path, synthetic):
    """Rounding is most of what the integers change; the report notices weights that are not the model's."""
    model, images = restore(tiny), [synthetic(40, 56, seed) for seed in range(2)]
    path = tmp_path / "tiny.safetensors"
    export(model, path)
    rates = report(model, path, images)
    assert list(rates) == ["float", "rounded", "integer"]
    for i in range(2):
        assert rates["rounded"][i] == pytest.approx(rates["integer"][i], rel=2e-3)
        assert rates["float"][i] == pytest.approx(rates["integer"][i], rel=1e-2)
    assert model.local.out.rounding is None
    assert lines(rates).splitlines()[3].startswith("integer")
    assert f"{rates['float'][1]:.4f}" in lines(rates)
    torch.manual_seed(1)
    assert report(Vlae(model.config), path, images)["float"] != pytest.approx(rates["float"], rel=0.05)


def test_initialise(synthetic):
    """Whatever the scale of the weights at first, hidden units begin with the same mean and deviation."""
    trainer = Trainer(TINY, replace(SETTINGS, data_init=False), [synthetic(64, 64, 1)], "cpu")
    with torch.no_grad():
        for form in forms(trainer.model):
            form.layer.weight *= 7
    trainer.initialise()
    seen: dict[str, torch.Tensor] = {}
    for name in ("local.hidden.0", "topdown.fine", "encoder.grid.1"):
        layer = trainer.model.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, name=name: seen.setdefault(name, out.detach()))
    x, coded = trainer.crops.batch(8)
    on = torch.ones(8, dtype=torch.bool)
    trainer.model(x, torch.arange(8 * 32 * 32), on, ~on, coded)
    for out in seen.values():
        assert out.mean().item() == pytest.approx(0.4, abs=0.25)
        assert out.flatten(0, -2).std(0).median().item() == pytest.approx(0.8, abs=0.3)
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), trainer.ema.parameters()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler has some of its own
def test_compiled(synthetic, monkeypatch):
    """What is compiled on a GPU traces into one graph, and takes the same first step."""
    images, compiler, graphs = [synthetic(64, 64, 1)], torch.compile, []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda model: compiler(model, backend=backend))
    settings = replace(SETTINGS, blank=0.0)
    ours, plain = (Trainer(TINY, settings, images, "cpu", compiled).step() for compiled in (True, False))
    assert ours == pytest.approx(plain, rel=1e-4)
    assert len(graphs) <= 2
