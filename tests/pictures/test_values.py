"""Which values get a table."""

import numpy as np

from vlae_codec.pictures.layout import find_values


def test_few_of_many_levels():
    """Of more than 256 levels a narrow range is enough, of others values must be missing inside it."""
    narrow = np.arange(600).reshape(20, 30, 1)
    assert [table.tolist() for table in find_values([narrow.astype(np.uint16)], 65536)] == [[*range(600)]]
    assert not find_values([narrow.astype(np.uint16)], 601)
    assert not find_values([(narrow % 100).astype(np.uint8)], 256)
    (table,) = find_values([(narrow % 100 * 2).astype(np.uint8)], 256)
    assert table.tolist() == [*range(0, 200, 2)]


def test_one_value():
    assert not find_values([np.full((4, 5, 1), 7, np.uint8)], 256)
