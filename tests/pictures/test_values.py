"""Which values get a table."""

import numpy as np

from vlae_codec.pictures.layout import find_values


def test_few_of_many_levels():
    """Of more than 256 levels a narrow range is enough, of others values are missing inside it."""
    narrow = np.arange(600).reshape(20, 30, 1)
    assert [table.tolist() for table in find_values([narrow.astype(np.uint16)], 65536)] == [[*range(600)]]
    assert not find_values([narrow.astype(np.uint16)], 601)
    (table,) = find_values([(narrow % 100 * 2).astype(np.uint8)], 256)
    assert table.tolist() == [*range(0, 200, 2)]


def hills(low: int, high: int) -> np.ndarray:
    """(128, 128, 3) uint8: all values of a range, its ends the rarest."""
    rng = np.random.default_rng(1)
    return (rng.normal((low + high) / 2, (high - low) / 7, (128, 128, 3))).clip(low, high).astype(np.uint8)


def test_levels_that_were_changed():
    """Stretched or clipped ones are seen, also if most values occur; a narrow range alone says nothing."""
    stretched = np.rint(np.linspace(0, 255, 240)).astype(np.uint8)[hills(0, 239)]
    assert all(1 < len(table) <= 240 for table in find_values([stretched], 256))
    assert find_values([hills(0, 255).clip(90, 255)], 256)[0][0] == 90
    assert not find_values([hills(0, 255)], 256)
    assert not find_values([hills(30, 200)], 256)


def test_one_value():
    assert not find_values([np.full((4, 5, 1), 7, np.uint8)], 256)
