"""Origins in files of several pictures."""

import numpy as np
import pytest
from test_past import past, photo, photocd  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.pictures import past as search
from vlae_codec.views.describe import describe


def coded(pictures: list[np.ndarray], origin: str = "auto") -> list[str | None]:
    """Origins of the layouts of a file that comes back."""
    data = vlae_codec.compress_many(pictures, effort=1, threads=1, origin=origin)
    for picture, back in zip(pictures, vlae_codec.decompress_many(data, threads=1), strict=True):
        assert np.array_equal(picture, back)
    found: list[str | None] = describe(data)["origins"]
    return found


def test_some_with_a_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is coded on its own, those of one kind and origin as one layout; all others in chains."""
    monkeypatch.setattr(search, "LARGE", 1000)
    pictures = [photocd(photo(48, 64)), photo(20, 30), photocd(photo(40, 60, 2)), photo(48, 64, 3), past("jpeg 4:4:4")]
    origins = coded(pictures)
    assert len(origins) == 3
    assert sorted(map(str, origins)) == ["None", "a JPEG, 4:4:4, its coefficients", "from a PhotoCD, 4:2:0"]
    assert coded(pictures[:2], origin="none") == [None]


def test_small_ones_are_chained() -> None:
    assert coded([photocd(photo(48, 64)), photocd(photo(40, 60, 2))]) == [None]


def test_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is mostly as the one before is coded by differences."""
    monkeypatch.setattr(search, "LARGE", 1000)
    first = past("jpeg 4:4:4")
    second = first.copy()
    second[:10] = 7
    assert coded([first, second]) == ["a JPEG, 4:4:4, its coefficients", None]
