"""Bits-back coding of tiles: both laws for every part, lengths against the ELBO, and what damage does."""

import zlib

import numpy as np
import pytest
from laws import check_codec  # type: ignore[import-not-found]

from vlae_codec.coder import choice, streams
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.codecs import Codec
from vlae_codec.coder.streams import encode_tile, with_latents, without_latents
from vlae_codec.coder.tile import Ledger, TileCodec
from vlae_codec.contract import SCALES
from vlae_codec.errors import CorruptFile, EmptyStack, TruncatedFile, VlaeError
from vlae_codec.format.container import Method, TileRecord, lanes_for
from vlae_codec.native import ans, mixture, pixels
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.threads import workers

FLOW = [0, 1, 2, 3]


def random_message(rng, lanes, words=4000):
    return ans.Message(rng.integers(1 << 32, 1 << 64, lanes, np.uint64), rng.integers(0, 1 << 32, words, np.uint32))


def decode_tiles(codec, records, shapes, coded, lane_symbols):
    """The tile of each record."""
    return [tiles[0] for tiles in streams.decode(codec, records, [[shape] for shape in shapes], coded, lane_symbols)]


def both_modes(codec, tile, coded, lane_symbols=32768):
    """(the smaller record, what its symbols take, what they take without latents, and with) when both are tried."""
    draft = Draft(codec, tile, coded)
    tries = [without_latents(draft, lane_symbols), with_latents(draft, lane_symbols)]
    record, spent = min((one for one in tries if one is not None), key=lambda one: len(one[0].data))
    return record, spent, *(None if one is None else sum(one[1].bits.values()) for one in tries)


def saved(trial):
    """Bits that the latents of a trial save, their own paid for."""
    return trial.gain() / (COST_UNIT * max(1, len(trial.saved)))


def single(codec):
    """The codec of a batch of one as a codec of a plain message."""

    def pop(message):
        (message,), symbol = codec.pop([message])
        return message, symbol

    return Codec(lambda message, symbol: codec.push([message], symbol)[0], pop)


def pushed_bits(codec, message, symbol):
    return ans.bits(codec.push([message], symbol)[0]) - ans.bits(message)


def check_batch(codec, messages, symbols, parts):
    """Both laws for a batch, and that it does what `parts`, the codecs of each tile alone, do."""
    pushed = codec.push(messages, symbols)
    assert pushed == [p.push([m], [s])[0] for p, m, s in zip(parts, messages, symbols)]
    back, again = codec.pop(pushed)
    assert back == messages
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(again, symbols))
    popped, found = codec.pop(messages)
    for part, message, one, symbol in zip(parts, messages, popped, found):
        (alone,), (alone_symbol,) = part.pop([message])
        assert alone == one
        assert np.array_equal(alone_symbol, symbol)
    assert codec.push(popped, found) == messages


def grey(x):
    return np.repeat(x[..., :1], 3, axis=2)


# ---------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize(("height", "width"), [(8, 1), (8, 8), (24, 37)])
def test_posterior(random_codec, synthetic, height, width, lanes):
    codec, rng = random_codec(), np.random.default_rng(lanes)
    x = synthetic(height, width, 3)
    z = rng.integers(0, 64, (height // 8, -(-width // 8), 2)).astype(np.uint8)
    assert check_codec(single(codec.posterior([x])), random_message(rng, lanes), [z]) > 0
    message, ledger = random_message(rng, lanes), Ledger()
    (popped,), _ = codec.posterior([x], ledger).pop([message])
    assert ans.bits(popped) - ans.bits(message) == pytest.approx(ledger.bits["posterior"], rel=1e-3, abs=0.1)


@pytest.mark.parametrize("flow_steps", FLOW)
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (6, 1), (4, 6)])
def test_prior(random_codec, flow_steps, lanes, height, width):
    codec, rng = random_codec(flow_steps=flow_steps, latents=3), np.random.default_rng(flow_steps)
    for z in (
        rng.integers(0, 64, (height, width, 3)).astype(np.uint8),
        rng.integers(29, 36, (height, width, 3)).astype(np.uint8),
        np.full((height, width, 3), 63, np.uint8),
    ):
        check_codec(single(codec.prior([(height, width)])), random_message(rng, lanes), [z])
        ledger = Ledger()
        added = pushed_bits(codec.prior([(height, width)], ledger), random_message(rng, lanes), [z])
        assert added == pytest.approx(ledger.bits["prior"], rel=1e-3, abs=0.1)


@pytest.mark.parametrize("flow_steps", [0, 2])
def test_prior_batch(random_codec, flow_steps):
    codec, rng = random_codec(flow_steps=flow_steps), np.random.default_rng(1)
    shapes = [(4, 6), (0, 3), (1, 1), (5, 2)]
    zs = [rng.integers(20, 44, (*shape, 2)).astype(np.uint8) for shape in shapes]
    messages = [random_message(rng, lanes) for lanes in (1, 2, 3, 4)]
    check_batch(codec.prior(shapes), messages, zs, [codec.prior([shape]) for shape in shapes])


@pytest.mark.parametrize("flow_steps", [1, 2, 3])
def test_prior_order(random_codec, flow_steps):
    """A latent's interval depends on no later cell: the flow is triangular in integers too."""
    codec, rng = random_codec(flow_steps=flow_steps), np.random.default_rng(2)
    z = rng.integers(20, 44, (4, 5, 2)).astype(np.uint8)

    def freqs(z):
        found = []

        class Watch(Ledger):
            def add(self, term, freqs, sign=1):
                found.append(freqs.reshape(-1, 2))

        codec.prior([z.shape[:2]], Watch()).push([random_message(rng, 1)], [z])
        return found[0]

    before, changed = freqs(z), z.copy()
    changed[2, 2] ^= 15
    after = freqs(changed)
    assert np.array_equal(before[:12], after[:12])
    assert not np.array_equal(before[12:], after[12:])
    assert not np.array_equal(before[13:], after[13:])  # later cells do look at it


@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("latents", [False, True])
@pytest.mark.parametrize(("known", "height", "width"), [(0, 1, 1), (0, 9, 1), (1, 2, 13), (11, 5, 21)])
def test_pixels(random_codec, synthetic, coded, latents, known, height, width):
    codec, rng = random_codec(), np.random.default_rng(known)
    x = synthetic(known + height, width, 4)
    x = grey(x) if coded == 1 else x
    contexts = [rng.integers(-128, 128, (height, width, 4), np.int8)] if latents else None
    args = ([x[:known]], [height], contexts, coded)
    check_codec(single(codec.pixels(*args)), random_message(rng, 4), [x[known:]])
    ledger = Ledger()
    added = pushed_bits(codec.pixels(*args, ledger), random_message(rng, 4), [x[known:]])
    assert added == pytest.approx(ledger.bits["band B" if latents else "band A"], rel=1e-3, abs=0.1)


@pytest.mark.parametrize("coded", [1, 3])
def test_pixels_batch(random_codec, synthetic, coded):
    codec, rng = random_codec(), np.random.default_rng(5)
    shapes = [(0, 6, 17), (3, 4, 5), (2, 0, 9), (7, 1, 1)]
    xs = [synthetic(known + height, width, height) for known, height, width in shapes]
    xs = [grey(x) for x in xs] if coded == 1 else xs
    contexts = [rng.integers(-128, 128, (height, width, 4), np.int8) for _, height, width in shapes]
    messages = [random_message(rng, lanes) for lanes in (1, 2, 3, 4)]
    for used in (None, contexts):
        parts = [
            codec.pixels([x[:known]], [height], used and [used[i]], coded)
            for i, (x, (known, height, _)) in enumerate(zip(xs, shapes))
        ]
        batch = codec.pixels([x[: s[0]] for x, s in zip(xs, shapes)], [s[1] for s in shapes], used, coded)
        check_batch(batch, messages, [x[s[0] :] for x, s in zip(xs, shapes)], parts)


def test_pixels_without_latents_is_null_context(random_codec, synthetic):
    codec, x, message = random_codec(), synthetic(5, 9, 6), random_message(np.random.default_rng(7), 2)
    null = np.tile(codec.model.null, (1, 2, 1))[:5, :9]
    assert np.any(null != null[0, 0])
    one = codec.pixels([x[:0]], [5], None, 3).push([message], [x])
    assert one == codec.pixels([x[:0]], [5], [null], 3).push([message], [x])


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("flow_steps", FLOW)
@pytest.mark.parametrize("coded", [1, 3])
def test_tiles(random_codec, synthetic, stride, flow_steps, coded):
    """The whole codec, bits-back and all, for tiles of mixed sizes and bands; one of them has no band B."""
    codec, rng = random_codec(stride=stride, flow_steps=flow_steps), np.random.default_rng(8)
    shapes, splits = [(21, 18), (9, 33), (33, 5)], [16, 0, 32]
    xs = [synthetic(*shape, 9) for shape in shapes]
    xs = [grey(x) for x in xs] if coded == 1 else xs
    pairs = [([x[:split]], [x[split:]]) for x, split in zip(xs, splits)]
    messages = [random_message(rng, lanes) for lanes in (1, 2, 7)]
    alone = [codec.tiles([shape], [split], coded) for shape, split in zip(shapes, splits)]
    for part, message, pair in zip(alone, messages, pairs):
        check_codec(single(part), message, pair)
    batch = codec.tiles(shapes, splits, coded)
    symbol = ([b for (b,), _ in pairs], [a for _, (a,) in pairs])
    pushed = batch.push(messages, symbol)
    assert pushed == [part.push([m], pair)[0] for part, m, pair in zip(alone, messages, pairs)]
    back, again = batch.pop(pushed)
    assert back == messages
    assert all(np.array_equal(a, b) for got, sent in zip(again, symbol) for a, b in zip(got, sent))


# ---------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("coded", [1, 3])
@pytest.mark.parametrize("lane_symbols", [3000, 32768])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 30), (53, 70)])
def test_length(tiny_codec, synthetic, height, width, lane_symbols, coded):
    """The stream is the negative ELBO of the coded sample, plus 32 to 64 bits a lane; the stack ends exactly empty."""
    x = synthetic(height, width, 1)
    x = grey(x) if coded == 1 else x
    record, ledger, without, within = both_modes(tiny_codec, x, coded, lane_symbols)
    assert encode_tile(tiny_codec, x, coded, lane_symbols) == record
    latents = record.method == Method.LATENTS
    assert latents == (height == 53)
    assert set(ledger.bits) == ({"band A", "band B", "prior", "posterior"} if latents else {"band A"})
    spent, lanes = sum(ledger.bits.values()), lanes_for(height * width * coded, lane_symbols)
    overhead = 8 * len(record.data) - 16 * latents - spent
    # the CRC in lane 0 is worth up to one bit; nothing else may hide in the slack
    assert 32 * lanes - 0.1 <= overhead <= 64 * lanes + 1.1
    if latents:
        assert ledger.bits["posterior"] < 0
        assert spent == within < without
        assert ledger.kl / COST_UNIT == ledger.bits["prior"] + ledger.bits["posterior"] > 0
    else:
        assert spent == without
        assert within is None
    (back,) = decode_tiles(tiny_codec, [record], [(height, width)], coded, lane_symbols)
    assert np.array_equal(back, x)


def test_lanes(tiny_codec, synthetic):
    """More lanes than band A has rows: the latents are still a fair sample of q, and the tile as small."""
    x, spent = synthetic(53, 70, 1), []
    for lanes in (1, 16):
        codec = tiny_codec.tiles([(53, 70)], [48], 3, ledger := Ledger())
        codec.push([ans.empty(lanes, 1 << 31)], ([x[:48]], [x[48:]]))
        spent.append(sum(ledger.bits.values()))
    assert spent[1] == pytest.approx(spent[0], rel=2e-3)


def test_seed(tiny_codec, synthetic):
    """Decoding ends at the state that encoding began with: the CRC-32 of the tile in the first lane."""
    x = synthetic(24, 16, 2)
    record = encode_tile(tiny_codec, x, 3, 500)
    split = 8 * int.from_bytes(record.data[:2], "little") if record.method == Method.LATENTS else 0
    message = ans.from_bytes(record.data[2 if split else 0 :], 2)
    (end,), _ = tiny_codec.tiles([(24, 16)], [split], 3).pop([message])
    assert end == ans.empty(2, zlib.crc32(x.tobytes()))


@pytest.mark.parametrize("coded", [1, 3])
def test_batch(tiny_codec, synthetic, coded):
    shapes = [(53, 70), (8, 8), (1, 40), (49, 17), (30, 1)]
    xs = [synthetic(*shape, i) for i, shape in enumerate(shapes)]
    xs = [grey(x) for x in xs] if coded == 1 else xs
    records = [encode_tile(tiny_codec, x, coded, 700) for x in xs]
    assert {r.method for r in records} == {Method.LATENTS, Method.NO_LATENTS}
    together = decode_tiles(tiny_codec, records, shapes, coded, 700)
    for record, shape, x, one in zip(records, shapes, xs, together):
        assert np.array_equal(one, x)
        assert np.array_equal(decode_tiles(tiny_codec, [record], [shape], coded, 700)[0], x)
    assert decode_tiles(tiny_codec, [], [], coded, 700) == []


def spoil_posterior(codec, monkeypatch):
    """Makes q flat: 6 bits for each latent."""
    parameters = codec.nets.posterior_parameters

    def flat(x):
        params = parameters(x)
        params[:, 1 + codec.channels :] = SCALES - 1
        return params

    monkeypatch.setattr(codec.nets, "posterior_parameters", flat)


def test_retry(tiny_codec, synthetic, monkeypatch):
    """A split whose band A cannot pay for the latents is given up for a smaller one, until one can."""
    x = grey(synthetic(49, 40, 3))
    x[40:] = 100  # so that the last row is cheap
    tried, tiles = [], tiny_codec.tiles

    def watch(shapes, splits, *rest):
        tried.append(splits[0])
        return tiles(shapes, splits, *rest)

    spoil_posterior(tiny_codec, monkeypatch)
    monkeypatch.setattr(tiny_codec, "tiles", watch)
    monkeypatch.setattr(streams, "choose_split", lambda draft: 48)
    record = encode_tile(tiny_codec, x, 1, 32768)
    assert tried[:2] == [48, 40]
    with pytest.raises(EmptyStack):
        tiles([(49, 40)], [48], 1).push([ans.empty()], ([x[:48]], [x[48:]]))
    (back,) = decode_tiles(tiny_codec, [record], [(49, 40)], 1, 32768)
    assert np.array_equal(back, x)


class Priced(Draft):
    """A draft whose rows cost what they are said to, in bits."""

    def __init__(self, codec, tile, rows):
        super().__init__(codec, tile, 3)
        self.costs = rows

    def cost(self, row):
        return int(self.costs[row:].sum() * COST_UNIT)


def test_choose_split(tiny_codec, synthetic, monkeypatch):
    """The most rows that can be paid for: few when the posterior is dear, or the rows cheap and the stack low."""
    x = synthetic(49, 40, 3)
    rows = np.full(49, 600.0)

    def split(x, rows, stock=0):
        return choice.choose_split(Priced(tiny_codec, x, rows), stock * COST_UNIT)

    cheap = split(x, rows)
    assert cheap % 8 == 0
    assert 0 < cheap <= 48
    assert split(x, rows / 10) < cheap
    assert split(x, rows / 1000) == 0
    assert split(x, rows / 1000, 10**6) == 48
    assert split(x, rows / 10) < split(x, rows / 10, 200) <= 48
    assert split(x[:8], rows[:8], 10**6) == 0
    spoil_posterior(tiny_codec, monkeypatch)
    assert split(x, rows / 5) < cheap


@pytest.mark.parametrize("coded", [1, 3])
def test_draft(random_codec, synthetic, coded):
    """Intervals without latents from any row on, asked for in any order, are those of the band; the posterior too."""
    codec = random_codec()
    x = synthetic(30, 17, 4) if coded == 3 else grey(synthetic(30, 17, 4))
    draft = Draft(codec, x, coded)
    for row in (29, 30, 8, 16, 0, 3):
        found, expected = draft.below(row), codec.pixel_codec.intervals(x[:row], x[row:], None, coded)
        assert all(np.array_equal(*pair) for pair in zip(found, expected))
        freqs = expected[1][..., :coded].astype(float)
        assert draft.cost(row) / COST_UNIT == pytest.approx((24 - np.log2(freqs)).sum(), rel=1e-6)
    for row in (8, 24, 0, 8):
        assert np.array_equal(draft.posterior(row), codec.nets.posterior_parameters(x[:row]))


# ---------------------------------------------------------------------------------------------------- choice of mode


@pytest.fixture
def sampled(monkeypatch):
    """Tiles of 1024 pixels and more are judged by 256 of them."""
    monkeypatch.setattr(streams, "SAMPLE", 256)
    monkeypatch.setattr(choice, "TRIED", 1024)


def even(height, width):
    """The same noise everywhere: nothing that latents could tell."""
    return np.random.default_rng(1).normal(128, 4, (height, width, 3)).round().astype(np.uint8)


def deviations(trial):
    """The gain in standard deviations of what the sample says."""
    per_pixel = trial.saved.std() / COST_UNIT * trial.area / len(trial.saved) ** 0.5
    return saved(trial) / per_pixel


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_try_latents(tiny_codec, synthetic, monkeypatch):
    """The sample of all pixels says what latents save, to the bit; always the same; a part of them about the same."""
    x = synthetic(65, 64, 1)
    draft = Draft(tiny_codec, x, 3)
    monkeypatch.setattr(choice, "CLEAR", 10**9)
    whole = choice.try_latents(draft, 10**6)
    draft.below(0)
    again = choice.try_latents(draft, 10**6)
    assert same(whole, again)
    bits = [
        (24 - np.log2(tiny_codec.pixel_codec.intervals(x[:0], x[:64], context, 3)[1])).sum(-1)
        for context in (None, whole.context)
    ]
    wanted = (bits[0] - bits[1]).sum() - whole.kl / COST_UNIT - bits[0].sum() / choice.WORTH
    assert saved(whole) == pytest.approx(wanted, abs=0.01)
    assert whole.saved.std() == pytest.approx((bits[0] - bits[1]).std() * COST_UNIT, rel=1e-5)
    assert whole.clear(300) == 1
    for clear in (10**9, 300):
        monkeypatch.setattr(choice, "CLEAR", clear)
        for count in (1000, 2000):
            part = choice.try_latents(draft, count)
            assert np.array_equal(part.context, whole.context)
            assert part.kl == whole.kl
            error = saved(part) - saved(whole)
            assert 0 < abs(error) < 3 * saved(part) / deviations(part)


def fake(trial, mean, deviation, count=100):
    """The trial with this mean and deviation of the bits that latents save a pixel, all paid for."""
    saved = mean + deviation * np.where(np.arange(count) % 2, 1, -1)
    saved = (saved * COST_UNIT).astype(np.int64) // 16 * 16
    return trial._replace(saved=saved, costs=np.zeros_like(saved), kl=0)


def test_clear_of_a_trial(tiny_codec, synthetic):
    """A gain is clear where it is beyond so many hundredths of its deviation; the latents' own cost is a loss."""
    trial = choice.try_latents(Draft(tiny_codec, synthetic(33, 40, 1), 3), 64)
    for mean in (0.5, -0.5):  # of 100 pixels: 5 standard deviations
        found = fake(trial, mean, 1.0)
        assert saved(found) == pytest.approx(mean * found.area)
        sign = 1 if mean > 0 else -1
        assert [found.clear(hundredths) for hundredths in (0, 250, 499, 501, 9000)] == [sign, sign, sign, 0, 0]
        assert fake(trial, mean, 0.0).clear(10**9) == sign
        dear = found._replace(kl=2 * COST_UNIT * found.area)
        assert dear.clear(250) == -1
        assert saved(dear) == pytest.approx((mean - 2.0) * found.area)
        many = found._replace(costs=np.full_like(found.saved, 2 * choice.WORTH * COST_UNIT))
        assert saved(many) == pytest.approx((mean - 2.0) * found.area)
    assert fake(trial, 0.0, 1.0).clear(1) == 0
    assert trial._replace(saved=trial.saved[:0]).clear(250) == 0


@pytest.mark.parametrize("seed", range(1, 5))
def test_fair_sample(tiny_codec, synthetic, seed):
    """Latents drawn with bits from nowhere cost what those cost that the encoder draws."""
    x = synthetic(64, 64, seed)
    _, ledger, _, _ = both_modes(tiny_codec, x, 3)
    assert choice.try_latents(Draft(tiny_codec, x, 3), 64).kl == pytest.approx(ledger.kl, rel=0.3)


@pytest.fixture
def looked(tiny_codec, monkeypatch):
    """(rows that a sample may be of, whether with a context, the pixels) of each look at some of a tile's pixels."""
    seen, made = [], []
    whole, at = tiny_codec.nets.pixels.whole, tiny_codec.nets.pixels.at

    def noted(tile, context):
        made.append((whole(tile, context), context is not None))
        return made[-1][0]

    def watch(tile, positions, coded):
        (with_context,) = (with_ for one, with_ in made if one is tile)
        seen.append((tile.height, with_context, positions))
        return at(tile, positions, coded)

    monkeypatch.setattr(tiny_codec.nets.pixels, "whole", noted)
    monkeypatch.setattr(tiny_codec.nets.pixels, "at", watch)
    return seen


@pytest.mark.parametrize(("height", "width", "count"), [(9, 1, 8), (33, 50, 256), (17, 40, 640), (64, 512, 1000)])
def test_places(tiny_codec, synthetic, monkeypatch, looked, height, width, count):
    """One pixel of each so many of those that can have latents, with and without; in no fixed column."""
    monkeypatch.setattr(choice, "CLEAR", 10**9)
    choice.try_latents(Draft(tiny_codec, synthetic(height, width, 1), 3), count)
    rows = (height - 1) // 8 * 8
    assert {above for above, _, _ in looked} == {rows}
    for context in (False, True):
        places = np.sort(np.concatenate([found for _, with_, found in looked if with_ == context]))
        assert len(places) == count
        cells = rows * width / count
        assert np.all(places >= np.floor(np.arange(count) * cells))
        assert np.all(places < (np.arange(count) + 1) * cells)
        if count == 1000:
            assert len(np.unique(places % 16)) == 16


@pytest.mark.parametrize(("clear", "parts"), [(10**9, choice.PARTS), (0, 1)])
def test_parts(tiny_codec, synthetic, monkeypatch, looked, clear, parts):
    """Where some pixels say it clearly no more are looked at; those are from all over the tile."""
    monkeypatch.setattr(choice, "CLEAR", clear)
    choice.try_latents(Draft(tiny_codec, synthetic(65, 64, 1), 3), 1000)
    assert [len(found) for _, _, found in looked] == [1000 // choice.PARTS] * 2 * parts
    for _, _, found in looked:
        assert found.min() < 64
        assert found.max() > 63 * 64


@pytest.mark.parametrize("picture", ["gain", "loss"])
def test_clear(tiny_codec, synthetic, sampled, monkeypatch, picture):
    """A mode that clearly loses is not tried, and the other's stream is what it is if both are."""
    x = synthetic(64, 64, 1) if picture == "gain" else even(64, 64)
    latents, splits, tiles = picture == "gain", [], tiny_codec.tiles
    expected, _, without, within = both_modes(tiny_codec, x, 3)

    def watch(shapes, given, *rest):
        splits.append(given[0])
        return tiles(shapes, given, *rest)

    monkeypatch.setattr(tiny_codec, "tiles", watch)
    assert encode_tile(tiny_codec, x, 3, 32768) == expected
    assert splits == ([56] if latents else [0])
    assert expected.method == (Method.LATENTS if latents else Method.NO_LATENTS)
    assert (within < without) == latents
    gap = saved(choice.try_latents(Draft(tiny_codec, x, 3), 256))
    assert 0.4 < gap / (without - within) < 2.5


def test_decision(tiny_codec, synthetic, sampled, monkeypatch):
    """What a stripe of a large tile says is done; in a small one both modes are tried."""
    x, tried = synthetic(64, 64, 1), []
    trial = choice.try_latents(Draft(tiny_codec, x, 3), 256)

    def encode(x, mean):
        def said(draft, count):
            tried.append((draft.tile.shape, count))
            return fake(trial, mean, 1.0)

        monkeypatch.setattr(streams, "try_latents", said)
        return encode_tile(tiny_codec, x, 3, 32768)

    assert encode(x, 0.001) == both_modes(tiny_codec, x, 3)[0]
    assert encode(x, -0.001) == without_latents(Draft(tiny_codec, x, 3), 32768)[0]
    assert tried == [((64, 8, 3), 256)] * 2
    assert encode(x[:15, :32], -0.001) == both_modes(tiny_codec, x[:15, :32], 3)[0]
    assert len(tried) == 2


@pytest.mark.parametrize(("width", "first", "columns"), [(8, 0, 8), (64, 24, 8), (65, 24, 16), (250, 104, 32)])
def test_stripe(tiny_codec, synthetic, sampled, width, first, columns):
    """Whole cells of an eighth of a large tile's columns, from its middle; rows that pay are about those of all."""
    x = synthetic(129, width, 1)
    draft = Draft(tiny_codec, x, 3)
    assert np.array_equal(draft.stripe.tile, x[:, first : first + columns])
    assert draft.stripe is draft.stripe
    assert Draft(tiny_codec, x[:8], 3).stripe.tile.shape == (8, width, 3)
    few = choice.choose_split(draft)
    draft.part = draft
    assert abs(few - choice.choose_split(draft)) <= 16


def test_fall_back(tiny_codec, synthetic, sampled, monkeypatch):
    """Latents that seemed to pay and that nothing can pay for: the tile is coded without."""
    x, tiles, tried = synthetic(40, 40, 1), tiny_codec.tiles, []
    trial = choice.try_latents(Draft(tiny_codec, x, 3), 256)

    def dear(shapes, splits, *rest):
        tried.append(splits[0])
        if splits[0]:
            raise EmptyStack("too dear")
        return tiles(shapes, splits, *rest)

    monkeypatch.setattr(tiny_codec, "tiles", dear)
    monkeypatch.setattr(streams, "choose_split", lambda draft: 32)
    found = []
    for gain in (10, -10):
        monkeypatch.setattr(streams, "try_latents", lambda *_, gain=gain: fake(trial, gain, 0.01))
        found.append(encode_tile(tiny_codec, x, 3, 32768))
    assert tried == [32, 24, 16, 8, 0, 0]
    assert found[0] == found[1]
    assert found[0].method == Method.NO_LATENTS


@pytest.mark.parametrize("height", [1, 7, 8])
def test_low(tiny_codec, synthetic, sampled, height):
    """Tiles without room for latents are not judged, however wide."""
    x = synthetic(height, 1024, 1)
    record = encode_tile(tiny_codec, x, 3, 32768)
    assert record.method == Method.NO_LATENTS
    assert np.array_equal(decode_tiles(tiny_codec, [record], [(height, 1024)], 3, 32768)[0], x)


def test_spread(tiny_codec, synthetic, monkeypatch):
    """Threads that share a tile change nothing."""
    x = synthetic(53, 70, 1)
    expected = encode_tile(tiny_codec, x, 3, 32768)
    monkeypatch.setattr(pixels, "STRIP", 300)
    with workers(3) as run:
        assert encode_tile(tiny_codec, x, 3, 32768, run) == expected


def test_ledger(tiny_codec, synthetic):
    """Bits are whole numbers of 2^-20, the costs of the frequencies."""
    _, ledger, _, _ = both_modes(tiny_codec, synthetic(53, 70, 1), 3)
    assert set(ledger.bits) == {"band A", "band B", "prior", "posterior"}
    assert all(float(bits * COST_UNIT).is_integer() for bits in ledger.bits.values())
    freqs = np.random.default_rng(1).integers(1, 1 << 24, (5, 7, 3)).astype(np.uint32)
    for sign in (1, -1):
        ledger = Ledger()
        ledger.add("it", freqs, sign)
        ledger.add("it", freqs[:2], sign)
        assert ledger.bits["it"] * COST_UNIT == sign * (mixture.cost(freqs) + mixture.cost(freqs[:2]))
        assert np.array_equal(ledger.freqs["it"], freqs[:2])


@pytest.mark.parametrize("device", ["int8", "float32", "torch", "gpu", "", "CPU"])
def test_no_device(tiny_codec, device):
    with pytest.raises(VlaeError, match="no device"):
        TileCodec(tiny_codec.model, device)


# ---------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def coded(tiny_codec, synthetic):
    x = synthetic(25, 24, 5)
    record = encode_tile(tiny_codec, x, 3, 32768)
    assert record.method == Method.LATENTS

    def decode(data, method=Method.LATENTS, shape=(25, 24)):
        return decode_tiles(tiny_codec, [TileRecord(method, data)], [shape], 3, 32768)[0]

    assert np.array_equal(decode(record.data), x)
    return record.data, decode


def test_truncated(coded):
    data, decode = coded
    for length in (2, 5, 9, len(data) - 1):
        with pytest.raises(TruncatedFile):
            decode(data[:length])
    for length in (0, 1, 10, 14, len(data) // 4 * 2 + 2, len(data) - 4):
        with pytest.raises(CorruptFile):
            decode(data[:length])
    for more in (b"?", bytes(4)):
        with pytest.raises(CorruptFile):
            decode(data + more)


def test_flipped_bits(coded):
    """No flipped bit passes, not even without the file's checksums."""
    data, decode = coded
    rng = np.random.default_rng(6)
    for bit in [*range(16), 16, 79, 80, 8 * len(data) - 1, *rng.integers(80, 8 * len(data), 30).tolist()]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            decode(bytes(damaged))


def test_invalid(coded):
    data, decode = coded
    with pytest.raises(CorruptFile):
        decode(data, shape=(24, 24))
    with pytest.raises(CorruptFile, match="bands"):
        decode(data, shape=(8, 24))
    with pytest.raises(CorruptFile):
        decode(data[2:], Method.NO_LATENTS)
    with pytest.raises(CorruptFile, match="bands"):
        decode(bytes(2) + data[2:])
