"""What measures archives, and what kills the runs that make them."""

import json
import os

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner

from vlae_codec.bench import archive_faults, archives


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks beside threads that are idle
def test_kills():
    result = CliRunner().invoke(
        archive_faults.main, ["--kills", "5", "--model", str(make_golden.DATA / "tiny.safetensors")]
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("5 killed") == 2
    assert result.output.count("0 damaged") == 2


@pytest.mark.slow
def test_table(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.stack([make_golden.synthetic(8, 8, i) for i in range(6)]))
    out = tmp_path / "out.json"
    arguments = [str(tmp_path / "set.npz"), "--effort", "1", "--repeat", "3", "--json", str(out)]
    arguments += [option for part in ("archive", "many", "peers") for option in ("--part", part)]
    result = CliRunner().invoke(archives.main, arguments)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(out.read_text())["sets"]
    assert row["pictures"] == 6
    assert row["one of many"]["members"] == 18
    assert row["archive"] < row["png"]
    assert row["tar of png"] % 10240 == 0
