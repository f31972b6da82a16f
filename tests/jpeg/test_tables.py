"""Tables of logarithms: whole numbers that are the same on every machine."""

import numpy as np

from vlae_codec.jpeg.tables import BASIS, ONE, exact_scores, exact_sizes, nearest, transform


def test_no_entry_is_near_a_half():
    """Functions of different machines differ in the last bits of 53, so they round to the same numbers."""
    k, x = np.mgrid[:8, :8]
    line = ONE * np.cos((2 * x + 1) * k * np.pi / 16) / 2 * np.where(k == 0, 0.5**0.5, 1)
    for table in (exact_scores(), exact_sizes(), line):
        assert np.abs(table - np.floor(table) - 0.5).min() > 1e-9


def test_transform_is_exact():
    """Sums of products in float32 are those of integers."""
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 256, (64, 64), np.uint8)
    samples[:8, :8] = np.where(BASIS[9].reshape(8, 8) > 0, 255, 0)
    samples[8:16, :8] = 0
    blocks = samples.reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(-1, 64).astype(np.int64) - 128
    assert np.array_equal(transform(samples).reshape(-1, 64), blocks @ BASIS.T.astype(np.int64))
    assert 128 * np.abs(BASIS.astype(int)).sum(1).max() < 1 << 24
    assert np.abs(BASIS.astype(int) @ BASIS.T.astype(int) / ONE**2 - np.eye(64)).max() < 1e-3


def test_nearest():
    values = np.arange(-40 * ONE, 40 * ONE, 611, dtype=np.int32)[:, None] * np.ones(64, np.int32)
    table = np.arange(1, 65, dtype=np.int32)
    assert np.array_equal(nearest(values, table), np.floor(values / (ONE * table) + 0.5))
    assert nearest(values[-1:] * 1000 * 0 + (1 << 23), table)[0, 0] == 1024
