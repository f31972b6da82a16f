"""What is known of each model at hand: from its weight file, and from the card beside it (NAME.md).

A card may open with a block of `key: value` lines between two lines `---`. Two keys are read: `domain`, what the model
is for, and `rate`, what was measured with it: a figure that the weight file cannot hold, as it comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlae_codec.errors import WeightsError
from vlae_codec.weights.model import known_models, load_weights, read_weights

MODES = {(3, 256): ["RGB", "L"], (1, 256): ["L"], (1, 2): ["1"]}  # of pictures, by channels and levels


def read_card(path: Path) -> dict[str, str]:
    """The block at the head of the card beside a weight file; empty without one."""
    try:
        lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return {}
    if not lines or lines[0].strip() != "---" or "---" not in map(str.strip, lines[1:]):
        return {}
    block = lines[1 : 1 + [line.strip() for line in lines[1:]].index("---")]
    return {key.strip(): value.strip() for key, mark, value in (line.partition(":") for line in block) if mark}


def multiply_adds(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> float:
    """int8 products that one pixel takes, in either direction; a weight of two digits counts twice."""
    cell = config["stride"] ** 2  # pixels
    pixels = {"local": 1, "topdown.fine": 16, "topdown.out": 16, "encoder.stem": 16, "encoder.down.0": 64}
    total = 0.0
    for name, tensor in tensors.items():
        if name.endswith(".weight"):
            rows = next((n for part, n in pixels.items() if name.startswith(part + ".")), cell)
            total += tensor.size / rows
    return total


def describe_models() -> tuple[list[dict[str, Any]], list[str]]:
    """Every model that `find_model` can find, in the order of search, as JSON types; and what is wrong with the others.

    `domain` and `rate` are None where there is no card.
    """
    models, problems = [], []
    for name, path, origin in known_models():
        try:
            made = load_weights(path)
            config, tensors, _ = read_weights(path)
        except WeightsError as error:
            problems.append(str(error))
            continue
        card = read_card(path)
        models.append(
            {
                "name": name,
                "id": made.id.hex(),
                "bytes": path.stat().st_size,
                "domain": card.get("domain"),
                "rate": card.get("rate"),
                "modes": MODES.get((config["channels"], config.get("levels", 256)), []),
                "multiply_adds": round(multiply_adds(config, tensors)),
                "origin": origin,
            }
        )
    return models, problems
