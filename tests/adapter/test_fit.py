"""Fitting an adapter: it pays or is left out, and the same seed gives the same one."""

import importlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from vlae_codec import compress, compress_many, decompress, decompress_many
from vlae_codec.adapter import chunk, effort, sample
from vlae_codec.adapter.effort import Effort, Fitting
from vlae_codec.bench.account import account
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.streams import with_latents, without_latents
from vlae_codec.errors import InputError, WeightsError
from vlae_codec.format import container
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.pictures import codec as codec_of
from vlae_codec.pictures import modes, planes
from vlae_codec.threads import workers

fitting = importlib.import_module("vlae_codec.adapter.fit")  # the module, to set its constants
QUICK = Effort(2.0, 0.03, 0.0)


@pytest.fixture(autouse=True)
def for_tiny_pictures(monkeypatch):
    """Small steps, few numbers; level 2 is the quick one here."""
    for name, value in {"BLOCK": 64, "BATCH": 128, "FEWEST": 20}.items():
        monkeypatch.setattr(fitting, name, value)
    monkeypatch.setitem(effort.LEVELS, 2, QUICK)


def unlike(height, width, seed=1):
    """Waves with some noise: nothing like what the tiny model was trained on."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    pixels = 100 + 60 * np.sin(x / 3)[..., None] + 30 * np.cos(y / 2)[..., None] * [1, -1, 0.5] + noise
    return pixels.round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def picture():
    return unlike(40, 64)


def fitted(codec, tiles, coded, level, run=map, watch=None, seed=1):
    """The adapter of these tiles."""
    return fitting.fit(fitting.look(codec, tiles, coded, level, run, seed), level, run, watch)


def equal(one, other):
    return all(np.array_equal(a, b) for p, q in zip(one, other, strict=True) for a, b in zip(p.groups(), q.groups()))


def bits_of(codec, tiles, coded=3):
    pixels = sample.draw(codec, tiles, coded, 10**6, 1)
    return pixels.other + sample.bits(codec, pixels, np.arange(len(pixels.rows)), coded).sum()


# ---------------------------------------------------------------------------------------------------- the fit


@pytest.mark.parametrize(("coded", "passes", "share"), [(3, 2.0, 0.97), (1, 6.0, 0.99)])
def test_objective(tiny_codec, picture, coded, passes, share):
    """Bits of the pixels and the adapter's own, as the codec counts them, are fewer; what is told is about right."""
    tile = picture if coded == 3 else modes.tile_of(picture[..., 1:2], 3)
    told: list[Fitting] = []
    made = fitted(tiny_codec, [tile], coded, QUICK._replace(passes=passes), watch=told.append)
    payload = chunk.pack(made, tiny_codec.model.tables)
    before = bits_of(tiny_codec, [tile], coded)
    after = bits_of(codec_of.with_adapter(tiny_codec, payload), [tile], coded) + 8 * len(payload)
    assert after < share * before
    assert 8 * len(payload) < 3 * QUICK.richness * before
    assert told[0].before == pytest.approx(before / (picture[..., 0].size * coded), rel=0.02)
    assert told[-1].now == pytest.approx(after / (picture[..., 0].size * coded), rel=0.15)
    assert told[-1].now < told[-1].before


def test_bilevel(random_codec):
    codec = random_codec(levels=2, channels=1)
    tile = (unlike(40, 64)[..., :1] > 100).astype(np.uint8)
    made = fitted(codec, [tile], 1, Effort(5.0, 0.2, 0.0))
    payload = chunk.pack(made, codec.model.tables)
    assert bits_of(codec_of.with_adapter(codec, payload), [tile], 1) + 8 * len(payload) < bits_of(codec, [tile], 1)


def test_seed(tiny_codec, picture):
    """The same seed gives the same adapter, with one thread and with two; another seed another one."""
    tiles = [picture[:, :40], picture[:, 40:]]
    found = []
    for seed, threads in ((1, 1), (1, 2), (1, 2), (2, 1)):
        with workers(threads) as run:
            found.append(fitted(tiny_codec, tiles, 3, Effort(3.0, 0.03, 0.0), run, seed=seed))
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])
    assert not equal(found[0], found[3])


def test_targets(target, tiny_codec, picture):
    """A fit gains on every target; its floats may lead to another adapter there."""
    made = fitted(tiny_codec, [picture], 3, QUICK)
    adapted = codec_of.with_adapter(tiny_codec, chunk.pack(made, tiny_codec.model.tables))
    assert bits_of(adapted, [picture]) < 0.98 * bits_of(tiny_codec, [picture])


def test_nothing_to_gain(tiny_codec, picture, monkeypatch):
    """No effort, or a picture too small for any number to pay: no adapter, and nobody is told of a fit."""
    monkeypatch.setattr(fitting, "FEWEST", 100)
    told: list[Fitting] = []
    for tile, level in [
        (picture, effort.level(1)),
        (picture[:8, :8], QUICK),
        (picture[:1, :1], QUICK),
        (picture[:1], QUICK),
    ]:
        assert fitted(tiny_codec, [tile], 3, level, watch=told.append) is None
    assert not told


def test_richness(tiny_codec, picture):
    """Ranks follow the share of the bits that the adapter may take, from 0 to `MAX_RANK`."""
    ranks = []
    for richness in (0.005, 0.05, 1e3):
        made = fitted(tiny_codec, [picture], 3, Effort(0.1, richness, 0.0))
        assert len({part.right.shape[0] for part in made}) == 1
        ranks.append(made[0].right.shape[0])
    assert ranks[0] == 0 < ranks[1] < ranks[2] == chunk.MAX_RANK


def test_autograd(random_codec, tiny, picture):
    """A device of torch's fits through autograd, and gains what the CPU gains."""
    from vlae_codec.coder.tile import TileCodec
    from vlae_codec.weights.model import load_weights

    after = []
    for backend in ("cpu", "torch:cpu"):
        codec = TileCodec(load_weights(tiny), backend)
        made = fitted(codec, [picture[:24]], 3, QUICK)
        adapted = codec_of.with_adapter(codec, chunk.pack(made, codec.model.tables))
        after.append(bits_of(adapted, [picture[:24]]))
        assert after[-1] < 0.98 * bits_of(codec, [picture[:24]])
    assert after[1] == pytest.approx(after[0], rel=0.02)


def test_watch(tiny_codec, picture):
    told: list[Fitting] = []
    fitted(tiny_codec, [picture], 3, QUICK, watch=told.append)
    done = [one.done for one in told]
    assert len(done) >= 8 * QUICK.passes
    assert all(a < b for a, b in pairwise(done))
    assert 0 < done[0] < 0.2
    assert 0.9 < done[-1] <= 1
    assert all(math.isfinite(n) and n > 0 for one in told for n in one)
    assert len({one.before for one in told}) == 1


def test_early_stop(tiny_codec, picture):
    """Where passes gain little, the fall begins early and the fit ends before its budget; `done` still rises to 1."""
    steps = []
    for stop in (0.0, 1e6):
        told: list[Fitting] = []
        fitted(tiny_codec, [picture[:16, :32]], 3, Effort(20.0, 0.03, stop), watch=told.append)
        done = [one.done for one in told]
        assert all(a < b for a, b in pairwise(done))
        assert done[-1] == pytest.approx(1, abs=0.05)
        steps.append(len(told))
    assert steps[1] < 0.5 * steps[0]


def test_learnt_without_it(tiny_codec, picture, monkeypatch):
    """Where the model learns and half a pass gains little, there is no adapter, and the fit goes no further."""
    problem = fitting.look(tiny_codec, [picture], 3, QUICK, map, 1)
    monkeypatch.setattr(fitting, "EARLY", 8)
    for unlikely, learns, there in ((0.9, True, False), (0.9, False, True), (-9.0, True, True)):
        monkeypatch.setattr(fitting, "UNLIKELY", unlikely)
        told: list[Fitting] = []
        made = fitting.fit(problem, QUICK, map, told.append, learns)
        assert (made is not None) == there
        assert (told[-1].done < 0.3) == (not there)
    found = problem.under(tiny_codec)
    assert found == problem.before


def test_best_pass(tiny_codec, picture, monkeypatch):
    """A fit that is led astray in its second pass gives what it had at the end of the first."""
    descend = fitting._Numbers.descend

    def astray(numbers, slopes, rate):
        descend(numbers, slopes, rate)
        if numbers.steps > 25:  # of 2 times 20
            numbers.groups[-1][:] = 100

    monkeypatch.setattr(fitting._Numbers, "descend", astray)
    found = [fitted(tiny_codec, [picture], 3, QUICK)]
    monkeypatch.setattr(fitting, "WORSE", math.inf)
    found += [fitted(tiny_codec, [picture], 3, QUICK)]
    payloads = [chunk.pack(made, tiny_codec.model.tables) for made in found]
    kept, last = (bits_of(codec_of.with_adapter(tiny_codec, payload), [picture]) for payload in payloads)
    assert kept < bits_of(tiny_codec, [picture]) < last


# ---------------------------------------------------------------------------------------------------- the sample


@pytest.mark.parametrize("coded", [1, 3])
def test_rows(tiny_codec, synthetic, monkeypatch, coded):
    """All pixels of a tile in order, rows and offsets as the codec gathers them, bits as it counts them."""
    tile = synthetic(21, 30, 1) if coded == 3 else modes.tile_of(synthetic(21, 30, 1)[..., :1], 3)
    context = np.random.default_rng(1).integers(-128, 128, (21, 30, 4)).astype(np.int8)
    monkeypatch.setattr(sample, "_context", lambda *_: (context, 17.0))
    drawn = sample.draw(tiny_codec, [tile], coded, 630, 1)
    assert (drawn.total, drawn.other) == (630, 17.0)
    assert np.array_equal(drawn.symbols, tile.reshape(-1, 3))
    _, freqs = tiny_codec.pixel_codec.intervals(tile[:0], tile, context, coded)
    pixels = tiny_codec.nets.pixels
    rows, references, _ = pixels.rows(pixels.whole(tile, context), np.arange(630))
    assert np.array_equal(drawn.rows, rows)
    assert np.array_equal(drawn.offsets, references.astype(int) * 64)
    spent = sample.bits(tiny_codec, drawn, np.arange(len(drawn.rows)), coded)
    assert spent == pytest.approx((24 - np.log2(freqs[..., :coded])).sum(-1).ravel(), rel=1e-6, abs=1e-5)


def test_context(tiny_codec, synthetic):
    """Latents are there where they pay, at about the bits that the codec counts; where not, rows are without."""
    for tile, pays in ((synthetic(64, 64, 1), True), (np.full((64, 64, 3), 9, np.uint8), False)):
        draft = Draft(tiny_codec, tile, 3)
        without = sum(without_latents(draft, 32768)[1].bits.values())
        drawn = sample.draw(tiny_codec, [tile], 3, 10**6, 1)
        if pays:
            (_, spent) = with_latents(draft, 32768) or pytest.fail("no latents")
            assert drawn.other == pytest.approx(spent.kl / COST_UNIT, rel=0.3)
            assert drawn.other > 0
            assert bits_of(tiny_codec, [tile]) == pytest.approx(sum(spent.bits.values()), rel=0.03)
            assert bits_of(tiny_codec, [tile]) < without
        else:
            assert drawn.other == 0
            assert bits_of(tiny_codec, [tile]) == pytest.approx(without)
    low = sample.draw(tiny_codec, [synthetic(7, 20, 1)], 3, 10**6, 1)
    assert low.other == 0
    assert np.array_equal(low.rows[:, -4:], np.tile(tiny_codec.model.null, (1, 3, 1))[:7, :20].reshape(-1, 4))


def test_values_and_edges(random_codec):
    """Also of a bilevel picture, whose network inputs are stretched and whose values are not."""
    codec = random_codec(levels=2, channels=1)
    tile = (unlike(9, 20)[..., :1] > 100).astype(np.uint8)
    drawn = sample.draw(codec, [tile], 1, 180, 1)
    assert np.abs(drawn.values()).max() <= 2
    assert drawn.edges(2).ravel().tolist() == [1 + s for s in drawn.symbols.ravel()]
    assert set(drawn.edges(256).ravel().tolist()) == {0, 1}


def test_subsample(tiny_codec, synthetic):
    """So many rows as asked for, none twice from a tile; they stand for all pixels."""
    tile = synthetic(24, 32, 2)
    whole = sample.draw(tiny_codec, [tile], 3, 10**6, 1)
    for most in (1, 100, 500):
        drawn = sample.draw(tiny_codec, [tile], 3, most, 1)
        assert len(drawn.rows) == len(drawn.offsets) == len(drawn.symbols) == most
        assert drawn.total == whole.total == 24 * 32
        inside = set(map(bytes, np.concatenate([whole.rows, whole.symbols.view(np.int8)], axis=1)))
        assert set(map(bytes, np.concatenate([drawn.rows, drawn.symbols.view(np.int8)], axis=1))) <= inside
        assert drawn.other == pytest.approx(whole.other, rel=0.2)
    again, other = (sample.draw(tiny_codec, [tile], 3, 100, seed) for seed in (1, 2))
    assert np.array_equal(again.rows, sample.draw(tiny_codec, [tile], 3, 100, 1).rows)
    assert not np.array_equal(again.rows, other.rows)


def test_subsample_of_many(tiny_codec, synthetic):
    """Of many tiles some are looked at, a quarter of each; threads do not matter."""
    tiles = [synthetic(16, 16, seed) for seed in range(12)]
    with workers(2) as run:
        drawn = sample.draw(tiny_codec, tiles, 3, 200, 1, run)
    assert len(drawn.rows) == 200
    assert drawn.total == 12 * 256
    assert np.array_equal(drawn.rows, sample.draw(tiny_codec, tiles, 3, 200, 1).rows)
    equal_tiles = [synthetic(64, 64, 1)] * 3
    part, whole = (sample.draw(tiny_codec, equal_tiles, 3, most, 1) for most in (1000, 10**6))
    assert len(whole.rows) == whole.total == 3 * 64 * 64
    assert part.other == pytest.approx(whole.other, rel=0.2)
    assert part.other > 0


# ---------------------------------------------------------------------------------------------------- files


CONTENT = {
    "unlike": unlike(40, 64),
    "noise": np.random.default_rng(4).integers(0, 256, (30, 40, 3), np.uint8),
    "flat": np.full((40, 48, 3), 77, np.uint8),
    "pixel": np.full((1, 1, 3), 9, np.uint8),
    "row": unlike(1, 90),
    "column": unlike(90, 1),
    "grey": np.ascontiguousarray(unlike(64, 96)[..., 0]),
}


@pytest.mark.parametrize("name", CONTENT)
def test_never_larger(tiny, name):
    pixels = CONTENT[name]
    plain = compress(pixels, model=tiny, effort=1, threads=1)
    data = compress(pixels, model=tiny, effort=2, threads=1)
    assert np.array_equal(decompress(data, model=tiny, threads=1), pixels)
    fitted = container.read(data).parts[0].adapter is not None
    assert fitted == (name in ("unlike", "grey"))
    assert len(data) < len(plain) if fitted else data == plain


def test_same_file(tiny, picture):
    """One seed, one file, whatever the threads; a path of the default effort goes the same way."""
    data = [compress(picture, model=tiny, effort=2, seed=seed, threads=n) for seed, n in ((1, 1), (1, 2), (2, 1))]
    assert data[0] == data[1] != data[2]
    assert container.read(data[0]).parts[0].adapter is not None
    assert np.array_equal(decompress(data[0], model=tiny, threads=1), picture)


@pytest.mark.parametrize("name", ["unlike", "flat", "grey"])
def test_sure(tiny, name, monkeypatch):
    """The file is the same whether or not the one without an adapter is made for comparison."""
    data = []
    for sure in (-math.inf, 4.0, math.inf):
        monkeypatch.setattr(planes, "SURE", sure)
        data.append(compress(CONTENT[name], model=tiny, effort=2, threads=1))
    assert data[0] == data[1] == data[2]


@pytest.mark.parametrize("groups", [1, 2])
def test_many(tiny, groups):
    some = [unlike(24, 32, seed) for seed in range(3)] + [unlike(11, 20, 5)]
    options = {"model": tiny, "groups": groups, "threads": 1}
    plain = compress_many(some, effort=1, **options)
    data = compress_many(some, effort=2, **options)
    ledger = account(data, tiny)
    assert len(data) < len(plain)
    assert container.read(data).parts[0].adapter is not None
    back = decompress_many(data, model=tiny, threads=1)
    assert all(map(np.array_equal, back, some))
    assert ledger.bits["adapter"] > 0
    assert 0 < 8 * len(data) - sum(ledger.bits.values()) < 0.01 * 8 * len(data) + 8 * 120
    small = [pixels[:2, :2] for pixels in some]
    assert compress_many(small, effort=2, **options) == compress_many(small, effort=1, **options)


def test_ledger(tiny, picture):
    """The adapter is a term of -ELBO; the terms are the file."""
    data = compress(picture, model=tiny, effort=2, threads=1)
    ledger = account(data, tiny)
    payload = container.read(data).parts[0].adapter
    assert payload is not None
    assert ledger.bits["adapter"] == pytest.approx(8 * len(payload), abs=33)
    bits = sum(ledger.bits.values())
    assert 0 < 8 * len(data) - bits < 0.01 * bits + 8 * 90
    data = compress(CONTENT["row"], model=tiny, effort=2, threads=1)
    assert "adapter" not in account(data, tiny).bits


def test_told(tiny, picture):
    """Stages of pixels, each from nothing to all of them, with the fit between the first two."""
    events: list[Any] = []
    compress(
        picture,
        model=tiny,
        effort=2,
        threads=1,
        progress=lambda *pair: events.append(pair),
        watch=lambda fitting: events.append("fit"),
    )
    total = (40 * 64, 40 * 64)
    assert events[0] == total  # one tile
    assert events[-1] == total
    fits = [i for i, event in enumerate(events) if event == "fit"]
    assert fits == list(range(1, 1 + len(fits)))
    assert events[1 + len(fits)] == total
    verified = events[2 + len(fits) :]
    assert verified == sorted(verified)


@pytest.mark.parametrize("level", [0, 10, -1])
def test_invalid(tiny, picture, level):
    with pytest.raises(InputError, match="1 to 9"):
        compress(picture, model=tiny, effort=level, threads=1)
    with pytest.raises(InputError, match="1 to 9"):
        compress_many([picture], model=tiny, effort=level, threads=1)


def test_levels():
    """More effort is more of everything, and the default is among them."""
    assert list(effort.LEVELS) == list(range(1, 10))
    assert effort.DEFAULT in effort.LEVELS
    levels = {i: effort.LEVELS[i] for i in (1, *range(3, 10))}  # 2 is the tests' own here
    assert levels[1].passes == 0
    for some in (range(3, effort.BEST), range(effort.BEST, 10)):  # of one model each
        pairs = [*pairwise(levels[i] for i in some)]
        assert all(a.passes < b.passes and a.richness <= b.richness for a, b in pairs)


def test_negative_seed(tiny, picture):
    with pytest.raises(InputError, match="seed"):
        compress(picture, model=tiny, effort=2, seed=-1, threads=1)


def test_no_fit(tiny, picture, monkeypatch):
    """None is tried where stored tiles are far smaller than the model's; one that breaks a bound is left out."""

    def fail(*_: object) -> None:
        raise WeightsError("the bound")

    plain = [compress(pixels, model=tiny, effort=1, threads=1) for pixels in (picture, CONTENT["noise"])]
    monkeypatch.setattr(fitting, "fit", fail)
    fitted = [compress(pixels, model=tiny, effort=2, threads=1) for pixels in (picture, CONTENT["noise"])]
    assert fitted == plain
    monkeypatch.setattr(fitting, "fit", lambda *_: pytest.fail("was fitted"))
    assert compress(CONTENT["noise"], model=tiny, effort=2, threads=1) == plain[1]
    with pytest.raises(pytest.fail.Exception):
        compress(picture, model=tiny, effort=2, threads=1)


@pytest.mark.parametrize("many", [False, True])
def test_ledger_of_stored_tiles(tiny, many):
    """They count as what they are."""
    if many:
        data = compress_many([CONTENT["noise"]], model=tiny, threads=1)
    else:
        data = compress(CONTENT["noise"], model=tiny, threads=1)
    ledger = account(data, tiny)
    (record,) = container.read(data).records
    assert ledger.bits == {"stored": 8 * len(record.data)}


def test_ranks_where_the_last_layer_learns(tiny_codec):
    """It gets a quarter of the others' rank, and all layers together fewer numbers; too few are none."""
    network = tiny_codec.model.local
    plain, learns = (fitting._ranks(network, 9000, learns) for learns in (False, True))
    assert plain is not None
    assert learns is not None
    assert len({*plain}) == len({*learns[:-1]}) == 1
    assert learns[-1] == round(fitting.LAST * learns[0]) > 0
    sizes = [len(layer.weight) + layer.multiplier.size for layer in network.layers]
    spent = [sum(rank * size for rank, size in zip(ranks, sizes)) for ranks in (plain, learns)]
    assert fitting.LEFT * 0.8 < spent[1] / spent[0] < fitting.LEFT * 1.2
    assert fitting._ranks(network, fitting.FEWEST - 1, True) is None
