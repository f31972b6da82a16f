"""Functions compiled by torch, and steps replayed from CUDA graphs. Where either fails, the code runs as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

WARM = 2  # runs of a step before a graph is captured: libraries load, functions compile

Function = Callable[..., Any]  # of constants (a tensor, or a tuple of them) and of tensors
Compiler = Callable[[Function], Function]


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, tuple):
        for part in nested:
            yield from _tensors(part)


class Compiled:
    """A function compiled by torch; where that fails, the function itself.

    The first size of each tensor after the constants may vary without another compilation.
    """

    def __init__(self, function: Function) -> None:
        self.function, self.compiled = function, torch.compile(function, fullgraph=True)
        self.compiling = True

    def __call__(self, c: Tensor | tuple, *args: Any) -> Any:
        if self.compiling:
            try:
                for v in _tensors(c):
                    torch._dynamo.mark_static(v)
                for v in _tensors(args):
                    torch._dynamo.maybe_mark_dynamic(v, 0)
                    torch._dynamo.mark_static(v, list(range(1, v.dim())))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return self.compiled(c, *args)
            except Exception:  # no compiler, no Triton, no room: of many types, and none matters
                self.compiling = False
        return self.function(c, *args)


@cache
def find_compiler(kind: str) -> Compiler | None:
    """The compiler for a kind of device, or None where there is none: it pays on CUDA, where the waves are replayed.

    It is tried on next to nothing, as torch may lack a C compiler. It compiles a function once for all models.
    """
    if kind != "cuda":
        return None
    probe = Compiled(lambda c: c + 1)
    probe(torch.zeros(2, dtype=torch.int64, device=kind))
    return cache(Compiled) if probe.compiling else None


class Graphs:
    """Runs a step, a function of the number of groups: replayed from CUDA graphs where there is CUDA."""

    def __init__(self, step: Callable[[int], None], device: torch.device) -> None:
        self.step, self.usable = step, device.type == "cuda"
        self.runs: dict[int, int] = {}
        self.graphs: dict[int, Any] = {}

    def run(self, groups: int) -> None:
        if self.usable and groups not in self.graphs and self.runs.get(groups, 0) >= WARM:
            self.capture(groups)
        if groups in self.graphs:
            self.graphs[groups].replay()
        else:
            self.runs[groups] = self.runs.get(groups, 0) + 1
            self.step(groups)

    def capture(self, groups: int) -> None:
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        try:
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                self.step(groups)
            finally:
                graph.capture_end()
            self.graphs[groups] = graph
        except RuntimeError:  # the step runs as well without
            self.usable = False
