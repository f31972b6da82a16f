import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))  # bench is not installed

from bench import effort, rate, unlike

Synthetic = Callable[[int, int, int], np.ndarray]


def test_effort(tiny: Path, synthetic: Synthetic) -> None:
    pixels = synthetic(64, 64, 0)
    options = {"model": tiny, "threads": 1}
    levels = {str(level): effort.measure(pixels, level, options) for level in (1, 3)}
    assert all(found["exact"] for found in levels.values())
    assert levels["1"]["adapter_bytes"] == 0

    rows = [{"subpixels": pixels.size, "levels": levels}]
    totals = effort.summary(rows)
    assert list(totals) == ["1", "3"]
    assert all(found["larger"] == found["failures"] == 0 for found in totals.values())
    assert totals["1"]["bpsp"] == 8 * levels["1"]["bytes"] / pixels.size
    assert totals["1"]["gain_percent"] == 0 <= totals["3"]["gain_percent"]
    assert totals["1"]["compress_ratio"] == totals["1"]["decompress_ratio"] == 1
    assert "over_peer" not in totals["1"]
    assert len(effort.table(totals, markdown=False).splitlines()) == 3
    assert effort.table(totals, markdown=True).count("\n|") == 3


def test_summary_of_two_pictures() -> None:
    def level(size: int, adapter: int, seconds: float) -> dict[str, object]:
        return {
            "bytes": size,
            "adapter_bytes": adapter,
            "compress_s": seconds,
            "decompress_s": 1.0,
            "exact": adapter != 50,
        }

    rows = [
        {"subpixels": 800, "jxl e7": {"bytes": 200, "encode_s": 0.5}, "levels": {"1": level(100, 0, 1.0)}},
        {"subpixels": 800, "jxl e7": {"bytes": 200, "encode_s": 1.5}, "levels": {"1": level(300, 0, 1.0)}},
    ]
    rows[0]["levels"]["2"], rows[1]["levels"]["2"] = level(90, 10, 2.0), level(270, 50, 4.0)  # type: ignore[index]
    rows[0]["levels"]["9"] = level(80, 10, 9.0)  # type: ignore[index]  # not of all pictures: left out
    found = effort.summary(rows)
    assert set(found) == {"1", "2"}
    two = found["2"]
    assert (two["bpsp"], two["over_peer"], two["peer_encode_s"]) == (8 * 360 / 1600, 0.9, 1.0)
    assert two["gain_percent"] == pytest.approx(10)
    assert (two["adapters"], two["failures"], two["larger"]) == (2, 1, 0)
    assert (two["compress_s"], two["compress_s_max"], two["compress_ratio"]) == (3.0, 4.0, 3.0)
    assert two["adapter_percent"] == 100 * 60 / 360


@pytest.mark.parametrize("level", [1, 9])
def test_rate_accounts_for_the_adapter(tmp_path: Path, level: int, tiny: Path, synthetic: Synthetic) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(synthetic(96, 96, 0)[..., ::-1] // 2).save(path)  # unlike the training's, so that a change pays
    row = rate.measure(path, str(tiny), False, level)
    assert row["exact"]
    assert (row["items"]["adapter"] > 0) == ("adapter" in row["terms"]) == (level > 1)
    assert 0 <= row["items"]["lanes"] < 40
    assert rate.summary([row])["adapters"] == (level > 1)


@pytest.mark.parametrize("name", unlike.MAKERS)
def test_made_pictures(name: str) -> None:
    picture = unlike.make(name, 48, 64)
    assert picture.dtype == np.uint8
    assert picture.shape[:2] == (48, 64)
    assert picture.shape[2:] in ((), (3,))
    assert picture.std() > 1
    assert np.array_equal(unlike.make(name, 48, 64), picture)


@pytest.mark.parametrize("name", unlike.CHANGES)
def test_changed_pictures(name: str, synthetic: Synthetic) -> None:
    photo = synthetic(48, 60, 0)
    picture = unlike.change(name, photo)
    assert picture.dtype == np.uint8
    assert picture.shape == photo.shape
    assert not np.array_equal(picture, photo)
    assert np.array_equal(unlike.change(name, photo), picture)
