"""Everything that can go wrong, as types.

    VlaeError
      InputError            the input file cannot be read at all
      UnsupportedImage      the input is no picture, or one of a kind this codec does not code
      NotAVlaeFile          the data do not start like a .vlae file
      UnsupportedVersion    the file needs a newer reader
      UnknownModel          the file was coded with a model that is not at hand
      CorruptFile           the data are damaged
        TruncatedFile       the data end too early
        EmptyStack          an ANS stack was asked for more than it holds
      ImageTooLarge         the picture has more pixels than the limit
      OutputExists          the output is there already
      OutputError           the output cannot be written
      WeightsError          a weight file is malformed, or breaks the accumulator bound

Every message says what is wrong and what to do about it, on one line. The command line prints the message and exits
with status 1; nothing else is ever raised on purpose for bad input.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CorruptFile",
    "EmptyStack",
    "ImageTooLarge",
    "InputError",
    "NotAVlaeFile",
    "OutputError",
    "OutputExists",
    "TruncatedFile",
    "UnknownModel",
    "UnsupportedImage",
    "UnsupportedVersion",
    "VlaeError",
    "WeightsError",
]


class VlaeError(Exception):
    """Base of all errors that this package raises on bad input, bad files or a full disk."""


class InputError(VlaeError):
    """The input file is missing or cannot be read."""


class UnsupportedImage(VlaeError):
    """The input is no picture, or one that cannot be read or kept sample by sample."""


class NotAVlaeFile(VlaeError):
    """The data do not begin with the magic number of a .vlae file."""


class UnsupportedVersion(VlaeError):
    """The file uses a format version, a critical chunk or a coding method that this reader does not know."""


class UnknownModel(VlaeError):
    """No model with the file's id was found. ``model_id`` (8 bytes) and ``looked`` (where) are kept."""

    def __init__(self, model_id: bytes, looked: Sequence[str] = ()) -> None:
        super().__init__(model_id, looked)
        self.model_id = model_id
        self.looked = tuple(looked)

    def __str__(self) -> str:
        places = ", ".join(self.looked) or "nowhere"
        return (
            f"no model with id {self.model_id.hex()} (looked in: {places}): "
            "give its weight file with --model PATH (model=... in Python), or set VLAE_CODEC_MODELS to the folder it is"
            " in, or update vlae-codec"
        )


class CorruptFile(VlaeError):
    """The data are damaged: a checksum or a count does not agree."""


class TruncatedFile(CorruptFile):
    """The data end before they should."""


class EmptyStack(CorruptFile):
    """More symbols were popped from an ANS stack than were pushed onto it."""

    def __init__(
        self, message: str = "the coded data end too early: the file is damaged, get a fresh copy of it"
    ) -> None:
        super().__init__(message)


class ImageTooLarge(VlaeError):
    """The picture has more pixels than the reader's or writer's limit."""


class OutputExists(VlaeError):
    """The output file is there already and overwriting was not asked for. ``path`` and how many ``others`` are kept."""

    def __init__(self, path: str, others: int = 0) -> None:
        super().__init__(path, others)
        self.path, self.others = path, others

    def __str__(self) -> str:
        there = f"and {self.others} more outputs exist" if self.others else "exists"
        return f"{self.path} {there} already: give another name, or --force (force=True in Python) to overwrite"


class OutputError(VlaeError):
    """The output cannot be written, or its name asks for a format that cannot hold the picture."""


class WeightsError(VlaeError):
    """A weight file is malformed, or a channel's accumulator could leave the exact range (|sum| < 2**24)."""


def out_of_memory(error: MemoryError) -> str:
    """The line for it."""
    detail = f" ({error})" if str(error) else ""
    return f"not enough memory{detail}: use fewer threads, bring back a region, or split the picture"
