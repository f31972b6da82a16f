import json
import sys
from collections.abc import Callable
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vlae_codec import api
from vlae_codec.bench import effort, kernels, limits, peers, processes, profile, rate, speed, unlike
from vlae_codec.coder.tile import TileCodec
from vlae_codec.native import library
from vlae_codec.weights import model

Synthetic = Callable[[int, int, int], np.ndarray]


def test_effort(tiny: Path, synthetic: Synthetic) -> None:
    pixels = synthetic(64, 64, 0)
    options = {"model": tiny, "threads": 1}
    levels = {str(level): effort.measure(pixels, level, "none", options) for level in (1, 3)}
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
def test_rate_accounts_for_the_adapter(level: int, tiny: Path, synthetic: Synthetic) -> None:
    noise = np.random.default_rng(0).integers(-9, 10, (96, 96, 3))  # unlike the training's, so that a change pays
    pixels = (synthetic(96, 96, 0) + noise).clip(0, 255).astype(np.uint8)
    row, data, ledger = rate.measure("a", pixels, str(tiny), level)
    assert row["failures"] == 0
    assert row["bytes"] == len(data)
    assert (row["items"]["adapter"] > 0) == ("adapter" in row["terms"]) == (level > 1)
    assert 0 <= row["items"]["lanes"] < 40
    assert len(ledger.parts) == row["tiles"] == 1
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


LOSSY = peers.Peer(lambda x: x.tobytes(), lambda data: np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30)])
def test_peers(shape: tuple[int, ...]) -> None:
    pytest.importorskip("imagecodecs")
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = peers.peers(peers.NAMES)
    assert tuple(found) == peers.NAMES
    assert set(peers.peers()) == set(peers.USUAL)
    for peer in found.values():
        assert peers.measure(peer, pixels)[0] > 0
        assert peers.same(peer.decode(peer.encode(pixels)), pixels)
    assert {"imagecodecs", "libjxl"} < set(peers.versions())


def test_a_picture_that_does_not_come_back_is_marked() -> None:
    pixels = np.ones((20, 30, 3), np.uint8)
    assert peers.measure(LOSSY, pixels)[0] == 0
    found = speed.measure({"lossy": speed.side_by_side(LOSSY)}, [pixels, pixels], 3)
    assert found["lossy"]["failures"] == 6


def test_speed_measures_in_turn(tiny: Path, synthetic: Synthetic) -> None:
    calls: list[str] = []

    def noted(name: str) -> peers.Peer:
        return peers.Peer(lambda x: calls.append(name) or x.tobytes(), lambda data: pixels)  # type: ignore[func-returns-value]

    pixels = synthetic(20, 30, 0)
    mine, others = {"a": noted("a"), "b": noted("b")}, {speed.REFERENCE: noted("jxl")}
    found = speed.measure(speed.in_turn(mine, others), [pixels], 2)
    assert calls == ["a", "jxl", "b"] * 2
    row = found["a"]
    assert (row["bytes"], row["bpsp"], row["failures"]) == (pixels.size, 8.0, 0)
    assert row["encode_ratio"] == found[speed.REFERENCE]["encode_s"] / row["encode_s"]
    assert row["decode_MBps"] == pixels.size / row["decode_s"] / 1e6

    totals = speed.summary([{"raw_bytes": pixels.size, "codecs": found}] * 2)
    assert totals["a"]["bytes"] == 2 * pixels.size
    assert totals["a"]["encode_s"] == 2 * row["encode_s"]
    assert totals["a"]["bpsp"] == 8.0
    assert len(speed.table("set", totals, speed.SPEEDS).splitlines()) == 4


def test_speed_of_ours(tiny: Path, synthetic: Synthetic) -> None:
    pictures = [synthetic(24, 40, i) for i in range(3)]
    codecs = {
        "batch": speed.our_batch(1, "cpu", 2, str(tiny)),
        "single": speed.side_by_side(speed.ours(1, "cpu", 1, str(tiny))),
    }
    found = speed.measure(codecs, pictures, 1)
    assert (
        found["batch"]["bytes"]
        == found["single"]["bytes"]
        == sum(len(api.compress(x, model=tiny, effort=1)) for x in pictures)
    )
    assert all(row["failures"] == 0 for row in found.values())


def test_pictures_of_a_size() -> None:
    pictures = [np.full((6, 8, 3), i, np.uint8) + np.arange(8, dtype=np.uint8)[:, None] * 10 for i in range(2)]
    small = speed.of_size(pictures, 4, 4)
    assert [x.shape for x in small] == [(4, 4, 3)] * 2
    assert np.array_equal(small[1], pictures[1][1:5, 2:6])
    (large,) = speed.of_size(pictures, 13, 20)
    assert large.shape == (13, 20, 3)
    assert np.array_equal(large[:6, :8], pictures[0])
    assert np.array_equal(large[:6, 8:16], pictures[1])
    assert np.array_equal(large[:6, 16:], pictures[0][:, ::-1][:, :4])  # mirrored the second time
    assert np.array_equal(large[6:12, 8:16], pictures[0][::-1])


def test_costs_of_sizes() -> None:
    def row(size: str, pixels: int, seconds: float) -> speed.Row:
        return {"size": size, "pixels": pixels, "codecs": {"a": {"encode_s": seconds, "decode_s": seconds / 2}}}

    rows = [row("64x64", 10, 2.0), row("1 MP", 100, 5.0), row("4 MP", 400, 30.0)]
    rows[2]["codecs"]["a"]["decode_s"] = 11.0
    assert speed.with_costs(rows) == {"a encode": False, "a decode": True}
    assert [r["codecs"]["a"]["encode_relative"] for r in rows] == pytest.approx([4.0, 1.0, 1.5])
    assert rows[1]["codecs"]["a"]["decode_us"] == pytest.approx(25000)
    assert speed.with_costs([row("64x64", 10, 2.0)]) == {}


def test_processes() -> None:
    call = ["info", str(make_golden.DATA / "colour.vlae")]
    found = processes.process(call)
    assert found["s"] > 0
    assert 5 < found["MiB"] < 100  # not what this process has taken
    assert "click" in processes.imported(call)
    assert "torch" not in processes.imported(call)


def test_machine_names_no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/bench/speed.py", "/x/y/pictures/a", "--threads", "1,2"])
    found = processes.machine()
    assert found["command"] == "python -m bench.speed pictures/a --threads 1,2"
    assert found["cores"] >= 1
    assert found["processor"]
    assert {"python", "vlae-codec", "numpy"} <= set(found["versions"])


def test_speed_command(tmp_path: Path, tiny: Path, pictures: str) -> None:
    pytest.importorskip("imagecodecs")
    out, drawing = tmp_path / "speed.json", tmp_path / "speed.png"
    options = ["--model", str(tiny), "--peers", "png,jxl e7", "--threads", "1,2", "--largest", "64x64", "--repeat", "1"]
    places = ["--json", str(out), "--plot", str(drawing)]
    parts = ["speed", "batch", "sizes"]
    chosen = [word for part in parts for word in ("--part", part)]
    found = CliRunner().invoke(speed.main, [pictures, *options, *places, *chosen])
    assert found.exit_code == 0, found.output
    contents = json.loads(out.read_text())
    assert list(contents) == parts
    names = ["vlae e1 cpu 1t", "png", "vlae e1 cpu 2t", "jxl e7"]
    assert [list(row["codecs"]) for row in contents["speed"]["rows"]] == [names] * 2
    assert list(contents["batch"]["summary"]) == ["vlae e1 cpu batch", "jxl e7", "jxl e7 batch"]
    assert [row["size"] for row in contents["sizes"]["rows"]] == ["64x64"]
    assert contents["sizes"]["linear"] == {}
    assert all(part["failures"] == 0 and part["made"]["versions"] for part in contents.values())
    assert drawing.stat().st_size > 0

    again = CliRunner().invoke(speed.main, [pictures, *options, *places, "--part", "speed", "--label", "again"])
    assert again.exit_code == 0
    assert list(json.loads(out.read_text())) == [*parts, "speed again"]


@pytest.mark.slow  # processes that import and load all
def test_processes_of_the_command_line(tiny: Path, synthetic: Synthetic) -> None:
    pixels, shared = synthetic(64, 64, 0), ["--model", str(tiny), "--threads", "1"]
    found, failures = processes.start_up(pixels, 1, shared)
    assert failures == 0
    assert list(found) == ["compress, effort 2", "compress, effort 1", "decompress", "info"]
    assert not any(row["torch"] for row in found.values())
    used, failures = processes.memory(pixels, 1, shared)
    assert failures == 0
    assert list(used) == ["compress", "decompress"]
    assert all(seconds > 0 for seconds in profile.start().values())


@pytest.mark.parametrize("grey", [False, True])
def test_profile(tmp_path: Path, tiny: Path, synthetic: Synthetic, grey: bool) -> None:
    pixels = synthetic(72, 64, 0)
    Image.fromarray(pixels[..., 1] if grey else pixels).save(tmp_path / "a.png")
    codec = TileCodec(model.load_weights(tiny))
    found = profile.profile(tmp_path / "a.png", codec, str(tiny))
    assert list(found) == ["compress", "decompress"]
    for way, row in found.items():
        assert row["failures"] == 0
        assert row["total_s"] == pytest.approx(sum(row["parts"].values()))
        assert {kernels.GATHER, kernels.LOCAL, kernels.CODING, profile.UNEXPLAINED, profile.FILE} <= set(row["parts"])
        assert row["pixels_in_loop"] >= 72 * 64  # an encoder that tries both modes codes pixels twice
        profile.show("a", way, row, {"imports": 1.0})
    assert found["decompress"]["pixels_in_loop"] == 72 * 64
    assert "latents" not in found["decompress"]["parts"]


def test_operations_of_a_model(tiny_codec: TileCodec) -> None:
    """The tiny model's local network by hand: 12 neighbours, 4 context features, 32 hidden, a digit counted once."""
    inputs, outputs = (12 + 1) * 3 + 4, 2 * (1 + 2 * 3 + 3)
    counted = kernels.per_pixel(tiny_codec.nets)
    assert counted["local"] == inputs * 32 + (32 + inputs) * outputs
    assert all(count > 0 for count in counted.values())


@pytest.mark.parametrize("way", ["compress", "decompress"])
def test_kernels(tiny_codec: TileCodec, synthetic: Synthetic, way: str) -> None:
    found = kernels.measure(tiny_codec, synthetic(40, 48, 0), 3)[way]
    assert set(found) == {kernels.GATHER, kernels.LOCAL, kernels.CODING}
    assert all(seconds > 0 for seconds in found.values())


def test_targets_beside_each_other(tmp_path: Path, tiny: Path, pictures: str) -> None:
    """One run measures several targets of the core, which give the same bytes."""
    pytest.importorskip("imagecodecs")
    before, out = library.target(), tmp_path / "speed.json"
    options = ["--model", str(tiny), "--peers", "jxl e7", "--threads", "1", "--repeat", "1", "--part", "batch"]
    try:
        arguments = [pictures, *options, "--target", f"{before},generic", "--json", str(out)]
        assert CliRunner().invoke(speed.main, arguments).exit_code == 0
    finally:
        library.use(before)
    summary = json.loads(out.read_text())["batch"]["summary"]
    ours = [row["bytes"] for name, row in summary.items() if name.startswith("vlae")]
    assert len(ours) == len({before, "generic"})
    assert len(set(ours)) == 1


def test_a_watched_function_is_charged_once() -> None:
    class Owner:
        @staticmethod
        def inner() -> int:
            return 1

        @staticmethod
        def outer() -> int:
            return Owner.inner()

    watch = profile.Stopwatch()
    notes = profile.Watched(Owner, "inner", "inner", lambda: 7)
    Owner.inner = staticmethod(watch.watched(notes))  # type: ignore[assignment]
    outer = watch.watched(profile.Watched(Owner, "outer", "outer"))
    choice = watch.watched(profile.Watched(Owner, "outer", profile.CHOICE))
    assert outer() == 1
    assert watch.part == profile.REST
    assert set(watch.seconds) == {profile.REST, "outer", "inner"}
    assert choice() == 1  # what is inside it counts there
    assert watch.coded == 7


def test_limits(tiny: Path) -> None:
    """What the limits' constants stand for can be measured."""
    speed, spent = limits.pixels(np.zeros((30, 40, 3), np.uint8), str(tiny), repeats=1)
    assert speed > 0
    assert spent > 0
    assert limits.tile(str(tiny), count=20) > 0
    assert limits.picture(count=100) >= 0
    result = CliRunner().invoke(limits.main, ["--help"])
    assert "SPEED" in result.output
