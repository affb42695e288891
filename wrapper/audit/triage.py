"""What of a log a person should look at: near misses and hits by a narrow margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from errata.audit.records import LoggedDecision, LoggedPatch
from errata.cache.records import Edit, RegexPatch
from errata.cache.text.normalize import compare, rough_key

Outcome = Literal["near miss", "hit"]


@dataclass(frozen=True, slots=True)
class TriageConfig:
    """What counts as narrow.

    :param near: a miss is near from this share of the threshold on. A gate is calibrated, so from
        half of it on a query is in scope too often to be passed over unseen.
    :param margin: a hit is narrow up to this share of the way from the threshold to certainty.
    :param all_hits: ask about every hit, however sure: where a false hit was reported, the gate
        was sure of it.
    """

    near: float = 0.5
    margin: float = 0.5
    all_hits: bool = False


@dataclass(frozen=True, slots=True)
class TriageCase:
    """A query and the patch that a person decides about.

    :param query: as it was asked.
    :param count: how often.
    :param outcome: whether the patch fired.
    :param edit: the patch as it is now.
    :param probability: that the patch governs the query, by the gate.
    :param threshold: from which it fires.
    """

    query: str
    count: int
    outcome: Outcome
    edit: Edit
    probability: float
    threshold: float

    @property
    def doubt(self) -> float:
        """Distance of probability and threshold, as a share of what there could be."""
        room = 1 - self.threshold if self.outcome == "hit" else self.threshold
        return abs(self.probability - self.threshold) / room if room > 0 else 1.0


def triage_cases(
    logged: Iterable[LoggedDecision], edits: Sequence[Edit], config: TriageConfig | None = None
) -> tuple[TriageCase, ...]:
    """Return the cases of a log, the most doubtful first.

    A case is left out where the patch is in no file any more, or lists the query by now; a near
    miss also where another patch lists it to fire.

    :param logged: the log's decisions.
    :param edits: the patches as they are now.
    :param config: what counts as narrow.
    """
    config = config or TriageConfig()
    by_id = {edit.id: edit for edit in edits}
    by_scope = {(edit.kind, edit.scope): edit for edit in edits}
    fires = _Fires(edits)
    found: dict[tuple[str, str], TriageCase] = {}
    for one in logged:
        for patch, outcome, probability, threshold in _doubtful(one, config):
            edit = by_id.get(patch.id) or by_scope.get((patch.kind, patch.scope))
            if edit is None or edit.location is None or _lists(edit, one.query):
                continue
            if outcome == "near miss" and fires.lists(one.query):
                continue
            key = (one.query, edit.id)
            count = found[key].count + 1 if key in found else 1
            found[key] = TriageCase(one.query, count, outcome, edit, probability, threshold)
    return tuple(sorted(found.values(), key=lambda case: (case.doubt, -case.count, case.query)))


def _doubtful(
    one: LoggedDecision, config: TriageConfig
) -> Iterable[tuple[LoggedPatch, Outcome, float, float]]:
    """Yield the patches of a decision that a person should decide about."""
    if one.fired and not one.listed and one.probability is not None and one.threshold is not None:
        narrow = one.threshold + config.margin * (1 - one.threshold)
        if config.all_hits or one.probability <= narrow:
            yield one.fired[0], "hit", one.probability, one.threshold
    probability, threshold = one.runner_up_probability, one.runner_up_threshold
    if not one.fired and one.runner_up and probability is not None and threshold is not None:
        if probability >= config.near * threshold:
            yield one.runner_up, "near miss", probability, threshold


class _Fires:
    """The questions and examples that patches fire on.

    :param edits: the patches.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._texts: dict[str, list[str]] = {}
        for edit in edits:
            for text in () if isinstance(edit, RegexPatch) else edit.examples:
                self._texts.setdefault(rough_key(text), []).append(text)

    def lists(self, query: str) -> bool:
        """Return whether a query is one of them."""
        near = self._texts.get(rough_key(query), ())
        return any(compare(text, query) == "same" for text in near)


def _lists(edit: Edit, query: str) -> bool:
    """Return whether a patch's lists decide about a query; a pattern has none to decide by."""
    texts = (*edit.examples, *edit.counterexamples)
    return isinstance(edit, RegexPatch) or any(compare(text, query) == "same" for text in texts)
