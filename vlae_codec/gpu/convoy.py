"""Threads that share a device: what they ask for while it is at work goes together the next time.

A device takes hardly longer for the waves of many tiles than for those of one. So pictures are decoded side by side,
each by a thread that knows nothing of the others, and their tiles meet here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from vlae_codec.errors import VlaeError
from vlae_codec.native.ans import Message
from vlae_codec.native.pixels import PixelCodec
from vlae_codec.threads import Map

PATIENCE = 0.01  # seconds in which others may join before the device sets out; a batch takes many times that

Popped = tuple[list[Message], list[np.ndarray]]


@dataclass(eq=False)
class _Request:
    messages: list[Message]
    known: list[np.ndarray]
    heights: Sequence[int]
    contexts: list[np.ndarray] | None
    coded: int
    tick: Callable[[int], None] | None
    found: Popped | None = None
    error: BaseException | None = None

    @property
    def kind(self) -> tuple[int, bool]:
        """What requests must have in common to go together."""
        return self.coded, self.contexts is None


class Convoy:
    """A `native.pixels.PixelCodec` for many threads, made of one for a single thread.

    wait: what the first thread does before the device sets out, to give others time to join.
    """

    def __init__(self, codec: PixelCodec, wait: Callable[[], None] = lambda: time.sleep(PATIENCE)) -> None:
        self.codec, self.wait = codec, wait
        self._device, self._list = Lock(), Lock()
        self._waiting: list[_Request] = []

    @property
    def waiting(self) -> int:
        """How many threads have asked for what the device has not yet begun."""
        return len(self._waiting)

    def intervals(
        self, above: np.ndarray, band: np.ndarray, context: np.ndarray | None, coded: int, spread: Map = map
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the codec's, for one thread after another."""
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
    ) -> Popped:
        """As the codec's, together with what other threads ask for."""
        request = _Request(messages, known, heights, contexts, coded, tick)
        with self._list:
            self._waiting.append(request)
        with self._device:
            if request.found is None and request.error is None:
                self.wait()
                with self._list:
                    company = [other for other in self._waiting if other.kind == request.kind]
                    self._waiting = [other for other in self._waiting if other.kind != request.kind]
                self._serve(company)
        if request.error is not None:
            raise request.error
        assert request.found is not None
        return request.found

    def _serve(self, company: list[_Request]) -> None:
        """Gives each request what was found for it, or what was wrong with it."""
        try:
            messages, bands = self._pop(company)
        except BaseException as error:
            if len(company) > 1 and isinstance(error, VlaeError):  # the error is of one request: each goes alone
                for request in company:
                    self._serve([request])
            else:
                for request in company:
                    request.error = error
            return
        begin = 0
        for request in company:
            end = begin + len(request.messages)
            request.found = messages[begin:end], bands[begin:end]
            begin = end

    def _pop(self, company: list[_Request]) -> Popped:
        if len(company) == 1:
            (r,) = company
            return self.codec.pop(r.messages, r.known, r.heights, r.contexts, r.coded, r.tick)
        first = company[0]
        messages = [message for r in company for message in r.messages]
        known = [above for r in company for above in r.known]
        heights = [height for r in company for height in r.heights]
        contexts = None if first.contexts is None else [context for r in company for context in r.contexts or []]
        found = self.codec.pop(messages, known, heights, contexts, first.coded)
        for r in company:
            if r.tick is not None:
                r.tick(sum(height * above.shape[1] for height, above in zip(r.heights, r.known)))
        return found
