"""Several machines, each with a torchrun and a folder of its own: here two on one, over the loopback."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vlae_codec.models import journal
from vlae_codec.models.trainer import read_checkpoint

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from test_train import CONFIG, SETTINGS, replace
from vlae_codec.models import parallel, train as training
torch.set_num_threads(1)
pictures, folder, steps, resume = sys.argv[1:]
"""
RUN = """
with parallel.processes("cpu"):
    settings, log = replace(SETTINGS, steps=int(steps)), Path(folder, "run.jsonl")
    state = Path(folder, "run.ckpt")
    net = training.train([pictures], state, CONFIG, settings, quiet=True, log=log, resume=resume == "resume")
    torch.save(net.state_dict(), Path(folder, f"weights{parallel.rank()}.pt"))
"""
KILLED = """
training.SAVED = 0  # a checkpoint after each step
step = training.Trainer.step
def killed(trainer):
    if trainer.step_count == 3 and parallel.rank() == 1 and not Path(folder, "killed").exists():
        Path(folder, "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(trainer)
training.Trainer.step = killed
"""


def machines(
    tmp_path: Path,
    pictures: str,
    steps: int,
    resume: str = "",
    folders: tuple[str, str] = ("machine0", "machine1"),
    between: str = "",
    restarts: int = 0,
) -> list[subprocess.CompletedProcess[str]]:
    """Runs the script with two nodes of one process each, and a folder for the files of each."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + between + RUN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tests = Path(__file__).parent
    paths = [*map(str, (tests, tests.parent)), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    running = []
    for node in range(2):
        folder = tmp_path / folders[node]
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        if restarts:
            command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "run"]
            command += ["--max-restarts", str(restarts)]
        else:
            command += ["--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port", str(port)]
        command += [str(script), pictures, str(folder), str(steps), resume]
        running.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    done = []
    for one in running:
        out, error = one.communicate(timeout=300)
        done.append(subprocess.CompletedProcess(one.args, one.returncode, out, error))
    return done


@pytest.mark.slow
def test_two_machines(pictures, tmp_path):
    for one in machines(tmp_path, pictures, 2):
        assert one.returncode == 0, one.stderr
    first, second = tmp_path / "machine0", tmp_path / "machine1"
    assert sorted(path.name for path in second.iterdir()) == ["weights1.pt"]  # the first writes
    assert journal.read(first / "run.jsonl")[0]["processes"] == 2
    ours, theirs = (torch.load(folder / f"weights{rank}.pt") for rank, folder in enumerate((first, second)))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    failed = machines(tmp_path, pictures, 3, "resume")  # the second machine has no checkpoint
    assert all(one.returncode for one in failed)
    assert "give all machines the same one" in failed[1].stderr
    shutil.copy(first / "run.ckpt", second)
    for one in machines(tmp_path, pictures, 3, "resume"):
        assert one.returncode == 0, one.stderr
    assert read_checkpoint(first / "run.ckpt")["step"] == 3


@pytest.mark.slow
def test_killed_worker(pictures, tmp_path):
    """All workers go on from the checkpoint, which lies in a folder that all see."""
    both: dict[str, Any] = {"folders": ("shared", "shared"), "between": KILLED, "restarts": 2}
    for one in machines(tmp_path, pictures, 6, "resume", **both):
        assert one.returncode == 0, one.stderr
    shared = tmp_path / "shared"
    assert read_checkpoint(shared / "run.ckpt")["step"] == 6
    begun = [record for record in journal.read(shared / "run.jsonl") if "command" in record]
    assert [record["step"] for record in begun] == [0, 3]
    ours, theirs = (torch.load(shared / f"weights{rank}.pt") for rank in range(2))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
