"""Compressing in Node: the very bytes of the command line, or a word that they are not."""

import hashlib
import json
import lzma
import struct
import zlib
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from vlae_codec import compress, decompress_picture
from vlae_codec.format.container import Method, read
from vlae_codec.images import image
from vlae_codec.images.png_chunks import SIGNATURE, chunk
from vlae_codec.limits import DEFAULT

STOCK = "ng" not in zlib.ZLIB_RUNTIME_VERSION  # zlib-ng finds other matches, by whose lengths the command line decides


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open(make_golden.EXAMPLE).convert("RGB"))


def encoded(node, *paths, **options):
    return [json.loads(line) for line in node("encode.mjs", json.dumps({"threads": 2, **options}), *paths).splitlines()]


def save(path, pixels, **options):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, "PNG", **options)
    return path


def digest(data):
    return hashlib.sha256(data).hexdigest()


def check_same(node, paths, model=None, **options):
    """The files of the command line, which the page knows to be the same; the methods of their first tiles."""
    methods = []
    for path, found in zip(paths, encoded(node, *paths, model=str(model or ""), **options), strict=True):
        wanted = compress(path, effort=1, origin="none", threads=1, model=model)
        assert found.get("digest") == digest(wanted), (path.name, len(wanted), found)
        assert found["same"]
        assert not found["larger"]
        assert found["progress"] == 1
        assert found["notes"] == list(image.load(path).notes)
        methods.append(read(wanted).records[0].method)
    return methods


def with_chunks(path, header, body, *, before=(), after=b""):
    """A PNG of compressed rows, with chunks of its own."""
    parts = [SIGNATURE, chunk(b"IHDR", header), *(chunk(*one) for one in before), chunk(b"IDAT", body)]
    path.write_bytes(b"".join([*parts, chunk(b"IEND", b""), after]))
    return path


def header(width, height, depth, colour, interlaced=0):
    return struct.pack(">2L5B", width, height, depth, colour, 0, 0, interlaced)


@pytest.mark.skipif(not STOCK, reason="this Python has zlib-ng")
def test_same(node, photo, tmp_path):
    """Grey, RGB and alpha, odd sizes, blocks of equal pixels, noise, depths, interlacing; several tiles."""
    noise = np.random.default_rng(1).integers(0, 256, (3, 540, 4), np.uint8)
    alpha = np.full((20, 26, 1), 255, np.uint8)
    kinds = {
        "one": photo[:1, :1],
        "odd": photo[100:133, 40:85],
        "row": photo[5:6, :77],
        "grey": photo[90:120, :50, 1],
        "grey-alpha": photo[90:110, :30, :2],
        "alpha": np.dstack([photo[60:90, 80:120], photo[90:120, :40, 0]]),
        "opaque": np.dstack([photo[60:80, 80:106], alpha]),
        "large": np.kron(photo[70:84, 60:80], np.ones((2, 3, 1), np.uint8)),
        "noise": noise[..., :3],
        "noise-alpha": noise[:, :50],
        "tiles": np.concatenate([photo[120:132], photo[60:72]], axis=1),
    }
    paths = [save(tmp_path / f"{name}.png", pixels) for name, pixels in kinds.items()]
    rows = np.pad(np.packbits(photo[100:120, 30:62, 0] >> 4 & 15 > 7, axis=1), ((0, 0), (1, 0)))
    paths.append(with_chunks(tmp_path / "two.png", header(16, 20, 2, 0), zlib.compress(rows.tobytes())))
    seven = zlib.compress(bytes(8 * 7 * 3 + 7 * 3 + 15))  # Adam7: 15 rows of filter bytes
    paths.append(with_chunks(tmp_path / "passes.png", header(7, 8, 8, 2, 1), seven))
    check_same(node, paths)


def test_latents(node, photo, tmp_path):
    """Tiles that are large enough for a trial, and small ones, of which latents are worth it or not."""
    soft = np.asarray(Image.fromarray(photo[:65, :70]).resize((256, 260), Image.Resampling.BICUBIC))
    sharp = np.asarray(Image.fromarray(photo[100:230, 100:228]).resize((256, 260), Image.Resampling.HAMMING))
    sharp = (sharp + np.random.default_rng(1).normal(0, 1, sharp.shape)).clip(0, 255).astype(np.uint8)
    paths = [save(tmp_path / f"{i}.png", pixels) for i, pixels in enumerate([sharp, soft, photo[:64, :64]])]
    model = make_golden.DATA / "tiny.safetensors"
    methods = check_same(node, paths[:1]) + check_same(node, paths[1:], model, threads=0)
    assert methods == [Method.NO_LATENTS, Method.LATENTS, Method.LATENTS]


def test_styles(node, synthetic, styled, tmp_path):
    """The same style as from the command line, in several tiles, too; none for a picture too small to need one."""
    pixels = synthetic(90, 110, 4)
    kinds = {"whole": pixels, "tiles": synthetic(40, 700, 5), "grey": pixels[..., 1], "small": pixels[:3, :4]}
    paths = [save(tmp_path / f"{name}.png", pixels) for name, pixels in kinds.items()]
    check_same(node, paths, styled)
    assert [len(read(compress(path, effort=1, model=styled)).parts[0].adapter or b"") for path in paths] == [2, 2, 2, 0]


@pytest.mark.skipif(not STOCK, reason="this Python has zlib-ng")
def test_metadata(node, photo, tmp_path):
    """Profiles, Exif, XMP, texts and resolution, as chunks that come back byte for byte; and what is lost."""
    pixels = photo[:8, :9]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a mountain"
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Berge")
    info.add_text("Long", "text " * 90, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    paths = [save(tmp_path / "all.png", pixels, pnginfo=info, icc_profile=profile, exif=exif, dpi=(300, 299))]
    rows = zlib.compress(np.pad(photo[:5, :4, 0], ((0, 0), (1, 0))).tobytes())
    own = header(4, 5, 8, 0)
    for i, (level, window, strategy) in enumerate([(9, 15, 0), (1, 9, 0), (4, 13, 1), (6, 15, 1)]):
        deflater = zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy)
        packed = deflater.compress(profile) + deflater.flush()
        xmp = b"XML:com.adobe.xmp\0\1\0\0\0" + packed
        before = [(b"iCCP", b"name\0\0" + packed), (b"gAMA", bytes(4)), (b"iTXt", xmp), (b"pHYs", bytes(range(9)))]
        paths.append(with_chunks(tmp_path / f"{i}.png", own, rows, before=before))
    strange = [(b"iCCP", b"name\0\0" + zlib.compress(profile) + b"behind"), (b"teSt", b"1"), (b"teST", b"2")]
    paths.append(with_chunks(tmp_path / "strange.png", own, rows + b"12", before=strange, after=b"more"))
    paths.append(with_chunks(tmp_path / "behind.png", own, zlib.compress(bytes(40)), before=[(b"eXIf", b"MM")]))
    paths.append(with_chunks(tmp_path / "cut.png", own, rows[:-2]))
    damaged = bytearray(paths[0].read_bytes())
    damaged[damaged.index(b"Berge")] ^= 1
    paths.append(tmp_path / "damaged.png")
    paths[-1].write_bytes(damaged)
    check_same(node, paths)
    stored = [(b"iCCP", b"name\0\0" + zlib.compress(profile, 0))]
    path = with_chunks(tmp_path / "stored.png", own, rows, before=stored)
    (found,) = encoded(node, path)
    assert not found["same"]
    assert not found["larger"]


def test_others(node, photo, tmp_path):
    """Drawn pictures, palettes, blank tiles and tables of values: a file that comes back, and a word on its bytes."""
    drawn = np.zeros((70, 90, 3), np.uint8)
    drawn[10:30, 20:60] = (200, 30, 9)
    drawn[40:60, 5:85] = np.arange(80)[:, None]
    gaps = (photo[:60, :70].astype(int) * 200 // 255 * 255 // 200).astype(np.uint8)
    flat = np.concatenate([np.full((300, 512, 3), 255, np.uint8), photo[:240, :4].repeat(2, 0)[:300]], axis=1)
    paths = [save(tmp_path / f"{i}.png", pixels) for i, pixels in enumerate([drawn, gaps, photo[:50, :50, 0] > 128])]
    paths.append(tmp_path / "palette.png")
    Image.fromarray(photo[:30, :40]).quantize(40).save(paths[-1])
    paths.append(save(tmp_path / "blank.png", flat))
    for path, found in zip(paths, encoded(node, *paths, again=True), strict=True):
        wanted = len(compress(path, effort=1, origin="none", threads=1))
        assert found["size"] < 1.6 * wanted + 30, (path.name, wanted, found)
        assert found["again"] == found["digest"]
        assert not found["same"]
        assert found["larger"] == (path.stem != "blank")


def test_refusals(node, photo, tmp_path):
    """What is not compressed here is named, with who does it."""
    good = save(tmp_path / "good.png", photo[:9, :9])
    deep = tmp_path / "deep.png"
    Image.fromarray(photo[:9, :9, 0].astype(np.uint16) * 200).save(deep)
    moving = tmp_path / "moving.png"
    Image.fromarray(photo[:9, :9]).save(moving, save_all=True, append_images=[Image.fromarray(photo[9:18, :9])])
    jpeg = tmp_path / "photo.jpg"
    Image.fromarray(photo[:9, :9]).save(jpeg)
    cut, wrong = tmp_path / "cut.png", tmp_path / "wrong.png"
    cut.write_bytes(good.read_bytes()[:-30])
    data = bytearray(good.read_bytes())
    data[-25] ^= 1
    wrong.write_bytes(data)
    missing = with_chunks(tmp_path / "missing.png", header(9, 9, 8, 0), zlib.compress(bytes(80)))
    found = encoded(node, deep, moving, jpeg, cut, wrong, missing)
    assert [one.get("code") for one in found] == ["Unsupported"] * 3 + ["InputError"] * 3
    assert all("vlae-codec compress" in one["message"] for one in found[:3])
    assert [one["code"] for one in encoded(node, good, limits={"pixels": 80})] == ["ImageTooLarge"]
    assert [one["code"] for one in encoded(node, good, stop="start")] == ["Aborted"]
    wide = save(tmp_path / "wide.png", photo[:2].repeat(4, 1))
    assert [one["code"] for one in encoded(node, wide, stop="tile")] == ["Aborted"]


def test_packers(node, photo, tmp_path):
    """zlib's streams byte for byte, which come back by this inflater; LZMA2 streams that liblzma reads."""
    rng = np.random.default_rng(0)
    triples = rng.integers(0, 256, (3000, 3), np.uint8)
    files = {
        "photo": photo[:90, :100].tobytes(),
        "runs": rng.integers(0, 256, 300, np.uint8).repeat(rng.integers(1, 300, 300)).tobytes(),
        "mixed": rng.bytes(40000) + bytes(9000) + b"abcdefg" * 900 + rng.bytes(30000),
        "far": triples[rng.integers(0, 3000, 30000)].tobytes(),
        "short": b"abab",
        "byte": b"a",
    }
    cases = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        cases += [(name, level, window, filtered) for level, window, filtered in [(0, 0, 0), (1, 15, 0), (3, 12, 0)]]
        cases += [(name, level, 15, level % 2) for level in (4, 6, 9)]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    assert node("packed.mjs", tmp_path).split("\n")[:-1] == ["true end cut more"]
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    for i, (name, level, window, filtered) in enumerate(cases):
        made, data = (tmp_path / f"{i}.out").read_bytes(), files[name]
        if not level:
            assert lzma.decompress(made, lzma.FORMAT_RAW, filters=filters) == data
            continue
        assert zlib.decompress(made) == data
        strategy = zlib.Z_FILTERED if filtered else zlib.Z_DEFAULT_STRATEGY
        deflater = zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy)
        assert not STOCK or made == deflater.compress(data) + deflater.flush(), (name, level)


def test_decodes(node, photo, tmp_path):
    """The Python package reads what was made, pixels and metadata."""
    script = tmp_path / "one.mjs"
    from vlae_codec.web import build

    entry = (Path(build.__file__).parent / "src" / "index.js").as_uri()
    script.write_text(
        f"import {{ encode }} from '{entry}';\n"
        "import { readFileSync, writeFileSync } from 'node:fs';\n"
        "const { data } = await encode(new Uint8Array(readFileSync(process.argv[2])));\n"
        "writeFileSync(process.argv[3], data);\n"
    )
    path, out = tmp_path / "palette.png", tmp_path / "palette.vlae"
    Image.fromarray(photo[:30, :40]).quantize(40).save(path, dpi=(72, 72))
    node(script, path, out)
    (wanted,), found = image.load_all(path, DEFAULT), decompress_picture(out.read_bytes())
    assert np.array_equal(found.pixels, wanted.pixels)
    assert found.palette is not None
    assert wanted.palette is not None
    assert found.palette.tolist() == wanted.palette.tolist()
    assert found.metadata == wanted.metadata
