"""What several tests share: the tiny model of tests/data, and integer models of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch
from PIL import Image

from vlae_codec import build_core as build
from vlae_codec.coder.tile import TileCodec
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.vlae import Vlae
from vlae_codec.native import library
from vlae_codec.weights import model

BACKENDS = ["cpu", "torch:cpu"]
TARGETS = list(build.TARGETS.get(build.find_platform().architecture, build.GENERIC))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target of this architecture is in use once; one that this processor lacks is skipped."""
    before, name = library.target(), str(request.param)
    if name not in library.targets():
        pytest.skip(f"this processor does not have {name}")
    library.use(name)
    yield name
    library.use(before)


@pytest.fixture
def each_target() -> Iterator[Callable[[], Iterator[str]]]:
    """A function that goes through the targets that this processor has, each in use in its turn: for tests in which
    what to compare with takes long to find."""
    before = library.target()

    def turns() -> Iterator[str]:
        for name in library.targets():
            library.use(name)
            yield name

    yield turns
    library.use(before)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny products gain nothing from threads, and lose much where the machine has other work. Some tests set two."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_numbers(request: pytest.FixtureRequest) -> None:
    """A module's RNG gives each test its own numbers, whichever tests run before it, or beside it."""
    if hasattr(request.module, "RNG"):
        request.module.RNG = np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture(scope="session")
def tiny() -> Path:
    return Path(make_golden.DATA / "tiny.safetensors")


@pytest.fixture(scope="session")
def learns(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, synthetic: Callable[[int, int, int], np.ndarray]
) -> Path:
    """The tiny model with what it needs to learn while it codes."""
    from vlae_codec.models.learning import with_learning
    from vlae_codec.models.trainer import Settings
    from vlae_codec.models.weights_file import save_weights

    images = [synthetic(96, 96, i) for i in range(3)]
    path = tmp_path_factory.mktemp("learns") / "learns.safetensors"
    save_weights(path, *with_learning(tiny, images, Settings(crop=32, batch=4, data_init=False)))
    return path


@pytest.fixture(scope="session")
def styled(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The tiny model, its local network spoilt, with two stages of three styles; 3 and 1 together undo that."""
    from vlae_codec.models.weights_file import save_weights

    config, tensors, _ = model.read_weights(tiny)
    layers = [f"local.{name}" for name in ("hidden.0", "out")]
    ends = np.cumsum([tensors[f"{name}.addend"].size for name in layers])
    styles = np.random.default_rng(5).integers(-60, 61, (2, 3, ends[-1])).astype(np.int8)
    styles[1] //= 2
    whole = (styles[0, 2].astype(np.int64) + styles[1, 0]).clip(-127, 127)
    tensors = {**tensors, "styles": styles}
    for name, numbers in zip(layers, np.split(whole, ends[:-1])):
        tensors[f"{name}.addend"] = tensors[f"{name}.addend"] - (numbers << tensors[f"{name}.shift"].item() - 1)
    path = tmp_path_factory.mktemp("styled") / "styled.safetensors"
    save_weights(path, {**config, "styles": (2, 3)}, tensors)
    return path


@pytest.fixture(scope="session")
def synthetic() -> Callable[[int, int, int], np.ndarray]:
    """(height, width, seed) -> a picture for which the tiny model uses its latents."""
    return make_golden.synthetic  # type: ignore[no-any-return]


@cache
def _float_model(items: tuple[tuple[str, Any], ...]) -> Vlae:
    torch.manual_seed(7)
    vlae = Vlae(make_golden.CONFIG.__class__(**{**make_golden.CONFIG.to_dict(), **dict(items)}))
    with torch.no_grad():  # outputs that vary from row to row, as after training
        for layer in (vlae.local.out, vlae.encoder.out, *(net.out for net in vlae.prior.affine)):
            layer.weight *= 3
        vlae.topdown.null += torch.rand_like(vlae.topdown.null)
    return vlae


@cache
def _codec(items: tuple[tuple[str, Any], ...], backend: str) -> TileCodec:
    vlae = _float_model(items)
    return TileCodec(model.build(vlae.config.to_dict(), integer_tensors(vlae)), backend)


@pytest.fixture(scope="session")
def random_vlae() -> Callable[..., Vlae]:
    """A float model of random weights; arguments: what its configuration has otherwise than the tiny model's."""
    return lambda **changes: _float_model(tuple(sorted(changes.items())))


@pytest.fixture(scope="session")
def random_codec() -> Callable[..., TileCodec]:
    """The integer twin of `random_vlae`."""
    return lambda backend="cpu", **changes: _codec(tuple(sorted(changes.items())), backend)


@pytest.fixture
def pictures(tmp_path: Path, synthetic: Callable[[int, int, int], np.ndarray]) -> str:
    """A folder of two pictures of 48x64 pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(synthetic(48, 64, i)).save(folder / f"{i}.png")
    return str(folder)


@pytest.fixture(scope="session")
def tiny_codec(tiny: Path) -> TileCodec:
    return TileCodec(model.load_weights(tiny))
