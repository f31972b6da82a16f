"""Kinds that Pillow reads in part only."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images.kinds import check_kind


def psd(mode=3, channels=3, bits=8, layers=0, resources=b""):
    info = struct.pack(">LLh", 10, 2, layers) + bytes(4) if layers else bytes(4)
    head = struct.pack(">4sH6xHLLHH", b"8BPS", 1, channels, 4, 4, bits, mode)
    return head + bytes(4) + struct.pack(">L", len(resources)) + resources + info + bytes(2 + 16 * channels)


def fits(**cards):
    values = {"SIMPLE": "T", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 4, "NAXIS2": 4} | cards
    head = "".join(f"{name:8}= {value:>20} / said".ljust(80) for name, value in values.items()) + "END".ljust(80)
    return head.encode().ljust(2880) + bytes(2880)


def dds(caps2=0, fourcc=b"DXT1", format=0, count=1, mipmaps=0):
    head = bytearray(148)
    struct.pack_into("<4sL", head, 0, b"DDS ", 124)
    struct.pack_into("<L", head, 28, mipmaps)
    head[84:88] = fourcc
    struct.pack_into("<L", head, 112, caps2)
    struct.pack_into("<LLLL", head, 128, format, 3, 0, count)
    return bytes(head)


def icns(*sizes):
    file = io.BytesIO()
    image = Image.fromarray(np.zeros((sizes[0], sizes[0], 4), np.uint8))
    image.save(file, "ICNS")
    return file.getvalue()


REFUSED = {
    "channels": (psd(channels=5), "5 channels"),
    "bits": (psd(bits=16), "16 bits"),
    "layers": (psd(layers=2), "2 layers"),
    "layers and alpha": (psd(channels=4, layers=-3), "3 layers"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
    "wmf": (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
    "emf": (b"\1\0\0\0" + bytes(36) + b" EMF", "EMF"),
    "fli": (struct.pack("<LHHHH", 128, 0xAF12, 7, 8, 8) + bytes(116), "7 frames"),
    "dcx": (struct.pack("<LLLL", 0x3ADE68B1, 16, 32, 0), "2 pages"),
    "cube": (dds(caps2=0xFE00), "cube"),
    "array": (dds(fourcc=b"DX10", count=2), "array"),
    "half floats": (dds(fourcc=b"DX10", format=95), "BC6H"),
    "fits of 16 bits": (fits(BITPIX=16), "FITS"),
    "fits of floats": (fits(BITPIX=-32), "FITS"),
    "fits cube": (fits(NAXIS=3, NAXIS3=2), "FITS"),
    "fits scaled": (fits(BZERO="32768.0"), "FITS"),
    "icns": (icns(128), "sizes"),
    "im": (b"Image type: L image\r\nFile size (no of images): 4\r\n", "4 pictures"),
    "mcidas": (struct.pack(">64i", 0, 4, *[0] * 11, 3, *[0] * 50), "3 bands"),
    "photo cd": (bytes(2048) + b"PCD_IPI", "PhotoCD"),
    "flashpix": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "FlashPix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    data, message = REFUSED[name]
    with pytest.raises(UnsupportedImage, match=message) as error:
        check_kind(data)
    assert "\n" not in str(error.value)
    assert ": " in str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_truncated(name):
    """A part of a file is refused, or passes; Pillow says the rest."""
    for end in range(0, min(len(REFUSED[name][0]), 3000), 13):
        try:
            check_kind(REFUSED[name][0][:end])
        except UnsupportedImage:
            continue


def test_passes():
    assert check_kind(psd()) == ()
    assert check_kind(psd(channels=4, layers=-1)) == ()
    assert check_kind(psd(resources=b"8BIM")) == ("the resources of the PSD",)
    assert check_kind(dds()) == ()
    assert check_kind(dds(mipmaps=4)) == ("the smaller copies (mipmaps)",)
    assert check_kind(fits()) == ("the header of the FITS",)
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PCX")
    assert check_kind(file.getvalue()) == ()
    assert check_kind(b"") == ()
