"""Files whose model learns while it codes: which do, that they come back, and what is said of them."""

from dataclasses import replace

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image

from vlae_codec import bits_map, compress, compress_many, decompress, errors
from vlae_codec.adapter import fit
from vlae_codec.coder import choice
from vlae_codec.coder.streams import decode, encode_tile
from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import Pace
from vlae_codec.format import container
from vlae_codec.format.container import Method
from vlae_codec.format.header import Header
from vlae_codec.pictures import part as part_of
from vlae_codec.pictures import planes
from vlae_codec.pictures.planes import Options
from vlae_codec.views.describe import describe
from vlae_codec.weights.model import find_model, load_weights


@pytest.fixture(scope="module")
def picture(synthetic):
    """It is unlike what the model was trained on, and has all levels."""
    made = 255 - synthetic(96, 128, 9) // 2
    made[-1] = np.arange(128)[:, None]
    return made


def planes_of(data):
    return [part.planes for part in container.read(data).parts]


def test_deep_samples_are_tried_at_a_slower_rate(monkeypatch):
    """Those of 8 bits are not, where they gain what photographs do."""
    tried: list[Pace | None] = []
    learning = TileCodec.learning

    def noted(codec: TileCodec, pace: Pace | None) -> TileCodec:
        tried.append(pace)
        return learning(codec, pace)

    monkeypatch.setattr(TileCodec, "learning", noted)
    photograph = np.asarray(Image.open(make_golden.EXAMPLE).convert("L"))
    compress(photograph, effort=2, verify=False)
    assert set(tried) - {None} == {Pace(0)}
    tried.clear()
    below = np.random.default_rng(5).integers(0, 16, photograph.shape, np.uint16)
    compress(photograph.astype(np.uint16) * 16 + below, effort=2, verify=False)
    assert set(tried) - {None} == {Pace(0), planes.SLOWER}


def test_efforts(learns, picture):
    """From effort 2 on it learns, and it is smaller; effort 2 fits no adapter."""
    made = {effort: compress(picture, model=learns, effort=effort) for effort in (1, 2, 3)}
    assert [planes_of(data)[0].pace for data in made.values()] == [None, Pace(0), Pace(0)]
    assert len(made[2]) < len(made[1])
    assert container.read(made[2]).parts[0].adapter is None
    for data in made.values():
        assert np.array_equal(decompress(data, model=learns), picture)
    assert len(made[3]) <= len(made[2])


def test_no_latents_in_large_tiles(learns, synthetic, monkeypatch):
    """Where a model learns a large tile is one band, and of a small one the better form is taken."""
    pixels, codec = synthetic(65, 64, 1), TileCodec(load_weights(learns))
    methods = []
    for tried in (1 << 16, 1024):
        monkeypatch.setattr(choice, "TRIED", tried)
        for pace in (None, Pace(0)):
            record = encode_tile(codec.learning(pace), pixels, 3, 32768)
            (found,) = decode(codec.learning(pace), [record], [[(65, 64)]], 3, 32768)[0]
            assert np.array_equal(found, pixels)
            methods.append(record.method)
    assert methods == [Method.LATENTS, Method.LATENTS, Method.LATENTS, Method.NO_LATENTS]


def test_default_models():
    """Where nothing is learnt, at effort 1, in small pictures and in chains, the default model is not a learner."""
    still, learner = (find_model(name).id for name in ("photo", "photo-learner"))
    photograph = np.asarray(Image.open(make_golden.EXAMPLE).convert("RGB"))
    small = photograph[100:148, 100:148]
    for pictures, effort, wanted in ((photograph, 1, still), (photograph, 2, learner), (small, 2, still)):
        data = compress(pictures, effort=effort)
        (planes,) = planes_of(data)
        assert (planes.model_id, planes.pace) == (wanted, Pace(0) if wanted == learner else None)
        assert np.array_equal(decompress(data), pictures)
    lists = [photograph[y : y + 48, x : x + 48] for x in (100, 160) for y in (100, 160)]
    (planes,) = planes_of(compress_many(lists, effort=2))
    assert (planes.model_id, planes.pace) == (still, None)
    (planes,) = planes_of(compress(small, effort=2, model="photo-learner"))
    assert planes.model_id == learner


def test_whether_an_adapter_pays(learns, synthetic, monkeypatch):
    """An adapter that gains enough where nothing learns is tried beside none, and the smaller file is taken."""
    picture, made = np.rot90(255 - synthetic(256, 320, 9) // 2), list[tuple[bytes | None, int]]()
    plain = part_of.encode_part

    def noted(*arguments):
        part = plain(*arguments)
        if part.planes.pace is not None:
            made.append((part.adapter, part_of.size_of(part)))
        return part

    monkeypatch.setattr(planes, "encode_part", noted)
    monkeypatch.setattr(planes, "SMALL", 0)
    monkeypatch.setattr(planes, "USUAL", (-9.0, 9.0))  # so that no slower pace is tried
    for unlikely, tries in ((-9.0, 2), (9.0, 1)):
        made.clear()
        monkeypatch.setattr(fit, "UNLIKELY", unlikely)
        (part,) = container.read(compress(picture, model=learns, effort=3)).parts
        assert [adapter is not None for adapter, _ in made] == [False, True][:tries]
        assert part_of.size_of(part) == min(size for _, size in made)


def test_grey_and_alpha(learns, picture):
    """A model of three channels learns by one as well; another model's channels do as that one can."""
    grey = np.ascontiguousarray(picture[..., 0])
    data = compress(grey, model=learns, effort=2)
    assert planes_of(data)[0].pace == Pace(0)
    assert np.array_equal(decompress(data, model=learns), grey)
    alpha = np.concatenate([picture, picture[..., :1]], axis=2)
    data = compress(alpha, model=learns, effort=2)
    assert planes_of(data)[0].pace == Pace(0)
    assert np.array_equal(decompress(data, model=learns), alpha)


def test_deep(learns, synthetic):
    """Samples of 16 bits and those of few values learn."""
    shades = 255 - synthetic(96, 128, 9)[..., 0]
    for pixels in (shades // 3, shades.astype(np.uint16) * 97 + shades[::-1]):
        data = compress(pixels, model=learns, effort=2)
        assert planes_of(data)[0].pace == Pace(0)
        assert len(data) < len(compress(pixels, model=learns, effort=1))
        assert np.array_equal(decompress(data, model=learns), pixels)


def test_not(learns, tiny, picture):
    """Models that cannot, chains and pictures that are stored do not learn."""
    assert planes_of(compress(picture, model=tiny, effort=2))[0].pace is None
    assert all(part.pace is None for part in planes_of(compress_many([picture[:24]] * 3, model=learns, effort=2)))
    assert planes_of(compress(np.full_like(picture, 7), model=learns, effort=2))[0].pace is None


def test_origin():
    """Source planes learn, and pixels of an origin's values: of the shipped models."""
    picture = make_golden.pasts()["webp"].pixels
    data = compress(picture, effort=2)
    assert [part.pace for part in planes_of(data)] == [Pace(0)] * 3 + [None]
    assert np.array_equal(decompress(data), picture)
    picture = make_golden.pasts()["values"].pixels
    data = compress(picture, effort=2, origin="values", model="photo-learner")
    assert [part.pace for part in planes_of(data)] == [Pace(0)]
    assert np.array_equal(decompress(data), picture)
    assert len(data) <= len(compress(picture, effort=1, origin="values", model="photo-learner"))


def test_told(learns, picture):
    """A report of the file says it, and where the bits are is seen as in any other."""
    data = compress(picture, model=learns, effort=2)
    assert describe(data)["planes"][0]["learning"] == {"rate": 1.0, "layers": "all"}
    found = bits_map(data, learns)
    assert found.local.sum() + found.latent.sum() == pytest.approx(8 * describe(data)["items"]["data"], rel=0.01)


def test_cannot(learns, tiny, picture):
    """A file that says so of a model that cannot learn is damaged."""
    contents = container.read(compress(picture, model=learns, effort=2))
    (part,) = contents.parts
    said = replace(part.planes, model_id=find_model(tiny).id)
    layout = replace(part.layout, planes=(said,))
    head = Header.of([layout], [(0, picture.shape[1], picture.shape[0])])
    data = container.write(head, [replace(part, layout=layout, planes=said)])
    with pytest.raises(errors.CorruptFile, match="cannot learn"):
        decompress(data, model=tiny)


def test_tiles(learns, tiny, synthetic):
    """Where a model learns, a picture has as few tiles as their most allows, and even ones."""
    picture = synthetic(40, 768, 9)
    for effort, tile, size in ((1, None, 512), (2, None, 768), (2, 256, 256)):
        data = compress(picture, model=learns, effort=effort, tile=tile)
        assert planes_of(data)[0].tile_size == size
        assert np.array_equal(decompress(data, model=learns), picture)
    learner, other = TileCodec(load_weights(learns)), TileCodec(load_weights(tiny))
    sides = (40, 512, 513, 768, 769, 2000)
    made = {side: Options(2, 1).tile_size(learner, [(side, 20), (30, 40)]) for side in sides}
    assert made == {40: 512, 512: 512, 513: 528, 768: 768, 769: 400, 2000: 672}
    assert Options(5, 1).tile_size(learner, [(1000, 3000)]) == 1008
    assert Options(5, 1).tile_size(other, [(1000, 3000)]) == Options(5, 1).tile_size(None, [(1000, 9)]) == 512
