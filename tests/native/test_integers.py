"""No float stands between pixels and bits, nor in what an encoder decides by.

A fit has floats: the adapter that it finds is in the file. So have figures for people: `ans.bits`, maps, reports.
"""

import ast
import math
import re
from collections.abc import Collection
from pathlib import Path

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest

import vlae_codec
from vlae_codec import build_core as build

PACKAGE = Path(vlae_codec.__file__).parent
ROUNDED = {"log", "log1p", "log2", "log10", "exp", "exp2", "expm1", "sqrt", "hypot", "power", "pow", "tanh"}
METHODS = {"mean", "std", "var"}
ROUNDED |= METHODS | {"average", "median", "quantile", "float16", "float32", "float64", "fsum", "linalg"}

# ---------------------------------------------------------------------------------------------------- the core


def code_of(text: str) -> str:
    """C without comments, and without what belongs to the fit and to the search for a lost JPEG, which an exact decoder
    checks: their structs, and their functions' arguments.
    """
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"typedef struct \{[^}]*\} vlae_fit\w*;", "", text)
    return re.sub(r"\(?\*?(vlae_)?(fit_block|search_blocks|score_steps|halve)\)?\([^)]*\)", "", text)


FLOATS = re.compile(
    r"\b(float|double|_Float\w+|floats|side_floats|float\d+x\d+_t|__m(128|256|512)[dh]?)\b"  # types
    r"|\b_mm\d*_(?!movemask|cast)\w+_(ps|pd|ss|sd)\b|\bv\w+_f(16|32|64)\b"  # instructions
    r"|math\.h|\b\d+\.\d*|\b\d*\.\d+"  # functions, numbers
)


def test_core():
    names = sorted(path.name for path in build.CORE.glob("*.[ch]"))
    assert {"fit.h", "core.c", "kernel.c", "mixture.h", "network.h", "pixels.h", "latents.h", "product.h"} <= set(names)
    for name in names:
        found = FLOATS.search(code_of((build.CORE / name).read_text("utf-8")))
        assert (found is None) == (name != "fit.h"), (name, found)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("int x = 1; /* a float */", False),
        ("typedef struct {\n    const float *a;\n} vlae_fit_layer;", False),
        ("int vlae_fit_block(const float *a, int b);", False),
        ("void (*fit_block)(const float *a);", False),
        ("typedef struct {\n    const float *a;\n} vlae_tile;", True),
        ("int run(const float *a);", True),
        ("x = 0.5 * y;", True),
        ("__m256 x;", True),
        ("__m256i x = rows.n;", False),
        ("x = _mm256_add_ps(y, z);", True),
        ("vaddq_f32(x, y);", True),
    ],
)
def test_core_would_be_seen(code, found):
    assert bool(FLOATS.search(code_of(code))) == found


# ---------------------------------------------------------------------------------------------------- Python

CODING = [
    *(
        "coder/streams.py",
        "coder/tile.py",
        "pictures/encode.py",
        "pictures/decode.py",
        "coder/choice.py",
        "format/streams.py",
        "format/stored.py",
        "coder/inference.py",
        "coder/codecs.py",
    ),
    *("native/network.py", "native/mixture.py", "native/waves.py", "native/pixels.py", "native/latents.py"),
    "native/ans.py",
]
REPORTS = {"native/ans.py": {"bits"}}  # functions that nothing is decided by


def rounded_names(source: str, without: Collection[str] = ()) -> set[str]:
    """Functions and types of floats that a module takes from numpy or math, some of its own functions left out."""
    found = set()
    for part in ast.parse(source).body:
        if getattr(part, "name", None) in without:
            continue
        for node in ast.walk(part):
            if isinstance(node, ast.ImportFrom) and node.module in ("math", "numpy"):
                found |= {name.name for name in node.names} & ROUNDED
            if isinstance(node, ast.Attribute):
                module = isinstance(node.value, ast.Name) and node.value.id in ("math", "np")
                found |= {node.attr} & (ROUNDED if module else METHODS)
    return found


@pytest.mark.parametrize("name", CODING)
def test_python(name):
    """What decides or codes has no function whose last bit depends on the machine or the version of numpy."""
    assert rounded_names((PACKAGE / name).read_text("utf-8"), REPORTS.get(name, ())) == set()


def test_python_would_be_seen():
    assert rounded_names("def f(x):\n    return np.log2(x).mean() + x.exp") == {"log2", "mean"}
    assert rounded_names("def f(x):\n    return np.log2(x)\nfrom math import sqrt", {"f"}) == {"sqrt"}


@pytest.mark.parametrize("name", ["colour", "tiles", "grey"])
def test_without(monkeypatch, name):
    """An encoder needs none of them: the golden files come out with all of them gone."""

    def fail(*_, **__):
        raise AssertionError("a float decides")

    pixels = make_golden.golden_pictures()[name]
    for module in (np, math):
        for function in ROUNDED & set(vars(module)):
            if not isinstance(getattr(module, function), type):
                monkeypatch.setattr(module, function, fail)
    data = make_golden.compress_golden(name, pixels, threads=1)
    assert data == (make_golden.DATA / f"{name}.vlae").read_bytes()
