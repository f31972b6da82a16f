"""A .vlae file as one of Pillow's images.

`Image.open` reads header and metadata and no stream. Samples are decoded when they are asked for: `load` decodes the
frame that is shown, all frames at once if there are several; `crop` of a picture that is not loaded only the tiles that
the box touches, as long as that is less work than to load it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageFile

from vlae_codec import api
from vlae_codec.errors import CorruptFile, ImageTooLarge, NotAVlaeFile, VlaeError
from vlae_codec.format.container import Contents, read, tile_grid
from vlae_codec.format.head import read_head
from vlae_codec.images.picture import Picture
from vlae_codec.images.png_chunks import unpack
from vlae_codec.limits import DEFAULT, UNLIMITED, Limits
from vlae_codec.pictures.modes import unpack_form
from vlae_codec.pillow.info import info_of, metadata_at, texts_in
from vlae_codec.pillow.modes import image_of, mode_of, palette_from, raw_of

FORMAT = "VLAE"


class VlaeImageFile(ImageFile.ImageFile):
    """What `Image.open` gives for a .vlae file. `info` is as `vlae_codec.pillow.info` says.

    `Image.MAX_IMAGE_PIXELS = None` lifts the limits of this package, too.
    """

    format = FORMAT
    format_description = "VLAE lossless image"
    n_frames, is_animated = 1, False

    def _open(self) -> None:
        assert self.fp is not None
        with _errors(opening=True):
            self._head: Contents = read_head(self.fp, _limits())  # type: ignore[arg-type]
        self.n_frames = self._head.header.count
        self.is_animated = self.n_frames > 1
        self._fp = self.fp
        self._data = b""  # the file, while it is needed
        self._pictures: list[Picture] = []  # all frames, once one is loaded
        self._layouts = list(self._head.header.pictures())
        self._cropped = 0  # pixels that were decoded for crops
        self._frame = 0
        self._show(0)

    def _show(self, frame: int) -> None:
        """Size, mode, palette and info of a frame; its samples are still to be loaded."""
        number, *size = self._layouts[frame]
        layout = self._head.header.layouts[number]
        self._mode, self._size = mode_of(layout), (size[0], size[1])
        with _errors(opening=True):
            self.info = info_of(layout, metadata_at(self._head, frame))
            self.palette = None
            if layout.palette is not None:
                colours = unpack_form(layout.palette, (1, layout.colours), layout.columns, 256)[0]
                self.palette, alpha = palette_from(colours)
                if alpha is not None:
                    self.info["transparency"] = alpha
        self.tile = [ImageFile._Tile(FORMAT, (0, 0, *self._size))]

    def seek(self, frame: int) -> None:
        if not self._seek_check(frame):
            return
        if not hasattr(self._fp, "read"):  # Pillow has put something else there when it closed the file
            raise ValueError("Operation on closed image")
        Image._decompression_bomb_check((self._layouts[frame][1], self._layouts[frame][2]))
        self._show(frame)
        self._frame = frame
        self._im = None
        self.fp = self._fp  # type: ignore[assignment]

    def tell(self) -> int:
        return self._frame

    @property
    def text(self) -> dict[str, str]:
        """The texts of a PNG that the picture was, by their keywords. Raises OSError."""
        with _errors():
            return dict(texts_in(unpack(metadata_at(self._head, self._frame).get("png", b""))))

    def load(self) -> Any:
        if self.tile and self.tile[0].codec_name == FORMAT:
            data, raw = raw_of(self._decoded(), self.mode)
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(data)
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, raw)]
        return super().load()

    def load_seek(self, position: int) -> None:
        """What is loaded is no place in the file."""

    def crop(self, box: tuple[float, float, float, float] | None = None) -> Image.Image:
        part = None if box is None or self.is_animated else self._region(box)
        if part is None or box is None:
            return super().crop(box)
        x, y, w, h = part
        with _errors():
            limits = _limits()
            found = image_of(api.decompress_picture(self._read(), region=part, limits=limits), self.mode)
        left, top, right, lower = (round(edge) for edge in box)
        return self._new(self._crop(found.im, (left - x, top - y, right - x, lower - y)))

    def _region(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int] | None:
        """What of the picture to decode for a box; None if it is to be loaded."""
        left, top, right, lower = (round(edge) for edge in box)
        x, y = max(0, left), max(0, top)
        w, h = min(self.width, right) - x, min(self.height, lower) - y
        if not self.tile or w <= 0 or h <= 0:
            return None
        size = self._head.header.first.planes[0].tile_size
        self._cropped += sum(
            rows * columns for _, _, rows, columns in tile_grid(self.width, self.height, size, (x, y, w, h))
        )
        return (x, y, w, h) if self._cropped <= self.width * self.height // 2 else None

    def verify(self) -> None:
        """Raises OSError if a checksum or a count of the file is wrong; the image is then to be opened anew."""
        try:
            with _errors():
                read(self._read(), _limits())
        finally:
            self._data = b""
            super().verify()

    def _read(self) -> bytes:
        """The whole file. Raises ImageTooLarge for more than the limit of memory."""
        if not self._data:
            if self.fp is None:
                raise ValueError("Operation on closed image")
            _limits().check(0, memory=self.fp.seek(0, io.SEEK_END))
            self.fp.seek(0)
            self._data = self.fp.read()
        return self._data

    def _decoded(self) -> Picture:
        """The picture of the frame."""
        if not self._pictures:
            with _errors():
                self._pictures = api.decompress_pictures(self._read(), limits=_limits())
        self._data = b""
        picture = self._pictures[self._frame]
        if not self.is_animated:
            self._pictures = []
        return picture


def _limits() -> Limits:
    return DEFAULT if Image.MAX_IMAGE_PIXELS is not None else UNLIMITED


@contextmanager
def _errors(opening: bool = False) -> Iterator[None]:
    """Our errors become what Pillow's own plugins raise; SyntaxError makes `Image.open` say that it cannot identify."""
    try:
        yield
    except ImageTooLarge as error:
        raise Image.DecompressionBombError(str(error)) from error
    except (CorruptFile, NotAVlaeFile) as error:
        raise (SyntaxError if opening else OSError)(str(error)) from error
    except VlaeError as error:
        raise OSError(str(error)) from error
