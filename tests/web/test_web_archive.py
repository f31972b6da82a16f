"""Archives in Node and in what `view` writes: the members of the Python package, and damage that is named."""

import json
import re

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_web_node import CODES, digest  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.cli import main

TINY = make_golden.DATA / "tiny.safetensors"
OPTIONS = {"model": TINY, "effort": 1, "threads": 1, "thumbnail": 0}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Chained pictures, a larger one, frames, and members added later."""
    folder = tmp_path_factory.mktemp("archive")
    for i in range(40):
        Image.fromarray(make_golden.synthetic(16, 16, i)).save(folder / f"small-{i:02d}.png")
    Image.fromarray(make_golden.synthetic(150, 140, 1)).save(folder / "large.png")
    frames = [Image.fromarray(np.full((9, 8), 60 * i, np.uint8)) for i in range(3)]
    frames[0].save(folder / "frames.tif", save_all=True, append_images=frames[1:])
    path = folder / "set.vlae"
    vlae_codec.create_archive(path, sorted(folder.glob("[!f]*")), **OPTIONS)
    vlae_codec.append_archive(path, [folder / "frames.tif"], **OPTIONS)
    return path


def read(node, *paths):
    return [json.loads(line) for line in node("archive.mjs", TINY, *paths).splitlines()]


def test_members(node, archive, tmp_path):
    """All members, also of an archive whose last addition was cut off."""
    data = archive.read_bytes()
    cut = tmp_path / "cut.vlae"
    cut.write_bytes(data + data[9:200])
    wanted = []
    with vlae_codec.open_archive(archive, model=TINY, threads=1) as members:
        for member in members:
            found = member.pictures
            height, width = found[0].pixels.shape[:2]
            wanted.append([member.name, width, height, [digest(one.pixels) for one in found]])
    assert len(wanted) == 42
    assert read(node, archive, cut) == [wanted, wanted]


def test_damage(node, archive, tmp_path):
    """What is damaged is refused with a code, whatever it is."""
    data, paths = archive.read_bytes(), []
    damaged = [data[: len(data) // 2], data[:5], b"", data[:-40] + bytes(8) + data[-32:]]
    for place in (9 + 60, len(data) - 100, len(data) - 20):
        damaged.append(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for i, one in enumerate(damaged):
        paths.append(tmp_path / f"{i}.vlae")
        paths[-1].write_bytes(one)
    for i, found in enumerate(read(node, *paths)):
        if isinstance(found, list):  # the index before the last addition is whole
            assert len(found) == 41, i
        else:
            assert found["code"] in CODES, (i, found)


def test_page(archive, tmp_path, monkeypatch):
    """A page with an archive inside has the models of all its groups."""
    monkeypatch.setenv("VLAE_CODEC_MODELS", str(TINY))
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["view", "--export", str(page), str(archive)])
    assert not result.exit_code, result.output
    models = re.findall(r'data-ids="(\w+)"', page.read_text())
    assert models == ["8cb89b9034e0854c"]
