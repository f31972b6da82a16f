"""The rooms: imports go downward only, no module is long, and the folder listing shows the way of the data."""

import ast
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

import vlae_codec

PACKAGE = Path(vlae_codec.__file__).parent
ROOT = PACKAGE.parent
# From the ground up: a room imports from those below it, and from itself. Beside it on one floor it imports nothing.
FLOORS = [
    ["errors"],
    ["contract", "limits", "threads"],
    ["files", "native", "format"],
    ["pipes"],
    ["weights", "origins", "jpeg"],
    ["gpu"],
    ["coder", "images"],
    ["adapter"],
    ["pictures"],
    ["exact"],
    ["views", "jobs"],
    ["archive"],
    ["api"],
    ["pillow", "cluster"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LONGEST = 300
MOST = {
    "archive": 1400,
    "codec": 7480,
    "jobs": 900,
    "pillow": 420,
    "cluster": 400,
    "images": 3300,
    "exact": 700,
    "origins": 700,
    "jpeg": 1500,
}  # lines of code
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """What a module imports of the package, also inside functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by dots"
            if node.module == "vlae_codec":
                found |= {f"vlae_codec.{name.name}" for name in node.names}
            elif (node.module or "").startswith("vlae_codec."):
                found.add(str(node.module))
                inner = PACKAGE.joinpath(*str(node.module).split(".")[1:])
                if inner.is_dir():
                    found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("vlae_codec.")}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_downward(module: str) -> None:
    room = module.removesuffix(".py").split("/")[0]
    if room == "__init__":
        return
    for name in imported(PACKAGE / module):
        other = name.split(".")[1]
        if other in ("__version__", "build_core"):
            continue
        assert other in FLOOR, f"{module} imports {name}: the codec needs nothing but its own rooms"
        assert other == room or FLOOR[other] < FLOOR[room], f"{module} imports {name}, which is not below it"


def test_no_circle() -> None:
    """Also inside the rooms: modules can be put in an order in which each imports those before it."""
    left = {}
    for module in MODULES:
        name = "vlae_codec." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        left[name] = imported(PACKAGE / module)
    left.pop("vlae_codec.__init__", None)
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys() - {name}]
        assert free, f"these import each other: {sorted(left)}"
        for name in free:
            del left[name]


def test_sizes() -> None:
    lines = {module: len((PACKAGE / module).read_text("utf-8").splitlines()) for module in MODULES}
    long = {module: count for module, count in lines.items() if count > LONGEST}
    assert set(long) <= {"format/container.py", "format/header.py"}, long  # which have the description of the format


def code_lines(text: str) -> int:
    """The lines of a module that are neither blank nor comments nor docstrings."""
    kept = {i for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            kept -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(kept)


def test_code() -> None:
    """All of the codec can be read; so can what reads and writes picture files, and what makes these files again."""
    lines: Counter[str] = Counter()
    for module in MODULES:
        room = module.split("/")[0]
        lines[room if room in MOST else "codec"] += code_lines((PACKAGE / module).read_text("utf-8"))
    assert not {room: count for room, count in lines.items() if count > MOST[room]}, lines


def test_nothing_above_imports_from_the_side() -> None:
    """Training and the command line use the codec; the codec uses neither."""
    users = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("models", "cli", "bench"))
    assert len(list(users)) > 30
    assert (PACKAGE / "py.typed").exists()
