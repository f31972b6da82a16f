"""Tiles without a model."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlae_codec import errors
from vlae_codec.format import container, stored
from vlae_codec.format.container import Method

RNG = np.random.default_rng(5)
CONSTANT = np.full((64, 48, 3), 200, np.uint8)
NOISE = RNG.integers(0, 256, (33, 47, 3), np.uint8)
RAMP = (np.arange(64 * 64 * 3) // 3 % 251).astype(np.uint8).reshape(64, 64, 3)


def restore(method, data, shape):
    """The tile (h, w, C) of a stream."""
    (pixels,) = stored.restore(method, data, [shape[:2]], "RGB" if shape[2] == 3 else "L")
    return pixels.reshape(shape)


@pytest.mark.parametrize("tile", [CONSTANT, NOISE, RAMP, NOISE[:1, :1], RAMP[..., :1], RAMP[:, ::2]])
def test_sanity(tile):
    method, data = stored.store(tile)
    assert len(data) <= tile.size
    restored = restore(method, data, tile.shape)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, tile)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(1, 256), st.randoms())
def test_round_trip(height, width, channels, colours, random):
    tile = np.array([random.randrange(colours) for _ in range(height * width * channels)], np.uint8)
    tile = tile.reshape(height, width, channels)
    assert np.array_equal(restore(*stored.store(tile), tile.shape), tile)


def test_choice():
    assert stored.store(NOISE) == (Method.RAW, NOISE.tobytes())
    method, data = stored.store(CONSTANT)
    assert method == Method.LZMA
    assert len(data) < 100


def test_quick_bound():
    assert stored.quick_bound(CONSTANT) < 200
    assert NOISE.size < stored.quick_bound(NOISE) < NOISE.size + 100


def test_invalid():
    shape = CONSTANT.shape
    _, data = stored.store(CONSTANT)
    for bad in [b"", data[:1], b"\x07" + data[1:], data + b"?", b"\0" + b"\xff" * 50]:
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, bad, shape)
    for wrong in [(64, 48, 1), (64, 49, 3), (1, 1, 3)]:
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, data, wrong)
        with pytest.raises(errors.CorruptFile):
            restore(Method.RAW, CONSTANT.tobytes(), wrong)
    with pytest.raises(ValueError, match="not a stored one"):
        restore(Method.LATENTS, data, shape)


def test_truncated():
    _, data = stored.store(RAMP)
    for length in range(len(data)):
        with pytest.raises(errors.CorruptFile):
            restore(Method.LZMA, data[:length], RAMP.shape)


def test_bomb(monkeypatch):
    """A stream that unpacks to 64 MiB gives an error after one byte more than the shape holds."""
    bomb = b"\0" + lzma.compress(bytes(2**26), lzma.FORMAT_RAW, filters=stored._filters(0, 1))
    sizes = []

    class Watched:
        def __init__(self, *args, **options):
            self.decoder = lzma.LZMADecompressor(*args, **options)

        def decompress(self, data, max_length):
            raw = self.decoder.decompress(data, max_length)
            sizes.append(len(raw))
            return raw

        def __getattr__(self, name):
            return getattr(self.decoder, name)

    monkeypatch.setattr(stored, "lzma", type("Module", (), {**vars(lzma), "LZMADecompressor": Watched}))
    with pytest.raises(errors.CorruptFile):
        restore(Method.LZMA, bomb, (4, 4, 1))
    assert sizes == [16, 1]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=5),
    st.sampled_from(["L", "RGB", "1"]),
    st.integers(1, 256),
    st.integers(0, 2**32 - 1),
)
def test_pictures(shapes, mode, colours, seed):
    """Several pictures as one stream; bilevel ones take an eighth of a byte a pixel, and what fills each row."""
    rng = np.random.default_rng(seed)
    tail = (3,) if mode == "RGB" else ()
    pictures = [rng.integers(0, colours, (*shape, *tail)).astype(bool if mode == "1" else np.uint8) for shape in shapes]
    joined = stored.joined(pictures)
    method, data = stored.store(joined)
    assert len(data) <= joined.size
    if mode == "1":
        assert joined.size == sum(h * -(-w // 8) for h, w in shapes)
    restored = stored.restore(method, data, shapes, mode)
    for one, other in zip(pictures, restored, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_bilevel_invalid():
    assert next(stored.restore(Method.RAW, b"\xff\x80", [(1, 9)], "1")).all()
    for bad in (b"\xff\xc0", b"\xff\x01", b"\xff", b"\xff\x80\0"):
        with pytest.raises(errors.CorruptFile):
            list(stored.restore(Method.RAW, bad, [(1, 9)], "1"))


def test_blank():
    """All samples are equal, and LZMA takes fewer bytes than a file asks of a model."""
    white = np.full((256, 512), 255, np.uint8)
    assert stored.is_blank([white])
    assert stored.is_blank([white[:100], white[:156]])
    assert not stored.is_blank([white[:255]])
    assert not stored.is_blank([white[:128], white[:128] - 1])
    spot = white.copy()
    spot[7, 9] = 254
    assert not stored.is_blank([spot])
    header = container.Header(512, 256, "L", b"whatever")
    parts = [(0, (0, 0, 256, 512))]
    record = stored.keep(header, parts, [white])
    assert record.method == Method.LZMA
    assert container.sparse(Method.NO_LATENTS, len(record.data), header, parts)
    assert not container.sparse(Method.NO_LATENTS, 120, header, parts)
    (back,) = stored.restore(record.method, record.data, [(256, 512)], "L")
    assert np.array_equal(back, white)
