"""Planes known beside a tile: their features, tiles coded beside them, luma at chroma's places, and who may do so."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch

import vlae_codec
from vlae_codec.adapter import chunk
from vlae_codec.adapter.effort import LEVELS
from vlae_codec.adapter.fit import fit, look
from vlae_codec.coder.choice import Draft
from vlae_codec.coder.inference import side_rows
from vlae_codec.coder.streams import decode, encode_tile, retrace, with_latents, without_latents
from vlae_codec.contract import SIDE_OFFSETS, side_features
from vlae_codec.errors import CorruptFile, InputError, WeightsError
from vlae_codec.format.container import Method, Part
from vlae_codec.format.header import SOURCE_PLANES, Kind, Layout, Origin, Planes
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.weights_file import save_weights
from vlae_codec.native.mixture import COST_UNIT
from vlae_codec.pictures.codec import codec_for, codes, find_codec, with_adapter
from vlae_codec.pictures.sources import Sources, luma_beside
from vlae_codec.weights.model import build, load_weights

SHAPES = [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (3, 3), (20, 17)]


def planes_of(height: int, width: int, count: int = 2) -> list[np.ndarray]:
    """Uneven planes with both ends of the range."""
    rng = np.random.default_rng(height * 100 + width)
    return [rng.choice([0, 3, 90, 128, 200, 255], (height, width)).astype(np.uint8) for _ in range(count)]


def picture(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(make_golden.synthetic(height, width, 3)[..., :1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2])
def test_rows(shape, count):
    """As the description says, pixel by pixel; so does training."""
    planes = planes_of(shape[0], shape[1], count)
    height, width = shape
    expected = np.zeros((height, width, side_features(count)), int)
    for y in range(height):
        for x in range(width):
            row = []
            for plane in planes:
                here = int(plane[y, x])
                for r, c in SIDE_OFFSETS:
                    inside = 0 <= y + r < height and 0 <= x + c < width
                    difference = int(plane[y + r, x + c]) - here if inside else 0
                    row.append(min(max(difference, -128), 127))
                row.append(here - 128)
            expected[y, x] = row
    found = side_rows(planes)
    assert found.dtype == np.int8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_rows(random_vlae, shape):
    """Of a batch of two tiles, in any order of pixels."""
    vlae = random_vlae(channels=1, side=2)
    tiles = [planes_of(*shape), [255 - plane for plane in planes_of(*shape)]]
    side = torch.from_numpy(np.stack([np.stack(planes, -1) for planes in tiles]))
    count = 2 * shape[0] * shape[1]
    at = torch.from_numpy(np.random.default_rng(1).permutation(count))
    expected = np.concatenate([side_rows(planes).reshape(-1, side_features(2)) for planes in tiles])[at.numpy()]
    assert np.array_equal(vlae.side_rows(side, at).numpy(), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (26, 21), (40, 33)])
def test_round_trip(random_codec, shape):
    """With latents and without. A ledger has what a stream holds."""
    x, planes = picture(*shape), planes_of(*shape)
    codec = random_codec(channels=1, side=2).beside(planes)
    draft = Draft(codec, x, 1)
    made = with_latents(draft, 500)
    records = [without_latents(draft, 500)[0], *([] if made is None else [made[0]])]
    assert shape != (40, 33) or {record.method for record in records} == {Method.NO_LATENTS, Method.LATENTS}
    assert encode_tile(codec, x, 1, 500) in records
    for record in records:
        assert np.array_equal(decode(codec, [record], [[shape]], 1, 500)[0][0], x)
        ((tile, _, _, spent),) = retrace(codec, record, [shape], 1, 500)
        assert np.array_equal(tile, x)
        assert sum(spent.costs.values()) / COST_UNIT < 8 * len(record.data) + 64


def test_they_matter(random_codec):
    """Beside other planes it is another stream, and the wrong ones do not decode it."""
    x, planes = picture(26, 21), planes_of(26, 21)
    plain = random_codec(channels=1, side=2)
    codec, other = plain.beside(planes), plain.beside([planes[0], planes[0]])
    record = encode_tile(codec, x, 1, 500)
    assert encode_tile(other, x, 1, 500) != record
    with pytest.raises(CorruptFile):
        decode(other, [record], [[(26, 21)]], 1, 500)
    assert plain.beside([]) is plain


def test_levels_stay(random_codec):
    """A codec beside planes is at its model's levels, and stays beside them."""
    x, planes = picture(20, 17), planes_of(20, 17)
    codec = random_codec(channels=1, side=2).beside(planes)
    assert encode_tile(codec.scaled(256, 0), x, 1, 500) == encode_tile(codec, x, 1, 500)


def test_adapter(random_codec):
    """An adapter changes what stands beside the context, too."""
    x, planes = picture(40, 33), planes_of(40, 33)
    plain = random_codec(channels=1, side=2)
    payload = chunk.pack(make_golden.some_adapter(plain.model.local, [2, 3]), plain.model.tables)
    codec = with_adapter(plain, payload).beside(planes)
    record = encode_tile(codec, x, 1, 500)
    assert record != encode_tile(plain.beside(planes), x, 1, 500)
    assert np.array_equal(decode(codec, [record], [[(40, 33)]], 1, 500)[0][0], x)


def test_fit(random_codec):
    """A fit sees what is beside each tile: before it the pixels cost what their streams take."""
    shapes = [(40, 33), (24, 30)]
    tiles, sides = [picture(*shape) for shape in shapes], [planes_of(*shape) for shape in shapes]
    plain = random_codec(channels=1, side=2)
    own = [plain.beside(planes) for planes in sides]
    problem = look(plain, tiles, 1, LEVELS[2], map, 1, own.__getitem__)
    streams = sum(8 * len(without_latents(Draft(codec, tile, 1), 500)[0].data) for codec, tile in zip(own, tiles))
    assert 0.9 * streams < problem.before < 1.1 * streams
    found = fit(problem, LEVELS[2], map)
    if found is not None:
        payload = chunk.pack(found, plain.model.tables)
        adapted = [with_adapter(plain, payload).beside(planes) for planes in sides]
        after = sum(8 * len(without_latents(Draft(codec, tile, 1), 500)[0].data) for codec, tile in zip(adapted, tiles))
        assert after < 1.01 * streams


def plain_luma(luma: np.ndarray, planes: Planes, row: int, column: int) -> int:
    """The luma beside a sample of chroma, by the words of the description."""
    weights: dict[tuple[int, int], int] = {}
    for dy, wy in taps(planes, 1):
        for dx, wx in taps(planes, 0):
            y = planes.halved[1] * row + planes.shifted[1] + dy
            x = planes.halved[0] * column + planes.shifted[0] + dx
            place = min(max(y, 0), luma.shape[0] - 1), min(max(x, 0), luma.shape[1] - 1)
            weights[place] = weights.get(place, 0) + wy * wx
    total = sum(weights.values())
    half = total // 2
    return (sum(weight * int(luma[place]) for place, weight in weights.items()) + half) // total


def taps(planes: Planes, axis: int) -> list[tuple[int, int]]:
    if planes.halved[axis] == 1:
        return [(0, 1)]
    return [(-1, 1), (0, 2), (1, 1)] if planes.cosited else [(0, 1), (1, 1)]


@pytest.mark.parametrize("geometry", [0, 1, 2, 3, 5, 10, 11, 15, 33, 34, 35, 47])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 8)])
def test_luma_beside(geometry, size):
    """Whole, and of a part of a plane."""
    (luma,) = planes_of(size[0], size[1], 1)
    planes = Planes(1, 256, kind=Kind.SOURCE, geometry=geometry)
    width, height = planes.size(size[1], size[0])
    expected = [[plain_luma(luma, planes, row, column) for column in range(width)] for row in range(height)]
    found = luma_beside(luma, planes, (0, 0, height, width))
    assert found.dtype == np.uint8
    assert found.tolist() == expected
    if height > 2 and width > 2:
        part = luma_beside(luma, planes, (1, 2, height - 2, width - 2))
        assert np.array_equal(part, found[1:-1, 2:])


def test_known_beside(random_codec):
    """The first plane of chroma has the luma and 128 beside it, the second one the luma and the first."""
    luma, blue = planes_of(8, 6)
    planes = Planes(1, 256, tile_size=8, kind=Kind.SOURCE)
    sources = Sources({3: [luma, blue]})
    layout = Layout("RGB", (planes,) * 3, channels=3, origin=Origin(SOURCE_PLANES, b"\x01\x00\x00"))
    part = Part(layout, planes, 1, ((3, 6, 8),))
    for channel, before in ((1, np.full((4, 3), 128)), (2, blue[2:6, 1:4])):
        for count in (1, 2):
            known = sources.beside(replace(part, channel=channel), random_codec(channels=1, side=count))
            assert known is not None
            found = known((3, (2, 1, 4, 3)))
            assert len(found) == count
            for plane, expected in zip(found, (luma[2:6, 1:4], before)):
                assert np.array_equal(plane, expected)
    assert sources.beside(part, random_codec(channels=1)) is None
    assert sources.beside(part, None) is None


# ---------------------------------------------------------------------------------------------------- models


def test_schema(random_vlae, tmp_path):
    """Up to two planes; the local network has their inputs, and no others."""
    vlae = random_vlae(channels=1, side=2)
    config, tensors = vlae.config.to_dict(), integer_tensors(vlae)
    path = tmp_path / "side.safetensors"
    save_weights(path, config, tensors)
    assert load_weights(path).config["side"] == 2
    for side in (0, 1, 3, -1, True, 2.0, "2", None, [2]):
        with pytest.raises(WeightsError):
            build({**config, "side": side}, tensors)
    with pytest.raises(WeightsError, match="side = 3, which is not allowed"):
        build({**config, "side": 3}, tensors)
    with pytest.raises(WeightsError):
        build({key: value for key, value in config.items() if key != "side"}, tensors)
    without = random_vlae(channels=1)
    assert "side" not in without.config.to_dict()
    assert build({**without.config.to_dict(), "side": 0}, integer_tensors(without)).config["side"] == 0
    inputs = [made["local.hidden.0.weight"].shape[0] for made in (integer_tensors(without), tensors)]
    assert inputs[1] - inputs[0] == side_features(2)


def test_whom_they_code(random_vlae, tmp_path):
    """Only chroma, whoever asks."""
    vlae = random_vlae(channels=1, side=2)
    path = tmp_path / "side.safetensors"
    save_weights(path, vlae.config.to_dict(), integer_tensors(vlae))
    config = load_weights(path).config
    assert [mode for mode in ("RGB", "L", "1", "luma", "chroma") if codes(config, mode)] == ["chroma"]
    with pytest.raises(InputError, match="codes chroma planes"):
        vlae_codec.compress(picture(8, 8)[..., 0], model=path, effort=1)
    model_id = load_weights(path).id
    assert find_codec(path, model_id, "cpu", "chroma").config["side"] == 2
    for mode in ("L", "RGB", "luma"):
        with pytest.raises(CorruptFile, match="does not code planes"):
            find_codec(path, model_id, "cpu", mode)
    layout = Layout("L", (Planes(1, 256, model_id),))
    with pytest.raises(CorruptFile, match="mode L"):
        codec_for(Part(layout, layout.planes[0], 0, ((0, 8, 8),)), path, "cpu")
