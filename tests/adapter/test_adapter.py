"""Adapters: the merge to the letter, the payload both ways, and files that no decoder may take."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mixture import TABLES, plain_cdfs  # type: ignore[import-not-found]
from test_network import exact, layer, two_digits  # type: ignore[import-not-found]

from vlae_codec import decompress, decompress_many
from vlae_codec.adapter import chunk
from vlae_codec.adapter.chunk import Part, adapt, merge, pack, size, unpack
from vlae_codec.cli import main
from vlae_codec.coder import streams
from vlae_codec.contract import ACCUMULATOR_LIMIT, RECTIFIED
from vlae_codec.errors import CorruptFile, TruncatedFile, VlaeError, WeightsError
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method, TileRecord
from vlae_codec.format.header import Header, Layout, Planes
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.weights_file import save_weights
from vlae_codec.native import ans
from vlae_codec.native.network import Layer, Network
from vlae_codec.pictures import codec as codec_of
from vlae_codec.pictures import modes, pieces
from vlae_codec.weights.model import load_weights

some_adapter = make_golden.some_adapter
write_adapted = make_golden.write_adapted


@pytest.fixture(scope="module")
def tiny_model(tiny):
    return load_weights(tiny)


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert (a.product, a.bias_unit) == (b.product, b.bias_unit)
        for left, right in zip(a.groups(), b.groups()):
            assert left.dtype == right.dtype == np.int8
            assert np.array_equal(left, right)


# ---------------------------------------------------------------------------------------------------- the merge


def combined(made: Layer) -> np.ndarray:
    """(inputs, outputs) int64: the weights, two digits made one number."""
    weight, outputs = made.weight.astype(np.int64), made.multiplier.size
    return weight if weight.shape[1] == outputs else 128 * weight[:, :outputs] + weight[:, outputs:]


def slow_merge(made: Layer, part: Part, zero: np.ndarray) -> tuple[list[list[int]], list[int]]:
    """W' and addend' as the docstring has them, in Python's own numbers."""
    inputs, outputs = len(made.weight), made.multiplier.size
    limit = 127 if made.weight.shape[1] == outputs else 127 * 128
    old, half = combined(made).tolist(), Fraction(1, 2)
    left, right = part.left.tolist(), part.right.tolist()
    new, addend = [[0] * outputs for _ in range(inputs)], []
    for o in range(outputs):
        moved = 0
        for j in range(inputs):
            change = sum(left[j][r] * right[r][o] for r in range(len(right)))
            scaled = math.floor(Fraction(change) * Fraction(2) ** part.product + half)
            new[j][o] = min(max(old[j][o] + scaled, -limit), limit)
            moved += int(zero[j]) * (new[j][o] - old[j][o])
        bias = math.floor(int(part.bias[o]) * Fraction(2) ** (part.bias_unit + made.shift))
        addend.append(int(made.addend[o]) - int(made.multiplier[o]) * moved + bias)
    return new, addend


def random_layer(rng, digits, inputs=9, outputs=5):
    """Weights as an export makes them: no digit is -128."""
    made = layer(rng, inputs, outputs) if digits == 1 else two_digits(rng, inputs, outputs, last=False)
    return replace(made, weight=made.weight.clip(-127, 127))


def random_part(rng, inputs, outputs, rank, most, product, bias_unit):
    left, right, bias = (
        rng.integers(-most, most + 1, shape).astype(np.int8) for shape in ((inputs, rank), (rank, outputs), (outputs,))
    )
    return Part(left, right, bias, product, bias_unit)


@pytest.mark.parametrize("outputs", [5, 37])
@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize(
    ("rank", "most", "product", "bias_unit"),
    [
        (0, 127, 0, 0),
        (1, 5, 0, -1),
        (1, 5, -1, 3),
        (3, 20, -4, 0),
        (2, 127, -14, 8),
        (5, 127, 8, 8),  # all clamped
        (5, 127, 3, -24),
        (4, 9, 2, -12),
        (2, 127, -24, -24),
        (64, 127, 0, 0),
    ],
)
def test_merge(target, outputs, digits, rank, most, product, bias_unit):
    rng = np.random.default_rng(rank + most)
    made = random_layer(rng, digits, 9, outputs)
    part = random_part(rng, 9, outputs, rank, most, product, bias_unit)
    if most == 127:  # a file can hold them, and so can a weight file
        part.left[:2], part.right[:, :2], part.bias[:2] = -128, -128, -128
        if rank:
            made.weight[:, -1] = -128
    zero = rng.choice([0, RECTIFIED], 9)
    weight, addend = slow_merge(made, part, zero)
    merged = merge(made, part, zero)
    assert merged.weight.dtype == np.int8
    assert merged.weight.shape == made.weight.shape
    assert combined(merged).tolist() == weight
    assert merged.addend.tolist() == addend
    if digits == 2 and rank:
        high, low = merged.weight[:, :outputs].astype(int), merged.weight[:, outputs:]
        assert np.array_equal(high, (np.array(weight) + 64) >> 7)
        assert (low.min(), low.max()) >= (-64, -64)
        assert low.max() < 64
    for name in ("multiplier", "shift", "low", "high"):
        assert getattr(merged, name) is getattr(made, name)


@pytest.mark.parametrize(("product", "expected"), [(-1, [2, -1, 1, 0]), (-2, [1, -1, 0, 0]), (1, [6, -6, 2, -2])])
def test_rounding(product, expected):
    """Halves go up, whatever the sign."""
    made = Layer(np.zeros((4, 1), np.int8), np.ones(1, np.int64), np.zeros(1, np.int64), 3)
    left = np.array([[3], [-3], [1], [-1]], np.int8)
    part = Part(left, np.ones((1, 1), np.int8), np.array([-5], np.int8), product, -4)
    merged = merge(made, part, np.zeros(4, np.int64))
    assert merged.weight[:, 0].tolist() == expected
    assert merged.addend.tolist() == [-3]  # -2.5, down


@pytest.mark.parametrize("digits", [1, 2])
def test_inactive_inputs(digits):
    """A change moves a pre-activation by what is active alone, and not at all where nothing is."""
    rng = np.random.default_rng(3)
    made = random_layer(rng, digits)
    part = replace(random_part(rng, 9, 5, 3, 20, -3, 0), bias=np.zeros(5, np.int8))
    zero = np.where(np.arange(9) < 6, RECTIFIED, 0)
    merged = merge(made, part, zero)
    step = combined(merged) - combined(made)
    assert np.all(step.any(axis=0))

    def before_shift(one, h):
        return (h @ combined(one)) * one.multiplier + one.addend

    h = rng.integers(-128, 128, (20, 9))
    moved = before_shift(merged, h) - before_shift(made, h)
    assert np.array_equal(moved, ((h - zero) @ step) * made.multiplier)
    assert np.array_equal(before_shift(merged, zero[None]), before_shift(made, zero[None]))


def test_zeros(tiny_model):
    hidden, out = chunk.zeros(tiny_model.local)
    assert not hidden.any()
    assert out.tolist() == [RECTIFIED] * 32 + [0] * 43


@pytest.mark.parametrize("ranks", [[0, 0], [3, 3]])
def test_nothing(tiny_model, ranks):
    """An adapter of zeros leaves the network as it is."""
    network = tiny_model.local
    none = some_adapter(network, ranks, most=0)
    rows = np.random.default_rng(1).integers(-128, 128, (50, 43)).astype(np.int8)
    expected = exact(network, rows)
    assert np.array_equal(exact(adapt(network, none), rows), expected)
    assert not np.array_equal(exact(adapt(network, some_adapter(network, [1, 2])), rows), expected)


def test_unfit(tiny_model):
    """Another number of layers, inputs, outputs or ranks that do not agree."""
    network = tiny_model.local
    good = some_adapter(network, [2, 2])
    with pytest.raises(WeightsError, match="depth"):
        adapt(network, good[:1])
    part = good[0]
    for wrong in (
        replace(part, left=part.left[:-1]),
        replace(part, right=part.right[:, :-1]),
        replace(part, right=part.right[:-1]),
        replace(part, bias=part.bias[:-1]),
        good[1],
    ):
        with pytest.raises(WeightsError, match="does not fit"):
            adapt(network, (wrong, good[1]))


@pytest.mark.parametrize("digits", [1, 2])
def test_bound(digits):
    """1032 inputs of weight 127 are the most: 1033 * 127 * 128 is over 2^24."""
    for inputs in (1032, 1033):
        made = random_layer(np.random.default_rng(4), digits, inputs, 2)
        made = replace(made, weight=np.sign(made.weight))
        rank_one = Part(np.full((inputs, 1), 127, np.int8), np.full((1, 2), 127, np.int8), np.zeros(2, np.int8), 8, 0)
        network = Network((made,))
        if inputs == 1032:
            worst = np.abs(adapt(network, (rank_one,)).layers[0].weight.astype(int)).sum(0).max() * 128
            assert ACCUMULATOR_LIMIT - 127 * 128 < worst < ACCUMULATOR_LIMIT
        else:
            with pytest.raises(WeightsError, match="bound of 2\\^24"):
                adapt(network, (rank_one,))


# ---------------------------------------------------------------------------------------------------- the payload


@pytest.mark.parametrize("most", [0, 1, 6, 127])
@pytest.mark.parametrize("ranks", [[0, 0], [1, 5], [5, 0]])
def test_round_trip(tiny_model, ranks, most):
    made = some_adapter(tiny_model.local, ranks, most)
    payload = pack(made, tiny_model.tables)
    same(unpack(payload, tiny_model.local, tiny_model.tables), made)
    assert abs(8 * len(payload) - size(made, tiny_model.tables)) <= 33
    count = sum(group.size for part in made for group in part.groups())
    assert len(payload) <= 6 * 2 + 8 + 1.05 * count + 4  # uniform on 255 numbers, under a logistic


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_any_numbers(tiny_model, data):
    """Of few layers and many, with spikes, in exponents' whole range."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shapes = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3))
    network = Network(tuple(layer(rng, *shape) for shape in shapes))
    exponent, most = st.integers(-24, 8), st.sampled_from([0, 1, 30, 127])
    made = []
    for inputs, outputs in shapes:
        rank = data.draw(st.sampled_from([0, 1, 5, 64]))
        part = random_part(rng, inputs, outputs, rank, data.draw(most), data.draw(exponent), data.draw(exponent))
        part.bias[:1] = data.draw(st.sampled_from([-127, 0, 127]))
        made.append(part)
    payload = pack(tuple(made), tiny_model.tables)
    same(unpack(payload, network, tiny_model.tables), made)
    assert abs(8 * len(payload) - size(tuple(made), tiny_model.tables)) <= 33


def test_layout(tiny_model):
    """The records that the docstring promises, and an empty message where there is nothing to say."""
    made = tuple(replace(part, product=8, bias_unit=-24) for part in some_adapter(tiny_model.local, [0, 2]))
    payload = pack(made, tiny_model.tables)
    scales = [chunk.best_scale(group, tiny_model.tables)[0] for group in made[1].groups()]
    assert payload[:5] == bytes([0, 72, 40, 0, 0])
    assert payload[6:12] == bytes([2, 72, 40, *scales])
    message = ans.from_bytes(payload[12:], 1)
    assert 32 * len(message.words) < ans.bits(message) + 32 < 32 * (len(message.words) + 2)


def test_best_scale(tiny_model):
    """No other scale costs less."""
    rng = np.random.default_rng(5)
    assert all(map(np.array_equal, tiny_model.tables, TABLES))
    cdfs = [plain_cdfs(np.array([0, 0, i]), [128 << 6], [64], [0], 1, False, 256)[0] for i in range(160)]
    for spread in (0.2, 2, 25):
        numbers = np.rint(rng.logistic(0, spread, 500)).clip(-127, 127).astype(np.int8)
        index, cost = chunk.best_scale(numbers, tiny_model.tables)
        counts = np.bincount(numbers.astype(int) + 128, minlength=256)
        costs = [counts @ (24 - np.log2(np.diff(cdf))) for cdf in cdfs]
        assert cost == pytest.approx(min(costs))
        assert index == int(np.argmin(costs))
    assert chunk.best_scale(np.zeros((0, 5), np.int8), tiny_model.tables) == (0, 0.0)


# ---------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def pixels(synthetic):
    return synthetic(29, 60, 3)


@pytest.fixture(scope="module")
def payload(tiny_model):
    return pack(some_adapter(tiny_model.local, [1, 2]), tiny_model.tables)


@pytest.fixture(scope="module")
def data(pixels, payload):
    """Of several tiles, some with latents, some without."""
    return write_adapted(pixels, payload, tile_size=24, lane_symbols=500)


def with_payload(data: bytes, payload: bytes) -> bytes:
    """A file with good checksums around another adapter."""
    contents = container.read(data)
    parts = [replace(part, adapter=payload) for part in contents.parts]
    return container.write(contents.header, parts, contents.metadata)


def write_one(layout: Layout, sizes: Sequence[tuple[int, int]], records: Sequence[TileRecord], adapter: bytes | None):
    """The file of pictures of these (width, height), of a layout with one group of planes."""
    header = Header.of([layout], [(0, *size) for size in sizes])
    (part,) = container.parts_of(header)
    return container.write(header, [replace(part, records=tuple(records), adapter=adapter)])


def test_same_bytes(tiny, data, pixels, payload, backend, monkeypatch):
    """Every device, 1 and 2 threads, tile by tile and in a batch."""
    assert {record.method for record in container.read(data).records} == {Method.NO_LATENTS, Method.LATENTS}
    assert write_adapted(pixels, payload, backend=backend, tile_size=24, lane_symbols=500) == data
    for threads in (1, 2) if backend == "cpu" else (2,):
        for batch in (1, 1 << 22):
            monkeypatch.setattr(pieces, "BATCH_PIXELS", batch)
            assert np.array_equal(decompress(data, model=tiny, device=backend, threads=threads), pixels)


def test_chain(tiny, tiny_codec, payload, synthetic, backend):
    """The groups of a list of pictures are under the adapter, too."""
    some = [synthetic(16, 12, seed) for seed in range(3)]
    codec = codec_of.with_adapter(tiny_codec, payload)
    planes = Planes(3, 256, tiny_codec.model.id, lane_symbols=2**32 - 1, chains=2)
    layout, sizes = Layout("RGB", (planes,), channels=3), [(12, 16)] * 3
    records = [streams.encode_chain(codec, some[chain::2], 3, 2**32 - 1) for chain in range(2)]
    data = write_one(layout, sizes, records, payload)
    for threads in (1, 2) if backend == "cpu" else (2,):
        back = decompress_many(data, model=tiny, device=backend, threads=threads)
        assert all(map(np.array_equal, back, some))
    with pytest.raises(CorruptFile):
        decompress_many(write_one(layout, sizes, records, None), model=tiny, device=backend, threads=1)


def test_grey(tiny, tiny_codec, payload, synthetic):
    grey = synthetic(20, 30, 5)[..., 1]
    codec = codec_of.with_adapter(tiny_codec, payload)
    record = streams.encode_tile(codec, modes.tile_of(grey[..., None], 3), 1, 32768)
    data = write_one(Layout("L", (Planes(1, 256, tiny_codec.model.id),)), [(30, 20)], [record], payload)
    assert np.array_equal(decompress(data, model=tiny, threads=1), grey)


def test_info(data, payload, tmp_path):
    path = tmp_path / "adapted.vlae"
    path.write_bytes(data)
    runner = CliRunner()
    items = json.loads(runner.invoke(main, ["info", str(path), "--json"]).stdout)["items"]
    assert items["adapter"] == 1 + len(payload)  # the number of the group of planes
    assert sum(items.values()) == len(data)
    assert f"adapter {1 + len(payload)}," in runner.invoke(main, ["info", str(path)]).stdout


def test_no_model_needed(synthetic):
    """Where all tiles are stored, nobody asks what the adapter says."""
    pixels = synthetic(9, 11, 1)
    layout, record = Layout("RGB", (Planes(3, 256, b"nomodel!"),), channels=3), TileRecord(*stored.store(pixels, 256))
    for payload in (b"", b"anything"):
        data = write_one(layout, [(11, 9)], [record], payload)
        assert np.array_equal(decompress(data, model="no-such-model", threads=1), pixels)


def damaged(payload: bytes) -> dict[str, tuple[bytes, type[VlaeError], str]]:
    """Payloads of ranks 1 and 2 that no encoder writes, with what is said of them."""

    def changed(at: int, value: int) -> bytes:
        return payload[:at] + bytes([value]) + payload[at + 1 :]

    impossible = "record of layer {} is impossible"
    not_empty = "not empty at its end"
    return {
        "nothing": (b"", CorruptFile, "too short"),
        "half a record": (payload[:9], CorruptFile, "too short"),
        "no head": (payload[:12], TruncatedFile, "1 lanes"),
        "half a head": (payload[:16], TruncatedFile, "1 lanes"),
        "half a word": (payload[:-2], TruncatedFile, "1 lanes"),
        "a word less": (payload[:-4], CorruptFile, "damaged"),
        "a word only": (payload[:24], CorruptFile, "ran out"),
        "a word more": (payload + b"word", CorruptFile, not_empty),
        "a word below": (payload[:20] + b"word" + payload[20:], CorruptFile, not_empty),
        "low head": (payload[:12] + bytes(8) + payload[20:], CorruptFile, "lane 0"),
        "rank 65": (changed(0, 65), CorruptFile, impossible.format(0)),
        "rank 255": (changed(6, 255), CorruptFile, impossible.format(1)),
        "rank 0 for 1": (changed(0, 0), CorruptFile, not_empty),
        "rank 64 for 2": (changed(6, 64), CorruptFile, "ran out"),
        "product -25": (changed(1, 39), CorruptFile, impossible.format(0)),
        "product 9": (changed(7, 73), CorruptFile, impossible.format(1)),
        "bias -25": (changed(2, 39), CorruptFile, impossible.format(0)),
        "bias 9": (changed(8, 73), CorruptFile, impossible.format(1)),
        **{f"scale {i}": (changed(i, 160), CorruptFile, impossible.format(i // 6)) for i in (3, 4, 5, 9, 10, 11)},
    }


@pytest.mark.parametrize("case", damaged(bytes(64)))
def test_damage(tiny, data, payload, case):
    wrong, error, text = damaged(payload)[case]
    with pytest.raises(error, match=f"{text}.*(damaged|fresh copy)"):
        decompress(with_payload(data, wrong), model=tiny, threads=1)


def test_seed(tiny, tiny_model, data, payload):
    """The message of an adapter stands on the seed 0."""
    groups, symbols = [], []
    for part, scales in zip(unpack(payload, tiny_model.local, tiny_model.tables), (payload[3:6], payload[9:12])):
        groups += [chunk._Group(scale, group.shape) for scale, group in zip(scales, part.groups())]
        symbols += [group.astype(int) + 128 for group in part.groups()]
    codec = chunk._codec(groups, tiny_model.tables)
    for seed in (0, 1):
        wrong = payload[:12] + ans.to_bytes(codec.push(ans.empty(1, seed), symbols))
        if seed == 0:
            assert wrong == payload
        else:
            with pytest.raises(CorruptFile, match="not empty"):
                decompress(with_payload(data, wrong), model=tiny, threads=1)


def test_of_another_model(tiny, data, random_codec):
    for changes in ({"hidden": 24}, {"layers": 2}, {"window": (7, 3)}):
        model = random_codec(**changes).model
        payload = pack(some_adapter(model.local, [1] * len(model.local.layers)), model.tables)
        with pytest.raises(CorruptFile, match=r"damaged|fresh copy"):
            decompress(with_payload(data, payload), model=tiny, threads=1)


def test_missing(tiny, data):
    """Without its adapter the file is another one."""
    contents = container.read(data)
    with pytest.raises(CorruptFile, match="tile"):
        decompress(container.write(contents.header, [replace(contents.parts[0], adapter=None)]), model=tiny, threads=1)


def test_bound_of_a_file(random_vlae, synthetic, tmp_path):
    vlae = random_vlae(hidden=1000)
    path = tmp_path / "wide.safetensors"
    save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
    model = load_weights(path)
    made = some_adapter(model.local, [0, 1], most=0)
    inputs = len(model.local.layers[1].weight)
    assert inputs == 1043
    made[1].left[:], made[1].right[:] = 127, 127
    good, bad = (pack((made[0], replace(made[1], product=product)), model.tables) for product in (-12, 8))
    pixels = synthetic(9, 12, 1)
    data = write_adapted(pixels, good, path)
    assert np.array_equal(decompress(data, model=path, threads=1), pixels)
    with pytest.raises(CorruptFile, match=r"adapter: layer 1 .* bound of 2\^24; the file is damaged$"):
        decompress(with_payload(data, bad), model=path, threads=1)


def test_damaged_bytes(tiny, data, pixels, payload):
    """Behind good checksums: an error or, where a byte means nothing, the right pixels; never wrong ones."""
    refused = 0
    rng = np.random.default_rng(6)
    places = [*range(20), *rng.choice(np.arange(20, len(payload)), 30, replace=False)]
    for at in places:
        wrong = bytearray(payload)
        wrong[at] ^= int(rng.integers(1, 256))
        try:
            back = decompress(with_payload(data, bytes(wrong)), model=tiny, threads=1)
        except CorruptFile:
            refused += 1
        else:
            assert np.array_equal(back, pixels)
    assert refused == len(places)
