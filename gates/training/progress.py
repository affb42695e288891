"""Progress bars of training a gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Vector
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.examples import Example
from errata.gates.evaluation.base_agreement import BaseAgreement
from errata.gates.evaluation.trials import Trial, run_trial
from errata.gates.features import FeatureMaker, PairFeatures

CHUNK = 4096


class Progress:
    """Progress bars, or none.

    :param shown: rich's progress display, or None.
    """

    def __init__(self, shown: Any | None) -> None:
        self._shown = shown

    def features(self, maker: FeatureMaker, examples: Sequence[Example], name: str) -> PairFeatures:
        """Return the features of the examples, made in chunks.

        :raises ModelError: there are no examples.
        """
        if not examples:
            raise ModelError(f"cannot train a gate: no pairs to learn from ({name})")
        parts = []
        for start in self._steps(range(0, len(examples), CHUNK), name):
            chunk = examples[start : start + CHUNK]
            parts.append(maker.make([(example.query, example.scope) for example in chunk]))
        rows: list[Vector] = [part.query_rest for part in parts]
        others: list[Vector] = [part.scope_rest for part in parts]
        named = np.concatenate([part.named for part in parts])
        return PairFeatures(named, np.concatenate(rows), np.concatenate(others))

    def trial(
        self,
        gate: ScopeClassifier,
        embeddings: EmbeddingCache,
        trial: Trial,
        base: BaseAgreement | None = None,
    ) -> list[Any]:
        """Return the outcomes of a trial; see :func:`errata.gates.evaluation.trials.run_trial`."""
        if self._shown is None:
            return run_trial(gate, embeddings, trial, base=base)
        shown = self._shown
        task = shown.add_task("picking the threshold", total=len(trial.queries))
        return run_trial(
            gate, embeddings, trial, base=base,
            progress=lambda done: shown.update(task, completed=done),
        )  # fmt: skip

    def _steps(self, numbers: range, name: str) -> Iterator[int]:
        if self._shown is None:
            yield from numbers
        else:
            yield from self._shown.track(numbers, description=name)


@contextmanager
def progress_bars(progress: bool) -> Iterator[Progress]:
    """Yield progress bars, which end with the context.

    :param progress: whether to show them.
    """
    if not progress:
        yield Progress(None)
        return
    from rich import progress as rich_progress

    with rich_progress.Progress() as shown:
        yield Progress(shown)
