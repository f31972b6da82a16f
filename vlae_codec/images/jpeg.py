"""JPEG and MPO files: what Pillow decodes, and what it does not say: damage, and data behind the end."""

from __future__ import annotations

import io

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.images import ifd
from vlae_codec.images.compose import words
from vlae_codec.images.jpeg_scan import is_whole
from vlae_codec.images.picture import Picture, check_picture
from vlae_codec.images.pillow import opened, take
from vlae_codec.limits import Limits

_SOF = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SOS, _DRI = 0xDA, 0xDD
_STUFFING = [bytes([byte]) * 8 for byte in (0xFE, 0x00, 0x55, 0x7F, 0xFC)]  # a decoder looks so far ahead
_FOLLOWED = 1 << 16  # bytes of codes that are followed one by one, which takes about a quarter of a second
_LEFT = 24  # bytes; without so many a file must be too short, whatever stands there instead


def is_jpeg(data: bytes) -> bool:
    """Whether a file is a JPEG (or an MPO)."""
    return data[:3] == b"\xff\xd8\xff"


def read(data: bytes, limits: Limits) -> list[Picture]:
    """The picture of a JPEG, or those of an MPO, with notes. Raises UnsupportedImage or ImageTooLarge."""
    places = _mpo_places(data, limits)
    if len(places) < 2:
        return [_read_one(data, limits)]
    found, pixels, memory = [], 0, 0
    for number, (begin, end) in enumerate(places):
        picture = _read_one(data[begin:end], limits)
        pixels, memory = pixels + picture.pixels.shape[0] * picture.pixels.shape[1], memory + picture.pixels.nbytes
        limits.check(pixels, len(places), memory)
        head = {"format": "mpo"} if not number else {}
        found.append(picture.replaced(metadata=picture.metadata | {"frame": words(page=number, **head)}))
    if behind := data[max(end for _, end in places) :].strip(b"\0"):
        last = found[-1]
        found[-1] = last.replaced(notes=(*last.notes, f"data of {len(behind)} bytes behind the end of the MPO"))
    return found


def _read_one(data: bytes, limits: Limits) -> Picture:
    with opened(io.BytesIO(data)) as image:
        limits.check(image.width * image.height, 1, 8 * image.width * image.height)
        picture = take(image)
    return check_picture(picture.replaced(notes=(*picture.notes, *notes(data))))


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, begin and end of each segment up to the first scan, which is the last."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((marker, at + 4, min(end, len(data))))
        if marker == _SOS or end < at + 4:
            break
        at = end
    return found


def _scan_end(data: bytes, at: int) -> int:
    """Where the entropy-coded data that begin at `at` end: the next marker that no scan has inside."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7 and data[at + 1] != 0xFF:
            return at
        at += 1 if data[at + 1] == 0xFF else 2
    return len(data)


def notes(data: bytes) -> tuple[str, ...]:
    """What is wrong with a JPEG that can be decoded, and what stands behind its end.

    libjpeg fills up what is missing, and Pillow says nothing. A file of one scan is therefore decoded without its end:
    with a few other bytes instead it must be decodable, and without the last bytes of its pixels it must not. This
    shows files that were cut. Overwritten bytes are shown where the codes of a small file are followed one by one
    (`jpeg_scan`); in larger ones if they change the number of blocks that are decoded by several.
    """
    segments = _segments(data)
    frame = next(((marker, begin) for marker, begin, _ in segments if marker in _SOF), None)
    if frame is None or not segments or segments[-1][0] != _SOS or len(data) < frame[1] + 6:
        return ()
    begin = segments[-1][2]
    end = _scan_end(data, begin)
    found = []
    one_scan = frame[0] in (0xC0, 0xC1) and data[segments[-1][1]] == data[frame[1] + 5]
    if one_scan and (problem := _problem(data, begin, end, segments, frame[1])):
        found.append(f"the file is damaged: {problem}")
    last = end
    while data[last : last + 1] == b"\xff" and data[last + 1 : last + 2] not in (b"\xd9", b""):  # more scans
        length = int.from_bytes(data[last + 2 : last + 4], "big")
        last = _scan_end(data, last + 2 + length) if data[last + 1] == _SOS else last + 2 + max(length, 2)
    if data[last : last + 2] != b"\xff\xd9":
        found.append("the file is damaged: it has no end")
    elif (behind := data[last + 2 :]).strip(b"\0"):
        kind = "a second JPEG" if behind[:3] == b"\xff\xd8\xff" else "a video" if behind[4:8] == b"ftyp" else "data"
        found.append(f"{kind} of {len(behind)} bytes behind the end of the JPEG")
    return tuple(dict.fromkeys(found))


def _problem(data: bytes, begin: int, end: int, segments: list[tuple[int, int, int]], frame: int) -> str:
    restarts = [at for marker, at, _ in segments if marker == _DRI]
    if restarts and int.from_bytes(data[restarts[-1] : restarts[-1] + 2], "big"):
        order = _restarts(data, begin, end)
        if any(number != index % 8 for index, number in enumerate(order)):
            return "parts of its pixels are missing"
    if end - begin <= _FOLLOWED:
        try:
            whole = is_whole(data, segments, frame, end)
        except (IndexError, ZeroDivisionError):
            whole = False
        return "" if whole else "its pixels are others than they were, or end early"
    if not _decodes(data[:end] + _STUFFING[0]):
        return "its pixels end early"
    shorter = data[: max(begin, end - _LEFT)].rstrip(b"\xff")
    if not restarts and all(_decodes(shorter + stuffing) for stuffing in _STUFFING):
        return "some of its pixels are others than they were"
    return ""


def _restarts(data: bytes, begin: int, end: int) -> list[int]:
    """The numbers of the restart markers."""
    found, at = [], begin
    while 0 <= (at := data.find(b"\xff", at, end)) < end - 1:
        if 0xD0 <= data[at + 1] <= 0xD7:
            found.append(data[at + 1] - 0xD0)
        at += 2
    return found


def _decodes(data: bytes) -> bool:
    try:
        with opened(io.BytesIO(data)) as image:
            image.load()
    except UnsupportedImage:
        return False
    return True


def _mpo_places(data: bytes, limits: Limits) -> list[tuple[int, int]]:
    """Begin and end of each picture of an MPO; none of other JPEGs."""
    for marker, begin, end in _segments(data):  # noqa: B007
        if marker == 0xE2 and data[begin : begin + 4] == b"MPF\0":
            break
    else:
        return []
    try:
        directory, _ = ifd.parse(data[begin + 4 : end], limits)
    except UnsupportedImage:
        return []
    value = directory.get(0xB002)
    if not isinstance(value, ifd.Tag) or len(value.data) % 16:
        return []
    found = []
    order = ">" if data[begin + 4 : begin + 6] == b"MM" else "<"
    for size, at in np.frombuffer(value.data, order + "u4").reshape(-1, 4)[:, 1:3].tolist():
        first = begin + 4 + at if at else 0
        if first + size > len(data) or data[first : first + 3] != b"\xff\xd8\xff":
            raise UnsupportedImage("damaged MPO (a picture is missing): get a fresh copy of it")
        found.append((first, first + size))
    if sum(end - begin for begin, end in found) > 2 * len(data):
        raise UnsupportedImage("damaged MPO (its pictures overlap): get a fresh copy of it")
    return found
