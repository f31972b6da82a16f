"""Frames of an animation, composed on its canvas as a viewer shows them; and what they were, in words.

The key "frame" of `Picture.metadata` is ASCII, "name=value" separated by blanks: delay=NUM/DEN seconds, dispose=none,
background or previous, blend=source or over, x= and y= of the part that the file has of the frame. The first picture
also has format=gif, apng, webp, ico or mpo, canvas=WxH, loop= the number of times that the animation is shown, 0 for
ever, and background= as the file says it. default=1 is the picture of an APNG that its animation does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlae_codec.errors import UnsupportedImage
from vlae_codec.limits import Limits


@dataclass(frozen=True)
class Part:
    """What a file has of a frame."""

    width: int
    height: int
    x: int
    y: int
    delay: tuple[int, int]
    dispose: str = "none"
    blend: str = "source"

    def words(self, **first: object) -> bytes:
        """The metadata "frame"."""
        found = {"delay": "{}/{}".format(*self.delay), "dispose": self.dispose, "blend": self.blend}
        return words(**found, x=self.x, y=self.y, **first)


def words(**values: object) -> bytes:
    return " ".join(f"{name}={value}" for name, value in values.items()).encode()


def read_words(text: bytes) -> dict[str, str]:
    """The inverse of `words`."""
    return dict(word.split("=", 1) for word in text.decode("ascii", "replace").split() if "=" in word)


def check(parts: Sequence[Part], canvas: tuple[int, int], limits: Limits, size: int) -> None:
    """Raises UnsupportedImage for parts off the canvas, ImageTooLarge for too many frames of `size` bytes a pixel."""
    width, height = canvas
    for part in parts:
        if not part.width or not part.height or part.x + part.width > width or part.y + part.height > height:
            raise UnsupportedImage("damaged animation (a frame is not on the canvas): get a fresh copy of it")
    area = width * height
    limits.check(area * len(parts), len(parts), area * (len(parts) + 2) * size)


def shows_below(parts: Sequence[Part], canvas: tuple[int, int]) -> bool:
    """Whether the canvas itself may be seen in a frame."""
    first = parts[0]
    covered = (first.width, first.height) == canvas
    return (
        not covered
        or (len(parts) > 1 and first.dispose != "none")
        or any(part.dispose == "background" for part in parts[:-1])
    )


def composed(
    parts: Sequence[Part], pixels: Iterator[tuple[np.ndarray, np.ndarray | None]], canvas: np.ndarray
) -> Iterator[np.ndarray]:
    """The frames, as arrays of their own.

    pixels: of each part, with a mask where they hide what lies below (None: everywhere, or by their alpha if they are
    blended over it and have one). canvas: what is there before the first frame.
    """
    empty = canvas
    canvas = canvas.copy()
    for part, (samples, mask) in zip(parts, pixels):
        place = slice(part.y, part.y + part.height), slice(part.x, part.x + part.width)
        before = canvas[place].copy()
        if mask is not None:
            canvas[place][mask] = samples[mask]
        elif part.blend == "over" and canvas.ndim == 3 and canvas.shape[2] in (2, 4):
            canvas[place] = over(before, samples)
        else:
            canvas[place] = samples
        yield canvas.copy()
        if part.dispose != "none":
            canvas[place] = empty[place] if part.dispose == "background" else before


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Samples whose last channel is alpha, blended as the specification of APNG says; in integers."""
    most = int(np.iinfo(above.dtype).max)
    u = above[..., -1:].astype(np.uint64) * most
    v = (most - above[..., -1:].astype(np.uint64)) * below[..., -1:]
    alpha = u + v
    colours = (above[..., :-1] * u + below[..., :-1] * v) // np.maximum(alpha, 1)
    blended = np.concatenate([colours, alpha // most], axis=-1).astype(above.dtype)
    blended = np.where(above[..., -1:] == 0, below, blended)
    return np.where((above[..., -1:] == most) | (below[..., -1:] == 0), above, blended)


def opaque(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Frames of 8 bits without their alpha, if nothing is transparent in any."""
    if all((frame[..., -1] == 255).all() for frame in frames):
        return [np.ascontiguousarray(frame[..., :-1]) for frame in frames]
    return frames
