"""The decoder for the web, in Node: golden files to the very samples, hostile ones to typed errors."""

import hashlib
import io
import json
import lzma
import random
import re
import struct
import zlib
from contextlib import suppress

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image

from vlae_codec import compress, decompress
from vlae_codec.api import decompress_pictures
from vlae_codec.archive.index import MAGIC
from vlae_codec.errors import VlaeError
from vlae_codec.format.chunks import scan
from vlae_codec.format.container import read
from vlae_codec.images import png
from vlae_codec.limits import DEFAULT
from vlae_codec.origins.conversions import CONVERSIONS, family, formula
from vlae_codec.origins.origin import Origin, rebuild

DATA = make_golden.DATA
CODES = {"NotAVlaeFile", "UnsupportedVersion", "TruncatedFile", "CorruptFile", "ImageTooLarge", "UnknownModel"}


def digest(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def decoded(node, *paths, **options):
    options = {"models": [str(DATA / "tiny.safetensors")], "threads": 2, **options}
    return [json.loads(line) for line in node("decode.mjs", json.dumps(options), *paths).splitlines()]


def shown(picture):
    """A picture as decode.mjs writes it."""
    size = picture.pixels.shape[1], picture.pixels.shape[0]
    metadata = {name: value.hex() for name, value in picture.metadata.items()}
    return [*size, picture.mode, picture.levels, digest(picture.pixels), metadata]


def test_golden(node, tiny):
    """Every golden file: with and without latents, adapters, chains, values, origins, 1 to 16 bits, floats."""
    paths = sorted(DATA.glob("*.vlae"))
    assert len(paths) > 20
    shipped = {"mixed", "mountains", "learning", "learning-deep", "cifar10", "luma", "mnist-binary"}
    for path, found in zip(paths, decoded(node, *paths), strict=True):
        model = None if path.stem in shipped or path.stem.startswith("past-") else tiny
        wanted = [shown(one) for one in decompress_pictures(path.read_bytes(), model=model, threads=1)]
        for one, other in zip(found, wanted, strict=True):
            if not other[3]:  # of floats
                other[3] = one[3]
        assert found == wanted, path.name


def test_one_thread(node):
    path = DATA / "tiles.vlae"
    assert decoded(node, path, threads=0) == decoded(node, path)


@pytest.mark.parametrize("name", ["mountains", "past-photocd", "past-jpeg"])
def test_region(node, name):
    data = (DATA / f"{name}.vlae").read_bytes()
    whole = decompress(data, threads=1)
    height, width, _ = whole.shape
    regions = [(width // 3, height // 4, width // 2, 3), (0, 0, width, height), (width - 1, height - 1, 1, 1)]
    for x, y, w, h in regions if name == "past-jpeg" else regions[:1]:  # the others take longer
        region = {"x": x, "y": y, "width": w, "height": h}
        (found,) = decoded(node, DATA / f"{name}.vlae", region=region)
        assert found[0][4] == digest(whole[y : y + h, x : x + w])


def test_conversions(node):
    """All tables are those of the encoder."""
    found = json.loads(node("tables.mjs"))
    assert [words for words, _, _ in found] == [one.words for one in CONVERSIONS.values()]
    for name, (_, shift, tables) in zip(CONVERSIONS, found, strict=True):
        wanted = formula(name)
        assert (shift, tables) == (wanted.shift, wanted.tables.ravel().tolist()), name


def test_origins(node, tmp_path):
    """Pictures that were video, AVIF, or a part of a JPEG, as files and as parts of files."""
    photo = np.asarray(Image.open(make_golden.EXAMPLE).convert("YCbCr"))[:64, :80]
    whole = io.BytesIO()
    Image.open(make_golden.EXAMPLE).crop((0, 0, 128, 104)).save(whole, "JPEG", quality=85)
    pictures = [(np.asarray(Image.open(whole))[5:99, 11:120], "jpeg")]
    for name, way in [("swscale BT.709", "box"), ("libyuv BT.601", "none")]:
        origin = Origin(name, way, (1, 1) if way == "none" else (2, 2))
        planes = [np.ascontiguousarray(photo[:h, :w, i]) for i, (w, h) in enumerate(origin.sizes(80, 64))]
        pictures.append((rebuild(origin, planes, 80, 64), family(name)))
    paths = [tmp_path / f"{i}.vlae" for i in range(len(pictures))]
    for path, (pixels, name) in zip(paths, pictures, strict=True):
        path.write_bytes(compress(pixels, effort=1, origin=name, threads=1))
        assert read(path.read_bytes()).header.layouts[0].origin is not None
    x, y, w, h = 40, 17, 30, 21
    regions = decoded(node, *paths, region={"x": x, "y": y, "width": w, "height": h})
    for (one,), (other,), (pixels, name) in zip(decoded(node, *paths), regions, pictures, strict=True):
        assert one[4] == digest(pixels), name
        assert other[4] == digest(pixels[y : y + h, x : x + w]), name


def test_archive(node, tmp_path):
    """An archive is named as such, with the function that reads it."""
    path = tmp_path / "some.vlar"
    path.write_bytes(MAGIC + b"\1")
    (found,) = decoded(node, path)
    assert found["code"] == "NotAVlaeFile"
    assert "openArchive" in found["message"]


def test_refusals(node, tmp_path):
    """Damaged files, and those that ask for too much: one of the codes, each time."""
    whole = (DATA / "colour.vlae").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    cases = {
        "CorruptFile": bytes(damaged),
        "TruncatedFile": whole[: len(whole) // 2],
        "NotAVlaeFile": b"\x89PNG\r\n\x1a\n" + whole,
        "UnsupportedVersion": whole[:8] + b"\x63" + whole[9:],
    }
    for code, data in cases.items():
        (tmp_path / code).write_bytes(data)
    found = decoded(node, *(tmp_path / code for code in cases))
    assert [one["code"] for one in found] == list(cases)
    assert decoded(node, DATA / "colour.vlae", memoryLimit=1000)[0]["code"] == "ImageTooLarge"
    assert decoded(node, DATA / "mountains.vlae", limits={"seconds": 0.01})[0]["code"] == "ImageTooLarge"
    assert decoded(node, DATA / "colour.vlae", models=[])[0]["code"] == "UnknownModel"
    region = {"x": 0, "y": 0, "width": 1000, "height": 1}
    assert decoded(node, DATA / "colour.vlae", region=region)[0]["code"] == "InputError"


def test_styles(node, styled, synthetic, tmp_path):
    """A style is taken from the model; one that it does not have is refused."""
    pixels, path = synthetic(50, 60, 4), tmp_path / "styled.vlae"
    data = compress(pixels, model=styled, effort=1)
    begin = data.index(b"A\x03\x00\x03\x01")
    path.write_bytes(data)
    (((found,),),) = (decoded(node, path, models=[str(styled)]),)
    assert found == shown(decompress_pictures(data, model=styled)[0])
    for i, change in enumerate([b"\x04\x01", b"\x03\x04", b"\xff\x01"]):
        (tmp_path / str(i)).write_bytes(repaired(data[: begin + 3] + change + data[begin + 5 :]))
    wrong = decoded(node, *(tmp_path / str(i) for i in range(3)), models=[str(styled)])
    assert [error["code"] for error in wrong] == ["CorruptFile"] * 3


def repaired(data):
    """A file whose checksums of chunks are made right again."""
    fixed = bytearray(data)
    for chunk in scan(bytes(data), 9):
        begin = 0 if chunk.kind in (b"H", b"D") else chunk.start
        fixed[chunk.end : chunk.end + 4] = struct.pack("<I", zlib.crc32(fixed[begin : chunk.end]))
    return bytes(fixed)


def test_fuzzed(node, tmp_path):
    """Bytes of the header are changed and its checksum made right: the same answer as Python's, or a typed error."""
    rng = random.Random(1)
    paths = []
    for name in ("colour", "many", "past-photocd", "past-jpeg", "palette", "floats", "mapped"):
        whole = (DATA / f"{name}.vlae").read_bytes()
        for i in range(12):
            data = bytearray(whole)
            data[rng.randrange(12, min(len(data), 70))] = rng.randrange(256)
            with suppress(VlaeError):  # there may be no chunks any more
                data = bytearray(repaired(data))
            path = tmp_path / f"{name}-{i}"
            path.write_bytes(data)
            paths.append(path)
    found = decoded(node, *paths, limits={"pixels": 1 << 20, "memory": 1 << 26, "seconds": 5})
    wrong = [one["code"] for one in found if isinstance(one, dict)]
    assert set(wrong) <= CODES
    assert len(wrong) > len(found) // 2


def test_stored_readers(node, tmp_path):
    """LZMA2 and lossless WebP, beside liblzma and libwebp."""
    rng = np.random.default_rng(0)
    noise, smooth = rng.bytes(70000), np.cumsum(rng.integers(-1, 2, 50000)).astype(np.uint8).tobytes()
    for i, (lc, lp, pb) in enumerate([(3, 0, 2), (0, 0, 0), (2, 2, 2), (4, 0, 0), (0, 1, 1)]):
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": lc, "lp": lp, "pb": pb, "preset": 1}]
        raw = noise + b"abcd" * 9000 + smooth
        (tmp_path / f"{i}.raw").write_bytes(raw)
        (tmp_path / f"{i}.lzma").write_bytes(lzma.compress(raw, lzma.FORMAT_RAW, filters=filters))
    picture = np.asarray(Image.open(make_golden.EXAMPLE))[:90, :121]
    colours = rng.integers(0, 256, (200, 4), np.uint8)
    kinds = [
        picture,
        picture // 64 * 64,
        colours[rng.integers(0, 200, (40, 33))],
        colours[rng.integers(0, 3, (33, 40))],
    ]
    kinds += [np.kron(picture[:9, :9], np.ones((7, 5, 1), np.uint8)), rng.integers(0, 256, (30, 30, 4), np.uint8)]
    for i, (kind, quality) in enumerate((kind, quality) for kind in kinds for quality in (0, 60, 100)):
        file = io.BytesIO()
        Image.fromarray(kind).save(file, "WEBP", lossless=True, exact=True, quality=quality)
        data = file.getvalue()
        at = data.index(b"VP8L")
        size = struct.pack("<2H", *kind.shape[:2])
        (tmp_path / f"{i}.webp").write_bytes(size + data[at + 8 :][: int.from_bytes(data[at + 4 : at + 8], "little")])
        full = np.full((*kind.shape[:2], 4), 255, np.uint8)
        full[..., : kind.shape[2]] = kind
        (tmp_path / f"{i}.pixels").write_bytes(full.tobytes())
    assert node("stored.mjs", tmp_path).split() == ["23"]


def test_png(node, tmp_path):
    """The PNG of a picture holds its samples and metadata."""
    for name in ("deep-rgb", "palette", "mountains", "mnist-binary"):
        path = tmp_path / f"{name}.png"
        decoded(node, DATA / f"{name}.vlae", png=str(path))
        model = None if name in ("mountains", "mnist-binary") else DATA / "tiny.safetensors"
        (wanted,) = decompress_pictures((DATA / f"{name}.vlae").read_bytes(), model=model, threads=1)
        (found,) = png.read(path.read_bytes(), DEFAULT)
        assert np.array_equal(found.pixels, wanted.pixels)
        assert found.mode == wanted.mode
        assert {**wanted.metadata, "png": b""}.items() <= {**found.metadata, "png": b""}.items()


def test_page_script(node, web, tmp_path):
    """The scripts of the page are its own, without imports, and small enough for the page."""
    from vlae_codec.web import page
    from vlae_codec.weights.model import load_weights, weights_folder

    for name, code in (("script", page.script()), ("loader", page.loader())):
        path = tmp_path / f"{name}.cjs"
        path.write_text(code, "utf-8")
        node("--check", path)
    text = page.make_page(
        [("a </script>&.vlae", b"123")], [weights_folder() / f"{name}.safetensors" for name in page.MODELS]
    )
    assert len(text.encode()) < 2_000_000
    groups = [ids.split("/") for ids in re.findall(r'data-ids="([\w/]+)"', text)]
    wanted = [load_weights(weights_folder() / f"{name}.safetensors").id.hex() for name in page.MODELS]
    assert sorted(one for group in groups for one in group) == sorted(wanted)
    assert text.count("</script>") == text.count("<script") == 4 + len(groups)
    assert "default-src 'none'" in text
    assert "'unsafe-eval'" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_models_that_share(tiny, learns):
    """A page has what two models have in common once, and each of them whole."""
    from vlae_codec.web import page

    (together,) = page._models([tiny, learns, tiny])
    apart = [len(page._models([path])[0]) for path in (tiny, learns)]
    assert len(together) < 0.8 * sum(apart)
    assert re.findall(r'data-names="([^"]*)"', together) == ["tiny/learns"]
    sizes = [int(size) for size in re.findall(r'data-sizes="([^"]*)"', together)[0].split("/")]
    assert sizes == [path.stat().st_size for path in (tiny, learns)]
    assert f'data-whole="{sum(sizes)}"' in together


@pytest.mark.parametrize("size", [0, 1, 3, 4, 1000])
def test_digits(size):
    from vlae_codec.web import page

    text = page.digits(bytes(range(256))[:size] * 3)
    assert len(text) % 5 == 0
    assert not set(text) & set("<>&\"'\\/")
