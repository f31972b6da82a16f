"""A hook of mkdocs: a page that would fetch something from another host ends the build."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError

FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>", re.IGNORECASE
)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    if found := [tag for tag in FETCHED.findall(output) if 'rel="canonical"' not in tag]:
        raise PluginError(f"{page.file.src_uri} would fetch {found[0]}")
    return output
