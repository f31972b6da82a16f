"""Threads that share a device: what they ask for while it is at work goes together the next time.

A device takes hardly longer for the waves of many tiles than for those of one. So pictures are decoded side by side,
each by a thread that knows nothing of the others, and their tiles meet here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from vlae_codec.errors import VlaeError
from vlae_codec.native.ans import Message

PATIENCE = 0.01  # seconds in which others may join before the device sets out; a batch takes many times that


@dataclass
class _Request:
    messages: list[Message]
    known: list[np.ndarray]
    heights: list[int]
    contexts: list[np.ndarray] | None
    coded: int
    tick: Callable[[int], None] | None
    found: tuple[list[Message], list[np.ndarray]] | None = None
    error: BaseException | None = None

    @property
    def kind(self) -> tuple[int, bool]:
        """What requests must have in common to go together."""
        return self.coded, self.contexts is None


class Convoy:
    """A `tile.PixelCodec` for many threads, made of one for a single thread."""

    def __init__(self, codec: Any, patience: float = PATIENCE) -> None:
        self.codec, self.patience = codec, patience
        self._device, self._list = Lock(), Lock()
        self._waiting: list[_Request] = []

    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Any = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the codec's, of one thread after another."""
        with self._device:
            return self.codec.intervals(above, band, context, coded)

    def pop(
        self,
        messages: list[Message],
        known: list[np.ndarray],
        heights: Sequence[int],
        contexts: list[np.ndarray] | None,
        coded: int,
        tick: Callable[[int], None] | None = None,
    ) -> tuple[list[Message], list[np.ndarray]]:
        """As the codec's, together with what other threads ask for."""
        request = _Request(messages, known, list(heights), contexts, coded, tick)
        with self._list:
            self._waiting.append(request)
        with self._device:
            if request.found is None and request.error is None:
                time.sleep(self.patience)
                with self._list:
                    company = [other for other in self._waiting if other.kind == request.kind]
                    self._waiting = [other for other in self._waiting if other.kind != request.kind]
                self._serve(company)
        if request.error is not None:
            raise request.error
        assert request.found is not None
        return request.found

    def _serve(self, company: list[_Request]) -> None:
        """Fills in what was found, or what was wrong with each."""
        try:
            found = self._pop(company)
        except BaseException as error:
            if len(company) == 1:
                company[0].error = error
            elif isinstance(error, VlaeError):  # that of one of them: each finds out alone
                for request in company:
                    self._serve([request])
            else:
                for request in company:
                    request.error = error
            return
        begin = 0
        for request in company:
            end = begin + len(request.messages)
            request.found = found[0][begin:end], found[1][begin:end]
            begin = end

    def _pop(self, company: list[_Request]) -> tuple[list[Message], list[np.ndarray]]:
        first, alone = company[0], len(company) == 1
        lists: list[list[Any]] = [
            [item for request in company for item in part(request)]
            for part in (lambda r: r.messages, lambda r: r.known, lambda r: r.heights, lambda r: r.contexts or [])
        ]
        contexts = None if first.contexts is None else lists[3]
        tick = first.tick if alone else None
        found: tuple[list[Message], list[np.ndarray]] = self.codec.pop(*lists[:3], contexts, first.coded, tick)
        for request in company:
            if request.tick is not None and not alone:
                request.tick(sum(h * k.shape[1] for h, k in zip(request.heights, request.known)))
        return found
