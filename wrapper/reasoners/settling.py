"""How reluctant a trained reader is to say nothing: settled on tune subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from errata.cache.kinds import context
from errata.reasoners.examine import NEW_TOKENS, Examiner, reader
from errata.reasoners.lessons import KINDS, NO_MATTER, Lesson
from errata.reasoners.losses import answer_logits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.base import GenerativeModel
    from errata.reasoners.prompts import Prompter

GRID = np.arange(-4.0, 8.25, 0.25)
NEVER = 1e4
"""A reluctance that no odds overcome."""
BATCH = 64


def settled_reluctance(
    examiner: Examiner,
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompter: Prompter,
    aside: Callable[[Sequence[str]], dict[str, str]],
    silence: int,
) -> float:
    """Return the shift at which edits that matter and edits that do not fare best, both counted.

    It maximises the share of rightly answered lessons where no edit matters, plus the mean share
    of the other kinds (Youden's index, with kinds for classes). Every lesson is answered once with
    silence forbidden and once without any edit; which of the two stands at a shift follows from
    the first token's log-odds.

    :param examiner: lessons of tune subjects.
    :param model: the reader.
    :param aside: the base model, asked without edits.
    :param silence: id of the token that says nothing.
    """
    margins = {
        query: _margins(model, prompter, lessons, query == "false", silence)
        for query, lessons in _asked(examiner.lessons).items()
    }
    spoken = examiner.outcomes(reader(model, tokenizer, prompter, reluctance=NEVER))
    alone = examiner.outcomes(lambda _, queries: _said(aside, queries))
    return _best(examiner.lessons, margins, spoken, alone)


def _asked(lessons: Sequence[Lesson]) -> dict[str, list[Lesson]]:
    return {"true": list(lessons), "false": [one for one in lessons if one.false_query]}


def _said(aside: Callable[[Sequence[str]], dict[str, str]], queries: Sequence[str]) -> list[str]:
    answers = aside(sorted(set(queries)))
    return [answers[query] for query in queries]


def _margins(
    model: GenerativeModel,
    prompter: Prompter,
    lessons: Sequence[Lesson],
    false: bool,
    silence: int,
) -> NDArray[np.float64]:
    """Return by how much silence leads the likeliest word, as the first token, [n]."""
    import torch

    found: list[float] = []
    with torch.no_grad():
        for start in range(0, len(lessons), BATCH):
            pairs = [
                (
                    prompter.ids(
                        [context(edit) for edit in one.edits],
                        (one.false_query or "") if false else one.query,
                        NEW_TOKENS,
                    ),
                    [silence],
                )
                for one in lessons[start : start + BATCH]
            ]
            logits = answer_logits(model, pairs)
            own = logits[:, silence].clone()
            logits[:, silence] = -torch.inf
            found += (own - logits.amax(-1)).tolist()
    return np.array(found)


def _best(
    lessons: Sequence[Lesson],
    margins: dict[str, NDArray[np.float64]],
    spoken: dict[str, list[bool]],
    alone: dict[str, list[bool]],
) -> float:
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    false = iter(margins["false"].tolist())
    for lesson, margin in zip(lessons, margins["true"].tolist(), strict=True):
        # Of a yes-or-no lesson both forms have to be answered; the readier silence counts.
        both = max(margin, next(false)) if lesson.false_query else margin
        by_kind[lesson.kind].append(both)
    scores = []
    for shift in GRID:
        shares = {
            kind: np.mean(np.where(np.array(odds) > shift, alone[kind], spoken[kind]))
            for kind, odds in by_kind.items()
            if odds
        }
        rest = [share for kind, share in shares.items() if kind != NO_MATTER]
        scores.append(float(shares.get(NO_MATTER, 0.0)) + (float(np.mean(rest)) if rest else 0.0))
    best = np.flatnonzero(np.isclose(scores, max(scores)))
    return float(GRID[best[len(best) // 2]])
