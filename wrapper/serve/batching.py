"""Micro-batches: what waits while one batch runs becomes the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from errata.serve.errors import ApiError

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Key, Item, Result]):
    key: Key
    item: Item
    result: asyncio.Future[Result]


class MicroBatcher(Generic[Key, Item, Result]):
    """Runs a function on batches of what was submitted, in a thread of its own.

    Nothing waits for a batch to fill: under little load an item runs alone and at once; under much,
    batches grow with the time that one takes.

    :param run: takes the key of a batch and its items; returns a result for each.
    :param max_batch: items of one batch at most.
    :param max_waiting: items that wait at most.
    :param on_batch: called with the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[Key, Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_waiting: int,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._run, self._max_batch, self._max_waiting = run, max_batch, max_waiting
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Key, Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="errata-batch")

    async def submit(self, key: Key, item: Item) -> Result:
        """Return the result for an item; items of equal keys may share a batch.

        :raises ApiError: too many are waiting.
        """
        if len(self._waiting) >= self._max_waiting:
            raise ApiError(
                503, "more requests are waiting than this server takes: try again", "overloaded",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        waiting: _Waiting[Key, Item, Result] = _Waiting(
            key, item, asyncio.get_running_loop().create_future()
        )
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.result

    def close(self) -> None:
        """End the thread when its batch is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch()
            if not batch:
                continue
            self._on_batch(len(batch))
            items = [one.item for one in batch]
            try:
                results = await loop.run_in_executor(self._executor, self._run, batch[0].key, items)
            except Exception as error:
                await self._one_by_one(batch, error)
                continue
            for one, result in zip(batch, results, strict=True):
                if not one.result.done():
                    one.result.set_result(result)

    def _next_batch(self) -> list[_Waiting[Key, Item, Result]]:
        """Return the first that wait with the key of the first; those given up are left out."""
        batch: list[_Waiting[Key, Item, Result]] = []
        others: deque[_Waiting[Key, Item, Result]] = deque()
        while self._waiting and len(batch) < self._max_batch:
            one = self._waiting.popleft()
            if one.result.done():  # its client has gone
                continue
            (batch if not batch or one.key == batch[0].key else others).append(one)
        self._waiting.extendleft(reversed(others))
        return batch

    async def _one_by_one(
        self, batch: Sequence[_Waiting[Key, Item, Result]], error: Exception
    ) -> None:
        """Run the items of a batch that failed alone, so that one fails for itself only."""
        loop = asyncio.get_running_loop()
        for one in batch:
            if one.result.done():
                continue
            try:
                if len(batch) == 1:
                    raise error
                (result,) = await loop.run_in_executor(
                    self._executor, self._run, one.key, [one.item]
                )
            except Exception as own:
                one.result.set_exception(own)
            else:
                one.result.set_result(result)
