"""What an archive holds, for people and for programs: lines, JSON, and a page of HTML that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from datetime import datetime, timezone
from stat import S_IFREG, filemode
from typing import Any

from vlae_codec.archive.reader import Archive, Member
from vlae_codec.errors import VlaeError
from vlae_codec.images.thumbnails import scaled

EDGE = 128  # pixels of a picture on the page

_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; background: #f6f6f6; color: #222 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px }}
figure {{ margin: 0; padding: 8px; background: #fff; border-radius: 4px; overflow-wrap: anywhere }}
figure img {{ display: block; margin: auto; max-width: {edge}px; max-height: {edge}px; image-rendering: auto }}
figcaption {{ margin-top: 6px; font-size: 12px }}
small {{ color: #666 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #222; color: #ddd }} figure {{ background: #333 }} }}
</style>
<h1>{title}</h1>
<p>{count} members, {size:,} bytes</p>
<main>
"""


def facts(member: Member) -> dict[str, Any]:
    """What the index says of a member, as JSON can hold it."""
    entry = member.entry
    return {
        "name": member.name,
        "width": member.width,
        "height": member.height,
        "mode": member.mode,
        "bits": member.bits,
        "pictures": member.count,
        "time": when(member.time),
        "permissions": member.permissions,
        "file_bytes": member.size,
        "group": {"offset": entry.offset, "bytes": entry.length, "first": entry.first},
    }


def when(time: int) -> str | None:
    """ISO 8601, UTC; None of a time that is not known, or is not in the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(time / 1e9, timezone.utc).isoformat(timespec="seconds") if time else None
    except (OverflowError, OSError, ValueError):
        return None


def line(member: Member) -> str:
    """Permissions, the file's bytes if it comes back, size and kind of the picture, time and name."""
    rights = filemode(S_IFREG | member.permissions) if member.permissions else "-?????????"
    several = f" x{member.count}" if member.count > 1 else ""
    picture = f"{member.width}x{member.height} {member.mode}/{member.bits}{several}"
    time = (when(member.time) or "-" * 16)[:16].replace("T", " ")
    return f"{rights} {member.size or '-':>9} {picture:>20} {time} {printable(member.name)}"


def printable(name: str) -> str:
    """The name without what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in name)


def page(archive: Archive, title: str) -> Iterator[str]:
    """The parts of the page: each member with its thumbnail, or, where it has none, made small from its picture."""
    yield _HEAD.format(title=html.escape(title), edge=EDGE, count=len(archive), size=archive.source.length)
    for number in range(len(archive)):
        member = archive[number]
        try:
            kind, data = _image(member)
            source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
            shown = f'<img loading="lazy" alt="" src="{source}">'
        except VlaeError as error:
            shown = f"<small>{html.escape(str(error))}</small>"
        what = f"{member.width}&times;{member.height} {member.mode}"
        yield f"<figure>{shown}<figcaption>{html.escape(printable(member.name))}<br><small>{what}</small></figcaption>"
        yield "</figure>\n"
    yield "</main></html>\n"


def _image(member: Member) -> tuple[str, bytes]:
    """(kind, bytes) of the thumbnail of a member, or of a small picture made of it."""
    found = member.thumbnail
    if found is not None:
        return ("jpeg" if found.startswith(b"\xff\xd8") else "webp"), found
    small, out = scaled(member.picture, EDGE), io.BytesIO()
    exact = max(member.width, member.height) <= EDGE
    small.save(out, "PNG" if exact else "WEBP")
    return ("png" if exact else "webp"), out.getvalue()
