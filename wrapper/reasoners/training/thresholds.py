"""How reluctant a trained reader is to say nothing: settled on tune subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from errata.cache.patches.kinds import context
from errata.cache.text.answer_match import same_answer
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.answer_logits import answer_logits
from errata.reasoners.base_answers import NEW_TOKENS, base_answers, mean_token_probability
from errata.reasoners.base_consistency import SURE
from errata.reasoners.evaluation.evaluate import Examiner, answering
from errata.reasoners.reader import ContextReasoner
from errata.reasoners.training.examples import KINDS, TWIN, ReasonerExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

GRID = np.arange(-4.0, 12.25, 0.25)
NEVER = 1e4
"""A reluctance that no odds overcome."""
BATCH = 64
GROUPS = tuple(field.name for field in fields(AbstentionPenalties))


def fit_abstention_penalties(
    examiner: Examiner,
    reader: Callable[[AbstentionPenalties], ContextReasoner],
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    silence: int,
) -> AbstentionPenalties:
    """Return the shifts at which edits that matter and edits that do not fare best, both counted.

    Each maximises the mean over the kinds of lessons, of which edits that do not matter are one:
    what a gate lets through is mostly governed. Every lesson is answered once with silence
    forbidden and once without any edit; which of the two stands at a shift follows from the first
    token's log-odds. Edits of another of whom the same is true, which a gate that reads names
    keeps apart, are left out: how often they come is for the gate to say, and among the lessons of
    edits that do not matter they are as rare as they are by chance.

    :param examiner: lessons of tune subjects.
    :param reader: the reader, as reluctant as it is told to be, without anybody who answers in
        its place.
    :param base: the base model.
    :param tokenizer: the base model's tokenizer.
    :param silence: id of the reader's token that says nothing.
    """
    lessons = examiner.lessons
    loud = reader(AbstentionPenalties(NEVER))
    answers = base_answers(base, tokenizer, sorted(_texts(lessons)))
    sure = mean_token_probability(
        base, tokenizer, {one.query: answers[one.query] for one in lessons}
    )
    margins = {
        form: _margins(loud, asked, form == "false", silence)
        for form, asked in _asked(lessons).items()
    }
    spoken = examiner.outcomes(answering(loud, base))
    alone = examiner.outcomes(lambda _, queries: [answers[query] for query in queries])
    found = _best(lessons, margins, spoken, alone, [_group(one, answers, sure) for one in lessons])
    return AbstentionPenalties(**found)


def _group(lesson: ReasonerExample, answers: Mapping[str, str], sure: Mapping[str, float]) -> str:
    """Return the reluctance that a lesson falls under, by name."""
    own = answers[lesson.query]
    if any(same_answer(own, answers[edit.question]) for edit in lesson.edits):
        return "agreeing"
    return "usual" if sure[lesson.query] >= SURE else "unsure"


def _texts(lessons: Sequence[ReasonerExample]) -> set[str]:
    asked = {one.query for one in lessons} | {one.false_query or "" for one in lessons} - {""}
    return asked | {edit.question for one in lessons for edit in one.edits}


def _asked(lessons: Sequence[ReasonerExample]) -> dict[str, list[ReasonerExample]]:
    return {"true": list(lessons), "false": [one for one in lessons if one.false_query]}


def _margins(
    reader: ContextReasoner, lessons: Sequence[ReasonerExample], false: bool, silence: int
) -> NDArray[np.float64]:
    """Return by how much silence leads the likeliest word, as the first token, [n]."""
    import torch

    found: list[float] = []
    with torch.no_grad():
        for start in range(0, len(lessons), BATCH):
            pairs = [
                (
                    reader.prompter.ids(
                        [context(edit) for edit in one.edits],
                        (one.false_query or "") if false else one.query,
                        NEW_TOKENS,
                    ),
                    [silence],
                )
                for one in lessons[start : start + BATCH]
            ]
            logits = answer_logits(reader.model, pairs)
            own = logits[:, silence].clone()
            logits[:, silence] = -torch.inf
            found += (own - logits.amax(-1)).tolist()
    return np.array(found)


def _best(
    lessons: Sequence[ReasonerExample],
    margins: Mapping[str, NDArray[np.float64]],
    spoken: Mapping[str, list[bool]],
    alone: Mapping[str, list[bool]],
    groups: Sequence[str],
) -> dict[str, float]:
    """Return the best shift of each group; the lessons of one bear on no other's."""
    rows: dict[str, list[tuple[float, str]]] = {kind: [] for kind in KINDS}
    false = iter(margins["false"].tolist())
    for lesson, margin, group in zip(lessons, margins["true"].tolist(), groups, strict=True):
        # Of a yes-or-no lesson both forms have to be answered; the readier silence counts.
        both = max(margin, next(false)) if lesson.false_query else margin
        rows[lesson.kind].append((both, group))
    found = {}
    for group in GROUPS:
        scores = np.zeros(len(GRID))
        for kind in KINDS:
            if rows[kind] and kind != TWIN:
                odds = np.array([margin for margin, _ in rows[kind]])
                mine = np.array([own == group for _, own in rows[kind]])
                said = np.where(odds > GRID[:, None], alone[kind], spoken[kind])
                scores += (said & mine).mean(axis=1)
        best = np.flatnonzero(np.isclose(scores, scores.max()))
        found[group] = float(GRID[best[len(best) // 2]])
    return found
