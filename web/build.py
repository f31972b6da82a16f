"""The parts of the npm package that are not in the repository: the core, and the weights.

    python web/build.py

After it `npm pack web` makes the package, and `web/src/index.js` runs as it stands.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build(folder: Path = ROOT / "web") -> None:
    """Puts core.wasm and weights/ into a folder; weights/index.json says which file has which model."""
    sys.path.insert(0, str(ROOT))
    import build_core

    if not build_core.web_is_built(folder / "core.wasm"):
        build_core.compile_web(folder / "core.wasm")
    weights = folder / "weights"
    weights.mkdir(exist_ok=True)
    names = {}
    for path in sorted((ROOT / "models" / "weights").glob("*.safetensors")):
        shutil.copy(path, weights / path.name)
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        names[header["__metadata__"]["id"]] = path.name
    for path in weights.glob("*.safetensors"):  # of models that are shipped no more
        if path.name not in names.values():
            path.unlink(missing_ok=True)
    (weights / "index.json").write_text(json.dumps(names, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    build()
