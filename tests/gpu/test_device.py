"""Pixels on a torch device: exactly the intervals, symbols and messages of the CPU's codec, in both forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vlae_codec.coder.tile import TileCodec
from vlae_codec.errors import EmptyStack, VlaeError, WeightsError
from vlae_codec.gpu import device, walk
from vlae_codec.gpu.compiled import Compiled, find_compiler
from vlae_codec.gpu.device import DevicePixels
from vlae_codec.native import ans
from vlae_codec.weights import model

SHAPES = [(0, 6, 17), (3, 4, 5), (2, 0, 9), (7, 1, 1), (0, 1, 9), (1, 9, 1), (11, 5, 21)]  # known rows, height, width
LANES = [1, 2, 3, 4, 9, 1, 2]


def forms(codec):
    """The two forms of the code on the CPU, the one for the compiler without it."""
    return [DevicePixels(codec.model, "cpu", compiler) for compiler in (None, lambda function: function)]


def random_message(rng, lanes, words=4000):
    return ans.Message(rng.integers(1 << 32, 1 << 64, lanes, np.uint64), rng.integers(0, 1 << 32, words, np.uint32))


def tiles(codec, synthetic, shapes, coded, latents):
    """(known, bands, contexts) of a batch, noise and flat parts in it."""
    rng = np.random.default_rng(len(shapes) + coded)
    xs = [synthetic(known + height, width, height) for known, height, width in shapes]
    for x in xs:
        x[::3, : x.shape[1] // 2] = rng.integers(0, 256, x[::3, : x.shape[1] // 2].shape)
        x[1::4] = 255
    xs = [np.repeat(x[..., :1], codec.config["channels"], axis=2) if coded == 1 else x for x in xs]
    xs = [x >> 7 for x in xs] if codec.levels == 2 else xs
    features = codec.config["context"]
    contexts = [rng.integers(-128, 128, (height, width, features), np.int8) for _, height, width in shapes]
    known, bands = [x[: s[0]] for x, s in zip(xs, shapes)], [x[s[0] :] for x, s in zip(xs, shapes)]
    return known, bands, contexts if latents else None


def check(codec, pixels, synthetic, shapes, lanes, coded, latents):
    """Intervals of each tile; the batch pushed by the CPU comes back; a random batch is popped alike."""
    known, bands, contexts = tiles(codec, synthetic, shapes, coded, latents)
    for i, (above, band) in enumerate(zip(known, bands)):
        args = (above, band, contexts and contexts[i], coded)
        for found, expected in zip(pixels.intervals(*args), codec.pixel_codec.intervals(*args)):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)
    heights = [len(band) for band in bands]
    part = codec.pixels(known, heights, contexts, coded)
    rng = np.random.default_rng(coded)
    messages = [random_message(rng, n) for n in lanes]
    back, again = pixels.pop(part.push(messages, bands), known, heights, contexts, coded, None)
    assert back == messages
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(again, bands))
    (popped, found), (alike, expected) = pixels.pop(messages, known, heights, contexts, coded), part.pop(messages)
    assert popped == alike
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("latents", [False, True])
def test_batch(random_codec, synthetic, coded, latents):
    codec = random_codec()
    for pixels in forms(codec):
        check(codec, pixels, synthetic, SHAPES, LANES, coded, latents)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": (3, 1)},
        {"window": (9, 5), "stride": 16},
        {"channels": 1, "mixtures": 1},
        {"channels": 1, "levels": 2},
        {"mixtures": 9, "layers": 1},
    ],
)
def test_models(random_codec, synthetic, changes):
    codec = random_codec(**changes)
    for pixels in forms(codec):
        check(codec, pixels, synthetic, SHAPES[:4], LANES[:4], codec.config["channels"], False)


@pytest.mark.parametrize("name", ["photo", "mnist-binary"])
def test_shipped(synthetic, name):
    codec = TileCodec(model.find_model(name))
    for pixels in forms(codec):
        check(codec, pixels, synthetic, [(9, 11, 14), (0, 5, 23)], [2, 3], codec.config["channels"], True)


@pytest.mark.parametrize(("lanes", "widths"), [([1], [30]), ([30], [50]), ([1, 30, 7, 8], [20, 9, 30, 1])])
def test_lanes(random_codec, synthetic, lanes, widths):
    codec = random_codec()
    for pixels in forms(codec):
        check(codec, pixels, synthetic, [(1, 4, width) for width in widths], lanes, 3, False)


def test_batches(random_codec, synthetic, monkeypatch):
    """Tiles that would fill the grid with nothing, or overfill it, and tiles without pixels: each comes back."""
    codec = random_codec()
    pixels = DevicePixels(codec.model, "cpu")
    assert pixels.pop([], [], [], None, 3) == ([], [])
    shapes, lanes = [(0, 9, 9), (3, 0, 4), (0, 3, 90), (0, 12, 12), (1, 9, 9)], [1, 5, 16, 4, 3]
    check(codec, pixels, synthetic, shapes, lanes, 3, False)
    monkeypatch.setattr(device, "BLOCK", 10)
    check(codec, pixels, synthetic, shapes, lanes, 3, True)  # also intervals in many blocks


def test_graphs_of_groups(random_codec, synthetic, monkeypatch):
    """Where there are more numbers of groups than graphs, several share one."""
    monkeypatch.setattr(walk, "GRAPHS", 2)
    codec = random_codec()
    check(codec, DevicePixels(codec.model, "cpu"), synthetic, [(0, 7, 40)], [1], 3, False)


def test_tick(random_codec, synthetic, monkeypatch):
    monkeypatch.setattr(walk, "TICK", 5)
    codec = random_codec()
    ticks: list[int] = []
    known, bands, _ = tiles(codec, synthetic, SHAPES, 3, False)
    messages = [random_message(np.random.default_rng(1), lanes) for lanes in LANES]
    DevicePixels(codec.model, "cpu").pop(messages, known, [len(b) for b in bands], None, 3, ticks.append)
    assert sum(ticks) == sum(band.shape[0] * band.shape[1] for band in bands)
    assert len(ticks) > 5
    assert min(ticks) > 0


# ---------------------------------------------------------------------------------------------------- damage


def test_empty_stack(random_codec, synthetic):
    """The first tile whose stack runs out is named, the same as by the CPU, and nothing crashes or hangs."""
    codec, rng = random_codec(), np.random.default_rng(3)
    known, bands, _ = tiles(codec, synthetic, SHAPES, 3, False)
    args = (known, [len(band) for band in bands], None, 3)
    for words in ([0] * 7, [999, 60, 0, 3, 5, 20, 0], [40, 999, 0, 999, 9, 999, 35], [999, 999, 0, 999, 2, 0, 999]):
        messages = [random_message(rng, lanes, n) for lanes, n in zip(LANES, words)]
        with pytest.raises(EmptyStack) as expected:
            codec.pixels(*args).pop(messages)
        for pixels in forms(codec):
            with pytest.raises(EmptyStack) as found:
                pixels.pop(messages, *args)
            assert str(found.value) == str(expected.value)


def test_damaged(random_codec, synthetic):
    """Flipped bits give what they give on the CPU."""
    codec, rng = random_codec(), np.random.default_rng(4)
    known, bands, contexts = tiles(codec, synthetic, SHAPES[:2], 3, True)
    args = (known, [len(band) for band in bands], contexts, 3)
    messages = codec.pixels(*args).push([ans.empty(2), ans.empty(3)], bands)
    for _ in range(3):
        damaged = []
        for message in messages:
            words = message.words.copy()
            words[rng.integers(len(words))] ^= np.uint32(1 << rng.integers(32))
            damaged.append(ans.Message(message.heads, words))
        results: list = []
        for pop in (codec.pixels(*args).pop, *(lambda m, p=p: p.pop(m, *args) for p in forms(codec))):
            try:
                popped, found = pop(damaged)
                results.append((popped, [band.tobytes() for band in found]))
            except EmptyStack as error:
                results.append(str(error))
        assert results[0] == results[1] == results[2]


def test_invalid(random_codec):
    made = random_codec().model
    ends, identity = made.tables.sigmoid.copy(), made.tables.outer_scale.copy()
    ends[-1] -= 1
    identity[64] += 1
    for tables in (made.tables._replace(sigmoid=ends), made.tables._replace(outer_scale=identity)):
        with pytest.raises(WeightsError, match="tables"):
            DevicePixels(replace(made, tables=tables), "cpu")


# ---------------------------------------------------------------------------------------------------- the compiler


class Observed:
    """torch's compiler, and what it made: each function once, for all models."""

    def __init__(self):
        self.made = {}

    def __call__(self, function):
        return self.made.setdefault(function, Compiled(function))

    def all_compiled(self):
        return bool(self.made) and all(function.compiling for function in self.made.values())


def test_compiler_fails(random_codec, synthetic, monkeypatch):
    """Where the compiler fails the code runs as it is."""

    def fail(*args):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda function, fullgraph: fail)
    codec, observed = random_codec(), Observed()
    check(codec, DevicePixels(codec.model, "cpu", observed), synthetic, SHAPES[:2], LANES[:2], 3, True)
    assert not any(function.compiling for function in observed.made.values())


def test_no_compiler():
    """A compiler is not looked for where it does not pay."""
    assert find_compiler("cpu") is None


@pytest.mark.slow
def test_compiled(random_codec, synthetic):
    """By torch's compiler, on the CPU, batches of several sizes."""
    probe = Compiled(lambda c: c + 1)
    probe(torch.zeros(2))
    if not probe.compiling:
        pytest.skip("torch finds no C++ compiler here")
    observed = Observed()
    for changes, counts in (({}, (2, 5, 7)), ({"mixtures": 7}, (5,))):
        codec = random_codec(**changes)
        pixels = DevicePixels(codec.model, "cpu", observed)
        for count in counts:
            check(codec, pixels, synthetic, SHAPES[:count], LANES[:count], 3, True)
    assert observed.all_compiled()


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["photo", "mnist-binary"])
def test_gpu(synthetic, monkeypatch, name, compiled):
    codec, observed = TileCodec(model.find_model(name)), Observed()
    if not compiled:
        monkeypatch.setattr(device, "find_compiler", lambda kind: None)
    pixels = DevicePixels(codec.model, "cuda", observed if compiled else None)
    shapes = [(8, 40, 70), (0, 64, 64), (3, 0, 9), (1, 9, 100), (0, 5, 3)]
    for latents in (False, True):
        check(codec, pixels, synthetic, shapes, [8, 3, 1, 2, 7], codec.config["channels"], latents)
    assert observed.all_compiled() == compiled


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_no_device(tiny_codec, device):
    with pytest.raises(VlaeError, match="no device"):
        DevicePixels(tiny_codec.model, device)
