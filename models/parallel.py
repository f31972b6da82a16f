"""Several processes training one model, as torchrun starts them: each draws its own crops, gradients are averaged.

Without torchrun there is one process, the first, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def processes(device: str) -> Iterator[None]:
    """Joins the processes that torchrun started, if it did. device: cpu or cuda, one GPU for each process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Which process this is. Only process 0 reports and writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wrap(model: nn.Module) -> Any:
    """What to call in place of the model, so that its gradients are means over all processes."""
    return DistributedDataParallel(model) if count() > 1 else model


def from_first(*values: float, device: str) -> list[float]:
    """Process 0's values, in every process: what depends on its clock must be the same in all of them."""
    if count() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.broadcast(tensor, 0)
    return tensor.tolist()


def half_precision(device: str | torch.device) -> bool:
    """Whether bfloat16 is the faster one there: a processor without it computes it in several steps."""
    return torch.device(device).type != "cpu" or torch.cpu._is_avx512_bf16_supported()
