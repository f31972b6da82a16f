"""What is known of each model at hand: from its weight file, and from the card beside it (NAME.md).

A card may open with a block of `key: value` lines between two lines `---`. Two keys are read: `domain`, what the model
is for, and `rate`, what was measured with it: a figure that the weight file cannot hold, as it comes after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlae_codec.errors import WeightsError
from vlae_codec.weights.model import known_models, load_weights
from vlae_codec.weights.safetensors import opened

MODES = {(3, 256): ["RGB", "L"], (1, 256): ["L"], (1, 2): ["1"], (3, 2): ["1"]}  # of pictures, by channels and levels
MAX_CARD = 1 << 20  # bytes


def read_card(path: Path) -> dict[str, str]:
    """The block at the head of the card beside a weight file; empty without one."""
    try:
        with opened(path.with_suffix(".md"), MAX_CARD) as file:
            lines = file.read().decode("utf-8").splitlines()
    except (WeightsError, OSError, ValueError):
        return {}
    if not lines or lines[0].strip() != "---" or "---" not in map(str.strip, lines[1:]):
        return {}
    block = lines[1 : 1 + [line.strip() for line in lines[1:]].index("---")]
    return {key.strip(): value.strip() for key, mark, value in (line.partition(":") for line in block) if mark}


def describe_models() -> tuple[list[dict[str, Any]], list[str]]:
    """Every model that `find_model` can find, in the order of search, as JSON types; and what is wrong with the others.

    `domain` and `rate` are None where there is no card.
    """
    models, problems = [], []
    for name, path, origin in known_models():
        try:
            made, size = load_weights(path), path.stat().st_size
        except (WeightsError, OSError) as error:
            problems.append(str(error))
            continue
        card = read_card(path)
        models.append(
            {
                "name": name,
                "id": made.id.hex(),
                "bytes": size,
                "domain": card.get("domain"),
                "rate": card.get("rate"),
                "modes": ["chroma"]
                if made.config.get("side")
                else MODES[made.config["channels"], made.config.get("levels", 256)],
                "multiply_adds": made.multiply_adds,
                "origin": origin,
            }
        )
    return models, problems
