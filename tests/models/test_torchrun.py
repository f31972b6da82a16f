"""Several machines, each with a torchrun and a folder of its own: here two on one, over the loopback."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vlae_codec.models import journal
from vlae_codec.models.trainer import read_checkpoint

SCRIPT = """
import sys
from pathlib import Path
import torch
from test_train import CONFIG, SETTINGS, replace
from vlae_codec.models import parallel
from vlae_codec.models.train import train
torch.set_num_threads(1)
pictures, folder, steps, resume = sys.argv[1:]
with parallel.processes("cpu"):
    settings, log = replace(SETTINGS, steps=int(steps)), Path(folder, "run.jsonl")
    net = train([pictures], Path(folder, "run.ckpt"), CONFIG, settings, quiet=True, log=log, resume=resume == "resume")
    torch.save(net.state_dict(), Path(folder, "weights.pt"))
"""


def machines(tmp_path: Path, pictures: str, steps: int, resume: str = "") -> list[subprocess.CompletedProcess[str]]:
    """Runs the script with two nodes of one process each; the second has another folder for its files."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tests = Path(__file__).parent
    paths = [*map(str, (tests, tests.parent)), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    running = []
    for node in range(2):
        folder = tmp_path / f"machine{node}"
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node)]
        command += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
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
    assert sorted(path.name for path in second.iterdir()) == ["weights.pt"]  # the first writes
    assert journal.read(first / "run.jsonl")[0]["processes"] == 2
    ours, theirs = (torch.load(folder / "weights.pt") for folder in (first, second))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    failed = machines(tmp_path, pictures, 3, "resume")  # the second machine has no checkpoint
    assert all(one.returncode for one in failed)
    assert "give all machines the same one" in failed[1].stderr
    shutil.copy(first / "run.ckpt", second)
    for one in machines(tmp_path, pictures, 3, "resume"):
        assert one.returncode == 0, one.stderr
    assert read_checkpoint(first / "run.ckpt")["step"] == 3
