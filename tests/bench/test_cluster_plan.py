"""The simulation of clusters: the speed of one worker, of many, and what limits it."""

from __future__ import annotations

import pytest

from vlae_codec.bench.cluster import simulated


def test_one_worker_does_a_picture_after_another() -> None:
    assert simulated([1.0], 1, 0.25, 1e9, 1000) == pytest.approx(0.8)


def test_workers_add_up_until_tasks_are_handed_out_too_slowly() -> None:
    for workers in (2, 16, 64):
        assert simulated([1.0, 3.0], workers, 0.0, 1e9, 5000) == pytest.approx(workers / 2, rel=0.03)
    assert simulated([1.0], 1000, 0.0, 50.0, 5000) == pytest.approx(50, rel=0.02)


def test_a_task_of_many_pictures() -> None:
    """Of very many pictures a task has several, which tasks handed out limit less."""
    assert simulated([1.0], 1000, 0.0, 50.0, 50_000) == pytest.approx(250, rel=0.05)
