"""`Image.save("picture.vlae")` and its options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

from PIL import Image

from vlae_codec import api
from vlae_codec.errors import InputError, VlaeError
from vlae_codec.images.picture import Picture
from vlae_codec.pillow.info import frame_words, metadata_of
from vlae_codec.pillow.modes import picture_from

# those of `vlae_codec.compress`
_OPTIONS = ("model", "effort", "seed", "device", "threads", "origin", "tile", "verify", "limits", "progress", "watch")


def save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Writes the frame that the image shows. Raises OSError, and ValueError for an option that cannot be."""
    _write([picture_from(image).replaced(metadata=metadata_of(image, _options(image)))], image, file)


def save_all(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Writes all frames of the image, and of those in the option `append_images`.

    They are frames with times if the option `duration` says how long one is shown, in milliseconds, or how long each
    is, or if their info does; else pages. `loop` is how often they are shown, 0 for ever.
    """
    options = _options(image)
    shown, loop = options.get("duration"), options.get("loop", image.info.get("loop", 0))
    pictures: list[Picture] = []
    for frame in _frames([image, *options.get("append_images", ())]):
        number = len(pictures)
        if isinstance(shown, (list, tuple)):
            if number >= len(shown):
                raise ValueError(f"there are {len(shown)} durations, and more frames: give one for each")
            duration = shown[number]
        else:
            duration = frame.info.get("duration") if shown is None else shown
        metadata = {} if number else metadata_of(image, options)
        words = frame_words(duration, not number, frame.size, int(loop))
        pictures.append(picture_from(frame).replaced(metadata=metadata | words))
    if len(pictures) == 1:
        pictures[0].metadata.pop("frame", None)
    _write(pictures, image, file)


def _frames(images: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """All frames of all images, which show afterwards what they showed before."""
    for image in images:
        now = image.tell()
        try:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()  # some plugins know only then how long a frame is shown
                yield image
        finally:
            image.seek(now)


def _options(image: Image.Image) -> dict[str, Any]:
    return getattr(image, "encoderinfo", {})


def _write(pictures: list[Picture], image: Image.Image, file: IO[bytes]) -> None:
    given = {name: value for name, value in _options(image).items() if name in _OPTIONS}
    try:
        data = api.compress(pictures, **given)
    except InputError as error:
        raise ValueError(str(error)) from error
    except VlaeError as error:
        raise OSError(str(error)) from error
    file.write(data)
