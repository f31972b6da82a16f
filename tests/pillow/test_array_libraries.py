"""The recipes of docs/use.md for imageio, scikit-image and OpenCV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vlae_codec
import vlae_codec.pillow  # registers

PIXELS = np.stack([np.add.outer(np.arange(20), np.arange(30))] * 3, axis=-1).astype(np.uint8)
PIXELS[..., 1] += 40


@pytest.mark.parametrize("library", ["imageio.v3", "skimage.io"])
def test_libraries_that_use_pillow(library: str, tmp_path: Path) -> None:
    io = pytest.importorskip(library)
    path = tmp_path / "picture.vlae"
    (io.imwrite if "imageio" in library else io.imsave)(path, PIXELS)
    assert np.array_equal(vlae_codec.decompress(path.read_bytes()), PIXELS)
    assert np.array_equal(io.imread(path), PIXELS)


def test_opencv(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    data = vlae_codec.compress(cv2.cvtColor(PIXELS[..., ::-1].copy(), cv2.COLOR_BGR2RGB), effort=1)
    back = cv2.cvtColor(vlae_codec.decompress(data), cv2.COLOR_RGB2BGR)
    assert np.array_equal(back, PIXELS[..., ::-1])
