"""Small files that ask for much are refused from what their headers and tables say, before anything is allocated."""

import json
import subprocess
import sys
from pathlib import Path

import hostile  # type: ignore[import-not-found]
import pytest

from vlae_codec import Limits, decompress, decompress_many, errors, preview
from vlae_codec.limits import SPEED

MOST = 450.0  # MiB: of a WebP tile, others take far less
GREY = 800.0  # MiB: of a picture that `salvage` makes grey, as large as the limits allow
REFUSED = {
    "one picture of 2^30 pixels, a table of one tile": "ImageTooLarge",
    "one picture of 2^64 pixels": "ImageTooLarge",
    "a chain of one picture in tiles of 8": "ImageTooLarge",
    "a chain of one smaller picture in tiles of 8": "CorruptFile",
    "4194304 pictures of one pixel": "ImageTooLarge",
    "65536 pictures of one pixel": "CorruptFile",
    "4096 pictures of one pixel": "CorruptFile",
    "80,000 runs of pictures in as many chains": "CorruptFile",
    "2^28 bits by a model": "CorruptFile",
    "2^22 bits by a model": "CorruptFile",
    "10 layouts of 2040 groups": "CorruptFile",
    "2040 groups of 40,000 runs": "CorruptFile",
    "2040 chains of 40,000 runs": "ImageTooLarge",
    "2040 chains of 2^20 pictures": "ImageTooLarge",
    "5100 tables of 65536 values": "ImageTooLarge",
    "9,000 names of 65536 pictures": "ImageTooLarge",
    "a tile of 2^24 pixels of 255 bands": "ImageTooLarge",
}


PARTS = 4  # which go side by side


@pytest.mark.parametrize("part", range(PARTS))
def test_files(part):
    """No error is without a type, and none costs much memory; a process that hangs is ended by the system."""
    code = (
        "import itertools, json, resource, hostile\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (120, 120))\n"
        f"some = itertools.islice(hostile.files(), {part}, None, {PARTS})\n"
        "print(json.dumps(list(hostile.measured(some))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parent, check=True)
    found = json.loads(done.stdout)
    assert len(found) > 180 // PARTS
    for label, name, result in found:
        assert result["mib"] < (GREY if name == "salvage" else MOST), (label, name, result)
        assert not result["error"] or issubclass(getattr(errors, result["error"]), errors.VlaeError), (label, result)
        assert result["seconds"] < 30 or not result["error"], (label, name, result)
        if label in REFUSED and name in ("decompress_many", "preview", "bits_map"):
            assert result["error"] == REFUSED[label], (label, name, result)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (Limits(pixels=53 * 70 - 1), "3710 pixels .*3709.*--max-pixels"),
        (Limits(memory=10_000), "bytes of memory .*10000.*--max-memory"),
        (Limits(seconds=0.0), "seconds .*Limits"),
    ],
)
def test_limits(tiny, limits, match):
    data = (hostile.DATA / "colour.vlae").read_bytes()
    for function in (decompress, decompress_many, preview):
        with pytest.raises(errors.ImageTooLarge, match=match):
            function(data, model=tiny, limits=limits)


def test_region_is_what_counts(tiny):
    """A part of a picture is held to the limits by its own size."""
    data = (hostile.DATA / "tiles.vlae").read_bytes()
    limits = Limits(pixels=400)
    with pytest.raises(errors.ImageTooLarge):
        decompress(data, model=tiny, limits=limits)
    assert decompress(data, model=tiny, limits=limits, region=(3, 5, 20, 20)).shape == (20, 20, 3)


def test_work_is_estimated():
    """A megapixel of the built-in photo model is a matter of seconds, of a model of 2^24 multiply-adds of minutes."""
    Limits(seconds=10.0).check_work(10**6, 200_000, 4)
    with pytest.raises(errors.ImageTooLarge, match="seconds"):
        Limits(seconds=300.0).check_work(10**6, round(301e-6 * SPEED), 4)


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2], Path("x")])
def test_no_bytes(data):
    for function in (decompress, decompress_many, preview):
        with pytest.raises(errors.InputError, match="as bytes"):
            function(data)


def test_bytes_like(tiny):
    data = (hostile.DATA / "grey.vlae").read_bytes()
    expected = decompress(data, model=tiny)
    for given in (bytearray(data), memoryview(data), memoryview(b"??" + data)[2:]):
        assert (decompress(given, model=tiny) == expected).all()
