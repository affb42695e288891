"""Thresholds of single edits, from the tests in their patches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from errata.cache.records import Edit, RegexPatch
from errata.gates.base import Scores

MIN_THRESHOLD_SHARE = 0.5
"""Lowest threshold that tests give an edit, as a share of the gate's."""
MARGIN = 1e-3
"""Distance from a test's probability; above the differences between batches."""
CACHE_SIZE = 20_000

ScoreBatch = Callable[[Sequence[str], Sequence[Sequence[Edit]]], list[Scores]]


def threshold_from_examples(
    threshold: float, fires: Sequence[float], silent: Sequence[float]
) -> float:
    """Return the threshold nearest the gate's at which an edit passes its tests.

    Silent tests take precedence: the threshold lies above all of them. Tests that must fire lower
    it to :data:`MIN_THRESHOLD_SHARE` of the gate's at most.

    :param threshold: the gate's threshold.
    :param fires: probabilities of the queries on which the edit must fire.
    :param silent: probabilities of the queries on which it must not.
    """
    lowest = MIN_THRESHOLD_SHARE * threshold
    reached = min((max(p - MARGIN, lowest) for p in fires if p >= lowest), default=threshold)
    return max(min(threshold, reached), max(silent, default=-1.0) + MARGIN)


class ExampleThresholds:
    """Computes and caches the thresholds that edits' tests give them. Safe under threads.

    :param score: a gate's ``score_batch``.
    """

    def __init__(self, score: ScoreBatch) -> None:
        self._score = score
        self._cache: dict[tuple[Edit, float], float] = {}

    def thresholds(
        self, edits: Iterable[Edit], default: Callable[[Edit], float]
    ) -> dict[str, float]:
        """Return, by id, the thresholds of those edits that have tests.

        :param edits: any edits.
        :param default: the threshold of an edit without tests.
        """
        tested = {
            edit: default(edit)
            for edit in edits
            if (edit.tests.fires or edit.tests.silent) and not isinstance(edit, RegexPatch)
        }
        new = [key for key in tested.items() if key not in self._cache]
        if new:
            if len(self._cache) > CACHE_SIZE:
                self._cache.clear()
            self._cache.update(zip(new, self._compute(new), strict=True))
        return {edit.id: self._cache.get((edit, base), base) for edit, base in tested.items()}

    def _compute(self, new: Sequence[tuple[Edit, float]]) -> list[float]:
        tests = [(e, text) for e, _ in new for text in (*e.tests.fires, *e.tests.silent)]
        scores = self._score([text for _, text in tests], [[edit] for edit, _ in tests])
        probabilities = iter(float(one.probability[0]) for one in scores)
        found = []
        for edit, base in new:
            fires = [next(probabilities) for _ in edit.tests.fires]
            silent = [next(probabilities) for _ in edit.tests.silent]
            found.append(threshold_from_examples(base, fires, silent))
        return found
