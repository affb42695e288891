"""Thresholds of single edits, from the tests that their patches bring along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from errata.cache.records import Edit, RegexPatch
from errata.gates.base import Scores

LOWEST = 0.5
"""Share of the gate's threshold under which no test of its own takes an edit."""
SLACK = 1e-3
"""By how much a text's probability may differ from one batch to another, and more."""
REMEMBERED = 20_000

ScoreBatch = Callable[[Sequence[str], Sequence[Sequence[Edit]]], list[Scores]]


def threshold_from_examples(
    threshold: float, fires: Sequence[float], silent: Sequence[float]
) -> float:
    """Return the threshold at which an edit passes its own tests, as near the gate's as can be.

    A silent test is never overridden: the threshold lies above it, whatever is to fire. Only so
    far below the gate's does a test of what is to fire take it.

    :param threshold: the gate's.
    :param fires: probabilities of the queries on which the edit must fire.
    :param silent: probabilities of those on which it must not.
    """
    least = LOWEST * threshold
    wanted = min((max(p - SLACK, least) for p in fires if p >= least), default=threshold)
    return max(min(threshold, wanted), max(silent, default=-1.0) + SLACK)


class ExampleThresholds:
    """Remembers the thresholds that edits' own tests ask for. Safe under threads.

    :param score: scores texts, each against its edits.
    """

    def __init__(self, score: ScoreBatch) -> None:
        self._score = score
        self._known: dict[tuple[Edit, float], float] = {}

    def thresholds(self, edits: Iterable[Edit], usual: Callable[[Edit], float]) -> dict[str, float]:
        """Return, by id, the thresholds of those edits that have tests.

        :param edits: any edits.
        :param usual: the threshold an edit has without tests.
        """
        tested = {
            edit: usual(edit)
            for edit in edits
            if (edit.tests.fires or edit.tests.silent) and not isinstance(edit, RegexPatch)
        }
        new = [key for key in tested.items() if key not in self._known]
        if new:
            if len(self._known) > REMEMBERED:
                self._known.clear()
            self._known.update(zip(new, self._asked(new), strict=True))
        return {edit.id: self._known.get((edit, base), base) for edit, base in tested.items()}

    def _asked(self, new: Sequence[tuple[Edit, float]]) -> list[float]:
        asked = [
            (edit, text)
            for edit, _ in new
            for text in (*edit.tests.fires, *edit.tests.silent)
        ]  # fmt: skip
        scores = self._score([text for _, text in asked], [[edit] for edit, _ in asked])
        left = iter(float(one.probability[0]) for one in scores)
        found = []
        for edit, base in new:
            fires = [next(left) for _ in edit.tests.fires]
            silent = [next(left) for _ in edit.tests.silent]
            found.append(threshold_from_examples(base, fires, silent))
        return found
