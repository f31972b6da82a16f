"""Training runs: what is written on the way, stopping, going on, several processes, and the command for all of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from vlae_codec.cli import main
from vlae_codec.errors import InputError
from vlae_codec.models import journal, parallel
from vlae_codec.models.data import load_images
from vlae_codec.models.evaluation import evaluate, validate
from vlae_codec.models.recipes import photo
from vlae_codec.models.train import train
from vlae_codec.models.trainer import Settings, Trainer, read_checkpoint
from vlae_codec.models.vlae import Config
from vlae_codec.weights import model

CONFIG = replace(make_golden.CONFIG, hidden=16)
SETTINGS = Settings(minutes=1e6, steps=6, batch=2, crop=32, pixels=512, rate=1e-2, seed=3)


def same_tensors(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values()))


# ---------------------------------------------------------------------------------------------------- runs


def test_log(pictures, tmp_path, capfd):
    log = tmp_path / "run.jsonl"
    run = {"valid": [pictures], "log": log, "log_every": 0.0, "command": ["train", "it"]}
    train([pictures], tmp_path / "run.ckpt", CONFIG, replace(SETTINGS, steps=3), **run)
    head, *records = journal.read(log)
    assert head["step"] == 0
    assert head["command"] == ["train", "it"]
    assert head["settings"]["steps"] == 3
    assert Config.from_dict(head["config"]) == CONFIG
    assert head["versions"]["torch"] == torch.__version__
    assert [record["step"] for record in records] == [1, 2, 3]
    keys = {"minutes", "bpsp", "kl_per_cell", "images_per_s", "lr", "valid_total", "valid_no_latent"}
    assert all(keys <= record.keys() for record in records)
    printed = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert printed == records

    # what a crash left behind the checkpoint goes, and a line that it cut short
    log.write_text(log.read_text() + json.dumps({**records[-1], "step": 9}) + '\n{"step": 1')
    train([pictures], tmp_path / "run.ckpt", CONFIG, replace(SETTINGS, steps=5), resume=True, quiet=True, **run)
    assert [record["step"] for record in journal.read(log)] == [0, 1, 2, 3, 3, 4, 5]
    assert capfd.readouterr().err == ""
    train([pictures], tmp_path / "run.ckpt", CONFIG, replace(SETTINGS, steps=1), quiet=True, **run)
    assert [record["step"] for record in journal.read(log)] == [0, 1]


def test_plot(tmp_path):
    log = journal.Journal(tmp_path / "run.jsonl")
    log.write({"step": 0, "config": {}})
    journal.plot(log.path, tmp_path / "empty.png")
    for step in (10, 20):
        log.write({"step": step, "bpsp": 4 - step / 100, "kl_per_cell": 1.0, "valid_total": 4.1})
    journal.plot(log.path, tmp_path / "run.png")
    with Image.open(tmp_path / "run.png") as picture:
        assert picture.width > 200


def test_resume(pictures, tmp_path):
    """6 steps are 3, a checkpoint and 3 more, to the bit, whether held-out pictures are looked at or not."""
    checkpoints = [tmp_path / "whole.ckpt", tmp_path / "parts.ckpt"]
    six = {"minutes": 1e6, "steps": 6}
    train([pictures], checkpoints[0], CONFIG, replace(SETTINGS, **six), quiet=True)
    trainer = Trainer(CONFIG, SETTINGS, load_images([pictures], 32), "cpu")
    for _ in range(3):
        trainer.step()
    trainer.save(checkpoints[1])
    torch.manual_seed(99)
    again = replace(SETTINGS, seed=98, **six)
    log = {"valid": [pictures], "log": tmp_path / "run.jsonl", "log_every": 0.0}
    train([pictures], checkpoints[1], CONFIG, again, resume=True, quiet=True, **log)
    whole, parts = (read_checkpoint(path) for path in checkpoints)
    assert whole["step"] == parts["step"] == 6
    for key in ("model", "ema"):
        assert same_tensors(whole[key], parts[key])
    for one, other in zip(whole["optimiser"]["state"].values(), parts["optimiser"]["state"].values()):
        one, other = ({key: torch.as_tensor(value) for key, value in state.items()} for state in (one, other))
        assert same_tensors(one, other)
    assert torch.equal(whole["torch_rng"], parts["torch_rng"])
    assert torch.equal(whole["crops_rng"], parts["crops_rng"])


def test_resume_other(pictures, tmp_path):
    """A checkpoint of another architecture or with other settings is refused, by the name of what differs."""
    path, images = tmp_path / "run.ckpt", load_images([pictures], 32)
    Trainer(CONFIG, SETTINGS, images, "cpu").save(path)
    Trainer(CONFIG, replace(SETTINGS, minutes=5, steps=9, seed=1), images, "cpu").load(path)
    with pytest.raises(InputError, match=r"\(hidden\).*--init"):
        Trainer(replace(CONFIG, hidden=24), SETTINGS, images, "cpu").load(path)
    with pytest.raises(InputError, match=r"\(batch, rate\)"):
        Trainer(CONFIG, replace(SETTINGS, rate=1e-3, batch=3), images, "cpu").load(path)
    for content in (b"", b"?", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"run\.ckpt as a checkpoint"):
            Trainer(CONFIG, SETTINGS, images, "cpu").load(path)
    torch.save({"step": 3}, path)
    with pytest.raises(InputError, match="older version"):
        read_checkpoint(path)


def test_interrupt(pictures, tmp_path):
    """Ctrl-C ends the run after a whole step, with a checkpoint that says as much."""
    path = tmp_path / "run.ckpt"
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt, match=r"run\.ckpt.*--resume"):
        train([pictures], path, CONFIG, replace(SETTINGS, steps=1 << 30), quiet=True)
    assert signal.getsignal(signal.SIGINT) is before
    step = read_checkpoint(path)["step"]
    train([pictures], path, CONFIG, replace(SETTINGS, steps=step + 1), resume=True, quiet=True)
    assert read_checkpoint(path)["step"] == step + 1


def test_evaluate_small(random_vlae, synthetic):
    """Pictures of one shape are evaluated together, to the same bits."""
    net = random_vlae()
    images = [synthetic(32, 32, seed) for seed in range(5)] + [synthetic(40, 32, 9)]
    together = evaluate(net, images)
    alone = [evaluate(net, [image]) for image in images]
    sizes = np.array([image.size for image in images])
    for key in ("no_latent", "total"):
        mean = float(np.average([one[key] for one in alone], weights=sizes))
        assert together[key] == pytest.approx(mean, rel=1e-5 if key == "no_latent" else 0.02)
    state = torch.get_rng_state()
    assert validate(net, images) == validate(net, images)
    assert torch.equal(torch.get_rng_state(), state)


WORKER = """
import sys
import torch
from test_train import CONFIG, SETTINGS, replace
from vlae_codec.models import parallel
from vlae_codec.models.train import train
torch.set_num_threads(1)
pictures, folder = sys.argv[1:]
with parallel.processes("cpu"):
    rank = parallel.rank()
    settings = replace(SETTINGS, steps=4)
    from pathlib import Path
    net = train([pictures], Path(folder, "run.ckpt"), CONFIG, settings, quiet=True, log=Path(folder, "run.jsonl"))
    torch.save({"ema": net.state_dict(), "random": torch.rand(3)}, f"{folder}/{rank}.pt")
"""


@pytest.mark.slow
def test_processes(pictures, tmp_path):
    """Two processes draw other crops and end with the same parameters; the first alone writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    tests = Path(__file__).parent
    paths = [*map(str, (tests, tests.parent)), os.environ.get("PYTHONPATH", "")]
    workers = []
    for rank in range(2):
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        command = [sys.executable, "-c", WORKER, pictures, str(tmp_path)]
        workers.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    for worker in workers:
        error = worker.communicate(timeout=120)[1]
        assert worker.returncode == 0, error
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert same_tensors(first["ema"], second["ema"])
    assert not torch.equal(first["random"], second["random"])
    state = read_checkpoint(tmp_path / "run.ckpt")
    assert state["step"] == 4
    assert same_tensors(state["ema"], first["ema"])
    alone = train([pictures], tmp_path / "alone.ckpt", CONFIG, replace(SETTINGS, steps=4), quiet=True)
    assert not same_tensors(alone.state_dict(), first["ema"])  # gradients of the second took part
    head, last = journal.read(tmp_path / "run.jsonl")
    assert (head["processes"], last["step"]) == (2, 4)


def test_alone():
    with parallel.processes("cpu"):
        assert (parallel.rank(), parallel.count()) == (0, 1)
        assert parallel.from_first(1.5, device="cpu") == [1.5]


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def run(pictures, tmp_path, monkeypatch):
    """The command, with a tiny recipe in place of the photo one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photo, "CONFIG", CONFIG)
    monkeypatch.setattr(photo, "SETTINGS", replace(SETTINGS, steps=2))
    arguments = ["train", "pictures", "-o", "mine.safetensors", "--device", "cpu"]
    return lambda *more: CliRunner().invoke(main, [*arguments, *map(str, more)])


def test_command(run, tmp_path):
    result = run("--valid", "pictures", "--log-every", "0")
    assert result.exit_code == 0, result.output
    assert "mine.safetensors: model " in result.stderr
    assert Config.from_dict(dict(model.load_weights(tmp_path / "mine.safetensors").config)) == CONFIG
    assert (tmp_path / "mine.ckpt").exists()
    assert [record["step"] for record in journal.read(tmp_path / "mine.jsonl")] == [0, 1, 2]
    assert (tmp_path / "mine.png").exists() or "no curve" in result.stderr
    assert run("-q").exit_code == 1
    (tmp_path / "mine.safetensors").unlink()
    for name in ("mine.ckpt", "mine.jsonl", "mine.png"):  # none of a run's files is lost by accident
        result = run("-q")
        assert result.exit_code == 1
        assert name in result.stderr
        (tmp_path / name).unlink(missing_ok=True)
        if name == "mine.jsonl" and not (tmp_path / "mine.png").exists():
            break
    assert run("-q").exit_code == 0
    result = run("-q", "--resume", "--force", "--steps", "3")
    assert (result.exit_code, result.output) == (0, "")
    assert read_checkpoint(tmp_path / "mine.ckpt")["step"] == 3


def test_no_matplotlib(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run()
    assert result.exit_code == 0
    assert "matplotlib is not installed" in result.stderr
    assert not (tmp_path / "mine.png").exists()


@pytest.mark.parametrize("kind", ["name", "path", "checkpoint"])
def test_init(run, pictures, tmp_path, monkeypatch, kind):
    """Fine-tuning begins with the weights given, whatever the recipe's architecture is."""
    wanted = tmp_path / "start.ckpt" if kind == "checkpoint" else make_golden.DATA / "tiny.safetensors"
    if kind == "checkpoint":
        trainer = Trainer(replace(CONFIG, hidden=20), SETTINGS, load_images([pictures], 32), "cpu")
        trainer.step()
        trainer.save(wanted)
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(wanted.parent))
    monkeypatch.setattr(photo, "SETTINGS", replace(SETTINGS, steps=1, rate=1e-9))
    result = run("--init", "tiny" if kind == "name" else wanted)
    assert result.exit_code == 0, result.output
    state = read_checkpoint(tmp_path / "mine.ckpt")
    assert state["config"]["hidden"] == (20 if kind == "checkpoint" else make_golden.CONFIG.hidden)
    if kind == "checkpoint":
        for name, tensor in state["model"].items():
            assert torch.allclose(tensor, trainer.ema.state_dict()[name], atol=1e-5)
    else:
        before, after = (model.read_weights(path)[1] for path in (wanted, tmp_path / "mine.safetensors"))
        assert np.mean(before["local.out.weight"] != after["local.out.weight"]) < 0.01


def test_grow(run, tmp_path, monkeypatch):
    """With --grow the recipe's wider architecture begins with the weights given."""
    wider = replace(make_golden.CONFIG, hidden=make_golden.CONFIG.hidden + 8)
    monkeypatch.setattr(photo, "CONFIG", wider)
    result = run("--init", make_golden.DATA / "tiny.safetensors", "--grow", "--valid", "pictures")
    assert result.exit_code == 0, result.output
    assert Config.from_dict(dict(model.load_weights(tmp_path / "mine.safetensors").config)) == wider
    assert all(name in result.stderr for name in ("float", "rounded", "integer"))  # the report


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grow"], "--init"),
        (["--init", make_golden.DATA / "tiny.safetensors", "--grow"], "cannot grow"),
        (["--init", "nothing"], "no model 'nothing'"),
        (["--init", "pictures/0.png"], "0.png as a weight file"),
        (["--recipe", "nothing"], "no recipe 'nothing'"),
    ],
)
def test_invalid(run, monkeypatch, arguments, words):
    monkeypatch.setattr(photo, "CONFIG", replace(CONFIG, context=1))  # less than the tiny model's
    result = run(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
