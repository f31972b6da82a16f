"""The viewer page: one HTML file that holds the core, the models, the code and, if wanted, pictures.

It makes no request: a policy in it forbids all network access and all scripts but its own two, which it names by their
hashes: a small one that unpacks the other. A module of `src/` becomes a function that returns what it exports. Bytes
are written in base 85, four of them in five digits.
"""

from __future__ import annotations

import base64
import hashlib
import html
import lzma
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vlae_codec.errors import VlaeError
from vlae_codec.weights.model import load_weights, read_weights

HERE = Path(__file__).parent
MODULES = (
    *("errors", "bytes", "lzma2", "webp", "stored", "core", "model", "networks", "origins", "jpeg", "tiles"),
    *("inflate", "zlib", "packlzma2", "keep", "choice", "push", "engine", "worker", "pool", "container", "decode"),
    *("archive", "readpng", "plan", "write", "encode", "show", "png"),
)
MODELS = ("photo", "photo-learner", "luma", "luma-learner", "chroma")  # in every page
POLICY = (
    "default-src 'none'; script-src 'sha256-{loader}' 'sha256-{script}' 'wasm-unsafe-eval'; "
    "style-src 'sha256-{style}'; worker-src blob:; img-src blob: data:; base-uri 'none'; form-action 'none'"
)
_IMPORT = re.compile(r"^import \{([^}]*)\} from '[./a-z]*?/(\w+)\.js';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (async function|function|class|const) (\w+|\[[\w, ]+\])", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(?:/\*\*.*?\*/|//[^\n]*)[ \t]*\n?", re.MULTILINE | re.DOTALL)
_OTHER = bytes.maketrans(b"&<>", b".,:")  # digits of base 85 that mean something in HTML, and what stands for them


def core_bytes() -> bytes:
    """The core for the web; in a checkout it is built if it is not of these sources. Raises VlaeError."""
    path = HERE / "core.wasm"
    if (HERE.parent / "build_core.py").is_file():
        build: Any = import_module("vlae_codec.build_core")
        if not build.web_is_built(path):
            try:
                build.compile_web(path)
            except (build.BuildError, OSError) as error:
                raise VlaeError(f"the core for the web is not built, and cannot be: {error}") from error
    try:
        return path.read_bytes()
    except OSError as error:
        raise VlaeError(f"the core for the web is missing ({error.strerror}): install vlae-codec again") from error


def script() -> str:
    """The code of the page, which is that of its workers, too."""
    parts = [_module(name, (HERE / "src" / f"{name}.js").read_text("utf-8")) for name in MODULES]
    parts += [_module(name, (HERE / "viewer" / f"{name}.js").read_text("utf-8")) for name in ("digits", "page")]
    return "'use strict';\n" + "\n".join(parts)


def loader() -> str:
    """The script that unpacks `script` and runs it."""
    paths = ("src/errors.js", "src/lzma2.js", "viewer/digits.js", "viewer/load.js")
    parts = [_module(Path(path).stem, (HERE / path).read_text("utf-8")) for path in paths]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "\n})();"


def _module(name: str, source: str) -> str:
    names = [part.strip() for _, found in _EXPORT.findall(source) for part in found.strip("[]").split(",")]
    body = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = module_{match[2]};\n", source)
    body = _EXPORT.sub(r"\1 \2", body)
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise VlaeError(f"web/src/{name}.js has an import or an export that the page cannot hold")
    body = re.sub(r"\n\s*", "\n", _COMMENT.sub("", body).strip())
    return f"const module_{name} = (() => {{\n{body}\nreturn {{ {', '.join(names)} }};\n}})();"


def digits(data: bytes) -> str:
    """Bytes in base 85, filled up to a multiple of four."""
    return base64.b85encode(data, pad=True).translate(_OTHER).decode()


def _element(data: bytes, attributes: dict[str, str], packed: bool = True, context: int = 3) -> str:
    """An element with bytes, packed as raw LZMA2 or as they are.

    context: bits of the byte before by which LZMA2 expects the next one.
    """
    kept = data
    if packed:
        kept = lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": context}])
        attributes = {**attributes, "data-whole": str(len(data))}
    given = {"type": "application/octet-stream", **attributes, "data-size": str(len(kept))}
    text = " ".join(f'{name}="{html.escape(value)}"' for name, value in given.items())
    return f"<script {text}>{digits(kept)}</script>"


def _models(paths: Iterable[Path]) -> list[str]:
    """Weight files, by ids and names. Those with the same latent path are in one element and packed together."""
    groups: dict[bytes, list[Path]] = {}
    for path in dict.fromkeys(paths):
        groups.setdefault(read_weights(path)[1]["topdown.grid.0.weight"].tobytes(), []).append(path)
    made = []
    for group in groups.values():
        files = {load_weights(path).id.hex(): (path.stem, path.read_bytes()) for path in group}
        names, contents = zip(*files.values())
        attributes = {"ids": list(files), "names": names, "sizes": [str(len(content)) for content in contents]}
        given = {f"data-{key}": "/".join(values) for key, values in attributes.items()}
        made.append(_element(b"".join(contents), {"class": "models"} | given, context=0))  # as weights have none
    return made


def make_page(
    pictures: Sequence[tuple[str, bytes]] = (), models: Iterable[Path] = (), title: str = "vlae viewer"
) -> str:
    """The page with these pictures, (name, bytes of a .vlae file) each, and with these weight files."""
    data = [_element(core_bytes(), {"id": "core"}), *_models(models)]
    for name, content in pictures:
        data.append(_element(content, {"class": "picture", "data-name": name}, packed=False))
    code, start, style = script(), loader(), (HERE / "viewer" / "page.css").read_text("utf-8")
    if "</script" in start or "<!--" in start:
        raise VlaeError("the code of the page holds an end of scripts")
    values = {
        "POLICY": POLICY.format(loader=_hash(start), script=_hash(code), style=_hash(style)),
        "TITLE": html.escape(title),
        "STYLE": style,
        "DATA": "\n".join(data),
        "CODE": _element(code.encode(), {"id": "packed"}),
        "LOADER": start,
    }
    template = (HERE / "viewer" / "page.html").read_text("utf-8")
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], template)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
