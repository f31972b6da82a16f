"""Many pictures in one file: chains come back exactly, only their beginnings lack latents, groups cost little."""

import json
from dataclasses import replace
from functools import partial

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from simple import file_of  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.bench.account import account
from vlae_codec.cli import main
from vlae_codec.coder import streams
from vlae_codec.errors import CorruptFile, ImageTooLarge, InputError, UnknownModel, UnsupportedImage, VlaeError
from vlae_codec.format import container, stored
from vlae_codec.format import streams as layout
from vlae_codec.format.container import Method, TileRecord
from vlae_codec.native import ans
from vlae_codec.pictures import encode, modes, pieces, planes
from vlae_codec.pictures.codec import find_codec
from vlae_codec.pictures.modes import tile_of

compress_many = partial(vlae_codec.compress_many, effort=1, threads=1)  # other efforts: test_fit
decompress_many = partial(vlae_codec.decompress_many, threads=1)

MIXED = [(1, 1), (24, 16), (5, 7), (24, 16), (1, 30), (40, 9), (24, 16), (8, 8), (3, 3)]


def same(pictures, back):
    assert len(back) == len(pictures)
    for one, other in zip(pictures, back):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.fixture(scope="module")
def pictures(synthetic):
    """Twelve of one size."""
    return [synthetic(24, 32, seed) for seed in range(12)]


@pytest.fixture
def coded_only(monkeypatch):
    """No group is stored."""
    monkeypatch.setattr(stored, "smaller", lambda record, *_: record)


@pytest.mark.parametrize("groups", [None, 1, 2, 4, 9, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_mixed_sizes(tiny, synthetic, coded_only, mode, groups):
    mixed = [synthetic(*shape, seed) for seed, shape in enumerate(MIXED)]
    mixed = mixed if mode == "RGB" else [np.ascontiguousarray(pixels[..., 1]) for pixels in mixed]
    data = compress_many(mixed, model=tiny, groups=groups)
    same(mixed, decompress_many(data, model=tiny))
    contents = container.read(data)
    (part,) = contents.parts
    assert part.planes.chains == len(contents.records) == min(groups or 1, 9)
    assert {record.method for record in contents.records} == {Method.CHAIN}


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_round_trip(tiny, data):
    mode = data.draw(st.sampled_from(["RGB", "L"]))
    sizes = data.draw(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    tail = (3,) if mode == "RGB" else ()
    some = [
        rng.integers(0, data.draw(st.sampled_from([1, 9, 256])), (*size, *tail), np.uint8, endpoint=False)
        for size in sizes
    ]
    coded = compress_many(some, model=tiny, groups=data.draw(st.integers(1, 7)), verify=False)
    assert len(coded) <= sum(pixels.size for pixels in some) + 70 + 20 * len(some)
    same(some, decompress_many(coded, model=tiny))


def test_one(tiny, pictures):
    """A list of one; and a file of one picture is a list of one."""
    data = compress_many(pictures[:1], model=tiny)
    same(pictures[:1], decompress_many(data, model=tiny))
    assert np.array_equal(vlae_codec.decompress(data, model=tiny), pictures[0])
    with pytest.raises(InputError, match=r"2 pictures: use .*decompress_pictures"):
        vlae_codec.decompress(compress_many(pictures[:2], model=tiny), model=tiny)
    single = vlae_codec.compress(pictures[0], model=tiny, effort=1, threads=1)
    same(pictures[:1], decompress_many(single, model=tiny))


def test_array(tiny, pictures):
    """One array of all pictures is as good as a list."""
    assert compress_many(np.stack(pictures[:3]), model=tiny) == compress_many(pictures[:3], model=tiny)


def test_bilevel(tmp_path, random_vlae, coded_only):
    from vlae_codec.models.export import integer_tensors
    from vlae_codec.models.weights_file import save_weights

    vlae = random_vlae(levels=2, channels=1)
    path = tmp_path / "bilevel.safetensors"
    save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
    rng = np.random.default_rng(1)
    some = [rng.random(shape) > 0.3 for shape in MIXED]
    data = compress_many(some, model=path, groups=2)
    assert container.read(data).records[0].method == Method.CHAIN
    same(some, decompress_many(data, model=path))
    with pytest.raises(InputError, match=r"bilevel .*not pictures of mode L"):
        compress_many([pixels.astype(np.uint8) for pixels in some], model=path)


def test_stored():
    """Noise costs its pixels, packed where they are bits, and no model is needed to read it."""
    rng = np.random.default_rng(2)
    noise = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in MIXED]
    data = compress_many(noise, groups=2)
    assert {record.method for record in container.read(data).records} == {Method.RAW}
    assert len(data) <= sum(pixels.size for pixels in noise) + 120
    same(noise, decompress_many(data, model="no-such-model"))


def test_info(tiny, pictures, tmp_path):
    path = tmp_path / "many.vlae"
    runner = CliRunner()
    for some, text in [
        (pictures, "12 of 32x24 RGB, 8 bits"),
        ([*pictures, pictures[0][:5]], "13 of 2 sizes, the first 3"),
    ]:
        path.write_bytes(compress_many(some, model=tiny, groups=2))
        facts = json.loads(runner.invoke(main, ["info", str(path), "--json"]).stdout)
        size = path.stat().st_size
        assert (facts["pictures"], facts["streams"], facts["methods"]) == (len(some), 2, {"chain": 2})
        assert facts["bpsp"] == pytest.approx(8 * size / sum(pixels.size for pixels in some))
        assert sum(facts["items"].values()) == size
        shown = runner.invoke(main, ["info", str(path)]).stdout
        assert text in shown
        assert "2 chains (chain 2)" in shown
    failed = runner.invoke(main, ["decompress", str(path), "-o", str(tmp_path / "out.webp"), "--model", str(tiny)])
    assert failed.exit_code == 1
    assert "13 pictures" in failed.stderr


# ---------------------------------------------------------------------------------------------------- latents


@pytest.mark.parametrize("groups", [1, 3])
def test_latents(tiny, pictures, groups):
    """Only the first of a group lacks latents; the file is as small as the model says."""
    data = compress_many(pictures, model=tiny, groups=groups)
    ledger = account(data, tiny)
    contents = container.read(data)
    assert [record.method for record in contents.records] == [Method.CHAIN] * groups
    for record in contents.records:
        rows, position = layout._read_splits(record.data, [3] * (12 // groups))
        assert rows[0] < 3
        assert rows[1:] == [3] * (12 // groups - 1)
        assert position <= 4
    bits = sum(ledger.bits.values())
    streams_bits = 8 * sum(len(record.data) for record in contents.records)
    assert 0 < streams_bits - bits < groups * 96  # a head, the runs of splits, what the words round up
    assert 8 * len(data) - streams_bits < 8 * (62 + 8 * groups)
    assert bits < ledger.modes["no latents"]


def test_smaller_than_single_files(tiny, pictures):
    together = compress_many(pictures, model=tiny, groups=1)
    alone = [vlae_codec.compress(pixels, model=tiny, effort=1, threads=1) for pixels in pictures]
    assert len(together) < sum(map(len, alone)) - 11 * 50


def test_no_latents(tiny):
    """Where latents do not pay, no picture of the group has them."""
    flat = [np.full((24, 32, 3), seed, np.uint8) for seed in range(12)]
    codec = find_codec(tiny, None, "cpu", "RGB")
    record = streams.encode_chain(codec, flat, 3, planes.CHAIN_LANE_SYMBOLS)
    assert layout._read_splits(record.data, [3] * 12)[0] == [0] * 12
    assert record.data[:2] == bytes(2)
    (back,) = streams.decode(codec, [record], [[(24, 32)] * 12], 3, planes.CHAIN_LANE_SYMBOLS)
    same(flat, back)


def test_lanes(tiny, pictures):
    """Several lanes are legal; `many` takes one."""
    codec = find_codec(tiny, None, "cpu", "RGB")
    sizes = {}
    for lane_symbols in (planes.CHAIN_LANE_SYMBOLS, 2000):
        record = streams.encode_chain(codec, pictures, 3, lane_symbols)
        (back,) = streams.decode(codec, [record], [[(24, 32)] * 12], 3, lane_symbols)
        same(pictures, back)
        sizes[lane_symbols] = len(record.data)
    assert sizes[planes.CHAIN_LANE_SYMBOLS] < sizes[2000] - 32


def test_large_pictures(tiny, synthetic, monkeypatch, coded_only):
    """The tiles of a picture are links of the chain."""
    monkeypatch.setattr(encode, "TILE_SIZE", 24)
    some = [synthetic(*shape, seed) for seed, shape in enumerate([(50, 30), (24, 24), (25, 49)])]
    data = compress_many(some, model=tiny, groups=2)
    same(some, decompress_many(data, model=tiny))
    record = container.read(data).records[0]
    most = [h // 8 for shape in [(50, 30), (25, 49)] for _, _, h, _ in container.tile_grid(*shape[::-1], 24)]
    assert len(most) == 12
    rows, _ = layout._read_splits(record.data, most)
    assert rows[2:] == most[2:]


def test_default_groups(tiny, pictures, monkeypatch):
    monkeypatch.setattr(planes, "CHAIN_BITS", 20000)
    bits = 8 * len(compress_many(pictures, model=tiny, groups=1))
    groups = len(container.read(compress_many(pictures, model=tiny)).records)
    assert groups == pytest.approx(bits / 20000, abs=1.5)
    assert groups > 1
    monkeypatch.setattr(planes, "CHAIN_PIXELS", 2 * 24 * 32)
    assert len(container.read(compress_many(np.zeros((12, 24, 32), np.uint8), model=tiny)).records) == 6


def test_same_bytes(tiny, pictures, backend, monkeypatch):
    """Every device, 1 and 2 threads, groups one by one and all at once."""
    some = pictures[:5] if backend == "cpu" else [pixels[:, :20] for pixels in pictures[:3]]
    expected = compress_many(some, model=tiny, device="cpu", groups=2, verify=False)
    for threads in (1, 2) if backend == "cpu" else (2,):
        options = {"model": tiny, "device": backend, "threads": threads}
        assert compress_many(some, **options, groups=2, verify=False) == expected
        for batch in (1, 1 << 22):
            monkeypatch.setattr(pieces, "BATCH_PIXELS", batch)
            same(some, vlae_codec.decompress_many(expected, **options))


def test_golden(tiny, backend):
    """What was once written is read for ever, and written again byte for byte."""
    data = (make_golden.DATA / "many.vlae").read_bytes()
    contents = container.read(data)
    assert [record.method for record in contents.records] == [Method.CHAIN] * 2
    same(make_golden.many_pictures(), decompress_many(data, model=tiny, device=backend))
    assert make_golden.compress_many_golden(device=backend, threads=1, verify=False) == data


def test_progress(tiny, pictures):
    seen: list[tuple[int, int]] = []
    total = 12 * 24 * 32
    data = compress_many(pictures, model=tiny, verify=False, groups=2, progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    seen.clear()
    decompress_many(data, model=tiny, progress=lambda *pair: seen.append(pair))
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


# ---------------------------------------------------------------------------------------------------- refusals


def test_invalid(tiny, pictures, monkeypatch):
    with pytest.raises(InputError, match="no pictures"):
        compress_many([], model=tiny)
    for groups in (0, -1):
        with pytest.raises(InputError, match="groups"):
            compress_many(pictures, model=tiny, groups=groups)
    with pytest.raises(UnsupportedImage):
        compress_many([pictures[0], pictures[0] * 1j], model=tiny)
    with pytest.raises(InputError, match="threads"):
        compress_many(pictures, model=tiny, threads=0)
    with pytest.raises(ImageTooLarge, match="12 pictures"):
        compress_many(pictures, model=tiny, limits=vlae_codec.Limits(pictures=11))


def test_unknown_model(tiny, pictures):
    data = compress_many(pictures, model=tiny)
    with pytest.raises(UnknownModel):
        decompress_many(data)


def test_verify(tiny, pictures, monkeypatch):
    restored = modes.restored
    found = iter([False] * 11 + [True])
    monkeypatch.setattr(encode, "restored", lambda *args: restored(*args) ^ next(found))
    with pytest.raises(VlaeError, match="did not come back"):
        compress_many(pictures, model=tiny)


def test_truncated_and_flipped(tiny, pictures):
    data = compress_many(pictures[:3], model=tiny)
    for length in (0, 8, 33, 50, len(data) // 2, len(data) - 1):
        with pytest.raises(VlaeError):
            decompress_many(data[:length], model=tiny)
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 200).tolist():
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VlaeError):
            decompress_many(bytes(damaged), model=tiny)


def test_damage_behind_good_checksums(tiny, pictures):
    """Streams and tables that are wrong although every checksum of the container is right."""
    contents = container.read(compress_many(pictures, model=tiny, groups=2))
    first, second = contents.records

    def refused(groups, *runs):
        header = replace(contents.header, runs=runs or contents.header.runs)
        with pytest.raises(CorruptFile, match="group"):
            decompress_many(file_of(header, groups), model=tiny)

    _, begin = layout._read_splits(second.data, [3] * 6)
    for runs in (b"\0\3", b"\0\0", b"\5\0\0\3", b"\6\0\0\3", b"\7\0\0\3", b"\x81\0\0\3"):
        refused([first, TileRecord(Method.CHAIN, runs + second.data[begin:])])
    for bit in np.random.default_rng(3).integers(8 * begin, 8 * len(second.data), 12).tolist():
        stream = bytearray(second.data)
        stream[bit // 8] ^= 1 << bit % 8
        refused([first, TileRecord(Method.CHAIN, bytes(stream))])
    for length in (0, 1, 4, 11, 12, 40, len(second.data) - 4):
        refused([first, TileRecord(Method.CHAIN, second.data[:length])])
    refused([second, first][:1] * 2, (13, 0, 32, 24))  # a group of one picture more than it has
    refused([first, second], (10, 0, 32, 24))
    refused([first, second], (11, 0, 32, 24), (1, 0, 31, 24))
    refused([first, TileRecord(Method.RAW, b"?" * 99)])


def test_swapped_pictures(tiny, pictures):
    """The seed covers the order."""
    codec = find_codec(tiny, None, "cpu", "RGB")
    record = streams.encode_chain(codec, pictures[:2], 3, planes.CHAIN_LANE_SYMBOLS)
    rows, position = layout._read_splits(record.data, [3, 3])
    message = ans.from_bytes(record.data[position:], 1)
    for tile, n in zip(reversed(pictures[:2]), reversed(rows)):
        pair = codec.tiles([(24, 32)], [8 * n], 3)
        (message,), ((upper,), (lower,)) = pair.pop([message])
        assert np.array_equal(np.concatenate([upper, lower]), tile_of(tile, 3))
    assert not ans.is_empty(message)
    assert len(message.words) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=30))
def test_splits(pairs):
    rows, most = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    data = layout.pack_splits(rows, most)
    assert layout._read_splits(data + b"rest", most) == (rows, len(data))
    for length in range(len(data)):
        with pytest.raises(CorruptFile):
            layout._read_splits(data[:length], most)
    with pytest.raises(CorruptFile):
        layout._read_splits(bytes([len(most) % 128, 0, 0, 0]), most[: len(most) % 128])
