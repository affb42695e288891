"""Batch work over the processes of a Ray cluster; the results are those of one process.

Ray has no authentication of its own: whoever reaches a cluster's ports can run code on it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from errata.cache.encoder import TextEncoder
from errata.cache.errors import ErrataError, MissingExtra
from errata.cache.records import Vector
from errata.cache.rollout import Key, conversations_of

if TYPE_CHECKING:
    from types import TracebackType

    from errata.audit.replay import Decider
    from errata.gates.base import Decision

TEXTS = 256
"""Texts of one task: a second's work of the default encoder, against a millisecond to send."""
QUESTIONS = 32
"""Questions of one task, as many as a replay decides at once."""

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_A = TypeVar("_A")
_R = TypeVar("_R")


class _Worker(Generic[_T]):
    """A process with an object of its own."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._held = make()

    def run(self, call: Callable[[_T, _A], _R], item: _A) -> _R:
        return call(self._held, item)


class RayPool(Generic[_T_co]):
    """Processes of a Ray cluster, each with an object of its own, such as a model.

    The cluster is the one of ``RAY_ADDRESS``, else one that is started on this machine. Objects are
    made where they are used; what is sent are the calls, their items and results.

    :param make: makes the object, in each process.
    :param workers: how many processes, of one CPU each.
    :raises MissingExtra: Ray is not installed.
    :raises ErrataError: the cluster has fewer CPUs.
    """

    def __init__(self, make: Callable[[], _T_co], workers: int = 2) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at the first import
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise MissingExtra(
                "expected the package ray, found none; run `pip install 'errata[ray]'`"
            ) from error
        self.workers = workers
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            here = {"num_cpus": workers, "include_dashboard": False}
            ray.init(log_to_driver=False, **({} if "RAY_ADDRESS" in os.environ else here))
        found = int(ray.cluster_resources().get("CPU", 0))
        if not 1 <= workers <= found:
            self.close()
            raise ErrataError(f"expected 1 to {found} workers, as the cluster has CPUs: {workers}")
        kind = ray.remote(_Worker).options(num_cpus=1)
        self._actors: list[Any] = [kind.remote(make) for _ in range(workers)]
        self._pool: Any = importlib.import_module("ray.util").ActorPool(self._actors)

    def __enter__(self) -> RayPool[_T_co]:
        """Return the pool; its processes end with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.close()

    def map(self, call: Callable[[_T_co, _A], _R], items: Sequence[_A]) -> Iterator[_R]:
        """Yield the results of a call with a process' object and each item, in the items' order.

        :param call: a function of a module, or a closure.
        :param items: what it is called with.
        """
        yield from self._pool.map(lambda actor, item: actor.run.remote(call, item), items)

    def close(self) -> None:
        """End the processes, and the cluster where it was started for them."""
        for actor in getattr(self, "_actors", ()):
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()


def encode_texts(
    texts: Sequence[str], pool: RayPool[TextEncoder], part: int = TEXTS
) -> dict[str, Vector]:
    """Return the vectors of texts, float32 [d] by text, encoded by all processes of a pool.

    For many edits at once: ``EditCache(KnownEncoder(encoder, vectors), folder).add(edits)`` then
    encodes none of them again.

    :param texts: equal ones are encoded once.
    :param pool: of encoders.
    :param part: texts of one task.
    """
    distinct = list(dict.fromkeys(texts))
    parts = _parts(distinct, part)
    found = list(pool.map(_encode, parts))
    rows = np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)
    return dict(zip(distinct, rows, strict=True))


class RayDecider:
    """Decides questions by all processes of a pool, as :func:`errata.audit.replay.replay` asks.

    :param pool: of models, or of deciders, with the same edits.
    :param part: questions of one task.
    """

    def __init__(self, pool: RayPool[Decider], part: int = QUESTIONS) -> None:
        self._pool, self._part = pool, part
        self.batch = part * pool.workers * 4
        """Questions of one call that keep all processes busy."""

    def decide(self, questions: Sequence[str], /, *, key: Key = None) -> list[Decision]:
        """Return the decision about each question."""
        keys = conversations_of(key, list(questions))
        pairs = list(zip(questions, keys, strict=True))
        decided = self._pool.map(_decide, _parts(pairs, self._part))
        return [decision for part in decided for decision in part]


def _encode(encoder: TextEncoder, texts: Sequence[str]) -> Vector:
    return encoder.encode(texts)


def _decide(decider: Decider, pairs: Sequence[tuple[str, Any]]) -> list[Decision]:
    return decider.decide([text for text, _ in pairs], key=[key for _, key in pairs])


def _parts(items: Sequence[_A], size: int) -> list[Sequence[_A]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
