"""Files of one picture in one group of planes, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlae_codec.format import container
from vlae_codec.format.container import Contents, Metadata, TileRecord
from vlae_codec.format.header import CHANNELS, Header, Layout, Planes


def header_of(mode: str, width: int, height: int, model_id: bytes | None = None, **planes: Any) -> Header:
    """planes: other fields of the group of planes."""
    channels, levels = CHANNELS[mode] or 1, planes.pop("layout_levels", 2 if mode == "1" else 256)
    group = Planes(channels, planes.pop("levels", levels), model_id, **planes)
    return Header.of([Layout(mode, (group,), levels=levels, channels=channels)], [(0, width, height)])


def file_of(
    header: Header,
    records: Sequence[TileRecord],
    adapter: bytes | None = None,
    metadata: dict[str, bytes] | None = None,
) -> bytes:
    """A file of a header of one group of planes."""
    (part,) = container.parts_of(header)
    given = [Metadata(0, header.count, name, value) for name, value in sorted((metadata or {}).items())]
    return container.write(header, [replace(part, records=tuple(records), adapter=adapter)], given)


def records_of(contents: Contents) -> list[TileRecord]:
    return [record for part in contents.parts for record in part.records]
