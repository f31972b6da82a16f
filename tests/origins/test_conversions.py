"""The conversions of video are those of libswscale and libyuv, and pictures that went through them are found."""

import io
import platform
from itertools import product

import numpy as np
import pytest
from PIL import features
from test_origins import scene, through  # type: ignore[import-not-found]

from vlae_codec.native import origins as native
from vlae_codec.origins.conversions import CONVERSIONS, MATRICES, family, formula
from vlae_codec.origins.find import find
from vlae_codec.origins.names import NAMES
from vlae_codec.origins.origin import Origin, rebuild

X86 = platform.machine().lower() in ("x86_64", "amd64")
COLOURSPACES = {"BT.601": (5, 1), "BT.709": (1, 1), "BT.601 of full range": (5, 2), "BT.709 of full range": (1, 2)}
TWINS = {"swscale444 BT.601 of full range": "jfif"}  # differ in the last of 16 bits of their factors


def planes_of(origin: Origin, width: int, height: int, seed: int = 1) -> list[np.ndarray]:
    """Source planes of a picture, not clipped, with texture."""
    picture = scene(np.random.default_rng(seed), 192, 256)
    return [
        np.ascontiguousarray(128 + (picture[:h, :w, k].astype(np.int64) - 128) // (2 + k)).astype(np.uint8)
        for k, (w, h) in enumerate(origin.sizes(width, height))
    ]


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_form(conversion: str) -> None:
    """Luma grows by a level or nearly; the inverse matrix comes near; the name is one that people may give."""
    how = formula(conversion)
    assert how.tables.shape == (5, 256)
    assert (np.diff(how.tables[0]) >= (1 << how.shift) - 1).all()
    assert family(conversion) in NAMES
    assert Origin.from_numbers(*Origin(conversion).numbers) == Origin(conversion)
    colours = rebuild(Origin(conversion), planes_of(Origin(conversion), 64, 64), 64, 64).reshape(-1, 3)
    inside = (colours.min(1) > 0) & (colours.max(1) < 255)
    assert native.chroma(how, np.ascontiguousarray(colours[inside]))[2] >= 0.99 * inside.sum()


@pytest.mark.parametrize("conversion", [name for name in CONVERSIONS if name != "photocd"])
def test_found_by_formula(conversion: str) -> None:
    """Of each conversion, with chroma at full size and in its ways at half size."""
    origins = [Origin(conversion)] + [
        Origin(conversion, enlargement, halved)
        for enlargement, halved in product(CONVERSIONS[conversion].enlargements, ((2, 2), (2, 1)))
    ]
    for origin in origins:
        found = find(rebuild(origin, planes_of(origin, 160, 128), 160, 128))
        assert found is not None
        same = TWINS.get(conversion, conversion)
        assert (found.origin.conversion, found.origin.halved) == (same, origin.halved)
        assert found.exceptions <= 0.02 * 160 * 128


def frame(planes: list[np.ndarray], kind: str, matrix: str):  # type: ignore[no-untyped-def]
    """A frame of PyAV."""
    av = pytest.importorskip("av")
    height, width = planes[0].shape
    made = av.VideoFrame(width, height, kind)
    for buffer, plane in zip(made.planes, planes, strict=True):
        rows = np.frombuffer(buffer, np.uint8).reshape(-1, buffer.line_size)
        rows[: plane.shape[0], : plane.shape[1]] = plane
    made.colorspace, made.color_range = COLOURSPACES[matrix]
    return made


@pytest.mark.skipif(not X86, reason="libswscale has other loops there")
@pytest.mark.parametrize("matrix", MATRICES)
def test_swscale(matrix: str) -> None:
    """The very pixels, of values not so far outside that 32 bits do not hold them."""
    rng = np.random.default_rng(2)
    luma, *chroma = (rng.integers(low, 256 - low, (64, 90), np.uint8) for low in (0, 30, 30))
    halves = [np.ascontiguousarray(plane[::2, ::2]) for plane in chroma]
    columns = [np.ascontiguousarray(plane[:, ::2]) for plane in chroma]
    ways = (
        ("yuv420p", Origin(f"swscale {matrix}", "box", (2, 2)), halves),
        ("yuv422p", Origin(f"swscale {matrix}", "box", (2, 1)), columns),
        ("yuv444p", Origin(f"swscale444 {matrix}"), chroma),
    )
    for kind, origin, some in ways:
        planes = [luma, *some]
        theirs = frame(planes, kind, matrix).to_ndarray(format="rgb24")
        assert np.array_equal(rebuild(origin, planes, 90, 64), theirs)


@pytest.mark.skipif(not X86, reason="libswscale has other loops there")
@pytest.mark.parametrize(("matrix", "kind"), [("BT.601", "yuv420p"), ("BT.709", "yuv420p"), ("BT.709", "yuv444p")])
def test_h264(matrix: str, kind: str) -> None:
    av = pytest.importorskip("av")
    pixels, file = scene(np.random.default_rng(3)), io.BytesIO()
    height, width, _ = pixels.shape
    colourspace, colour_range = COLOURSPACES[matrix]
    with av.open(file, "w", "mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, kind
        stream.codec_context.colorspace, stream.codec_context.color_range = colourspace, colour_range
        whole = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        output.mux([*stream.encode(whole.reformat(format=kind, dst_colorspace=colourspace)), *stream.encode()])
    file.seek(0)
    with av.open(file) as coded:
        found = find(next(coded.decode(video=0)).to_ndarray(format="rgb24"))
    assert found is not None
    halved = ("box", (2, 2)) if kind == "yuv420p" else ("none", (1, 1))
    assert found.origin == Origin(f"swscale{'' if kind == 'yuv420p' else '444'} {matrix}", *halved)
    assert found.exceptions <= 0.001 * height * width


@pytest.mark.skipif(not (X86 and features.check("avif")), reason="libyuv has other loops there, or Pillow no AVIF")
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(("sampling", "halved"), [("4:4:4", (1, 1)), ("4:2:2", (2, 1)), ("4:2:0", (2, 2))])
def test_avif(sampling: str, halved: tuple[int, int], full: bool) -> None:
    pixels = through(
        scene(np.random.default_rng(4)),
        "AVIF",
        quality=85,
        speed=9,
        subsampling=sampling,
        range="full" if full else "limited",
    )
    found = find(pixels)
    assert found is not None
    way = "none" if sampling == "4:4:4" else "triangle"
    assert found.origin == Origin(f"libyuv {MATRICES[2 if full else 0]}", way, halved)
    assert found.exceptions <= 0.01 * pixels.shape[0] * pixels.shape[1]
