"""Fitting the abstention penalties of a trained reasoner on tune subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from errata.cache.patches.kinds import context
from errata.cache.records import Fact
from errata.cache.text.answer_match import same_answer
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.answer_logits import answer_logits
from errata.reasoners.base_answers import (
    DEFAULT_CONFIG,
    base_answers,
    mean_token_probability,
)
from errata.reasoners.base_consistency import DEFAULT_CONSISTENCY
from errata.reasoners.data.examples import SAME_ANSWER_LOCALITY, ReasonerExample
from errata.reasoners.evaluation.evaluate import Evaluator, greedy_answers
from errata.reasoners.reader import ContextReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

GRID = np.arange(-4.0, 12.25, 0.25)
FORBIDDING = 1e4
"""A penalty above any log-odds."""
BATCH = 16
"""Prompts of similar length, of which the logits of few places are computed."""
GROUPS = tuple(field.name for field in fields(AbstentionPenalties))


def fit_decision_penalty(
    examples: Sequence[ReasonerExample],
    make_reasoner: Callable[[AbstentionPenalties], ContextReasoner],
    end_token: int,
) -> AbstentionPenalties:
    """Return the one penalty by which a chat model best decides whether an edit governs a query.

    That of the highest balanced accuracy: the mean over the kinds that an edit governs, and the
    mean over those that it does not, count the same. Nothing is generated: an answer is empty if
    the log-odds of the end token as first token are above the penalty. Its answers are sentences,
    of which hardly two are the same, so what the base answers does not matter here.

    :param examples: of tune subjects, questions and intents.
    :param make_reasoner: makes the reasoner with given penalties.
    :param end_token: id of the token that an empty answer begins with.
    """
    reasoner = make_reasoner(AbstentionPenalties())
    margins = _margins(reasoner, [(one, one.query) for one in examples], end_token)
    sides = []
    for local in (False, True):
        rows: dict[str, list[float]] = {}
        for one, margin in zip(examples, margins.tolist(), strict=True):
            if (one.answer is None) == local and one.kind != SAME_ANSWER_LOCALITY:
                rows.setdefault(one.kind, []).append(margin)
        empty = [(np.array(row) > GRID[:, None]).mean(axis=1) for row in rows.values()]
        if empty:
            share = np.mean(empty, axis=0)
            sides.append(share if local else 1 - share)
    scores = np.sum(sides, axis=0)
    best = np.flatnonzero(np.isclose(scores, scores.max()))
    return AbstentionPenalties(*[float(GRID[best[len(best) // 2]])] * len(GROUPS))


def fit_abstention_penalties(
    evaluator: Evaluator,
    make_reasoner: Callable[[AbstentionPenalties], ContextReasoner],
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    end_token: int,
    *,
    by_base: bool = True,
) -> AbstentionPenalties:
    """Return the penalties of the highest mean accuracy over the kinds of examples.

    Locality is one of the kinds; the gate lets through mostly governed queries. Each example is
    answered once with abstention forbidden and once by the base model; which of the two answers
    applies at a penalty follows from the log-odds of the first token. Locality with the same
    answer is left out: the gate, which compares names, decides how often such queries come
    through.

    :param evaluator: examples of tune subjects.
    :param make_reasoner: makes the reasoner with given penalties, without a fallback.
    :param base: the base model.
    :param tokenizer: the base model's tokenizer.
    :param end_token: id of the token that an empty answer begins with.
    :param by_base: fit a penalty of its own where the base agrees or is uncertain; else see
        :func:`fit_decision_penalty`.
    """
    if not by_base:
        return fit_decision_penalty(evaluator.examples, make_reasoner, end_token)
    examples = evaluator.examples
    reasoner = make_reasoner(AbstentionPenalties(FORBIDDING))
    answers = base_answers(base, tokenizer, sorted(_texts(examples)))
    probabilities = mean_token_probability(
        base, tokenizer, {one.query: answers[one.query] for one in examples}
    )
    groups = [_group(one, answers, probabilities) for one in examples]
    false_forms = [one for one in examples if one.false_query]
    margins = {
        "true": _margins(reasoner, [(one, one.query) for one in examples], end_token),
        "false": _margins(
            reasoner, [(one, one.false_query or "") for one in false_forms], end_token
        ),
    }
    answered = evaluator.outcomes(greedy_answers(reasoner, base))
    abstained = evaluator.outcomes(lambda _, queries: [answers[query] for query in queries])
    return AbstentionPenalties(**_best(examples, margins, answered, abstained, groups))


def _group(
    example: ReasonerExample, answers: Mapping[str, str], probabilities: Mapping[str, float]
) -> str:
    """Return the name of the penalty that applies to an example."""
    answer = answers[example.query]
    if any(same_answer(answer, answers[question]) for question in _questions(example)):
        return "base_agrees"
    confident = probabilities[example.query] >= DEFAULT_CONSISTENCY.confidence
    return "default" if confident else "base_uncertain"


def _texts(examples: Sequence[ReasonerExample]) -> set[str]:
    """Return all queries, false ones included, and the questions of all edits."""
    queries = {one.query for one in examples} | {one.false_query or "" for one in examples} - {""}
    return queries | {question for one in examples for question in _questions(one)}


def _questions(example: ReasonerExample) -> list[str]:
    return [edit.question for edit in example.edits if isinstance(edit, Fact)]


def _margins(
    reasoner: ContextReasoner, queries: Sequence[tuple[ReasonerExample, str]], end_token: int
) -> NDArray[np.float64]:
    """Return the logit of the end token as first token minus the next highest, float64 [n]."""
    import torch

    prompts = [
        reasoner.prompter.ids(
            [context(edit) for edit in one.edits], query, DEFAULT_CONFIG.max_new_tokens
        )
        for one, query in queries
    ]
    found = np.zeros(len(prompts))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    with torch.no_grad():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            logits = answer_logits(reasoner.model, [(prompts[i], [end_token]) for i in rows])
            end = logits[:, end_token].clone()
            logits[:, end_token] = -torch.inf
            found[rows] = (end - logits.amax(-1)).tolist()
    return found


def _best(
    examples: Sequence[ReasonerExample],
    margins: Mapping[str, NDArray[np.float64]],
    answered: Mapping[str, list[bool]],
    abstained: Mapping[str, list[bool]],
    groups: Sequence[str],
) -> dict[str, float]:
    """Return the best penalty of each group; the groups are independent of one another."""
    rows: dict[str, list[tuple[float, str]]] = {one.kind: [] for one in examples}
    false = iter(margins["false"].tolist())
    for example, margin, group in zip(examples, margins["true"].tolist(), groups, strict=True):
        # a yes-or-no example needs both forms answered: the larger margin decides
        both = max(margin, next(false)) if example.false_query else margin
        rows[example.kind].append((both, group))
    found = {}
    for group in GROUPS:
        scores = np.zeros(len(GRID))
        for kind in rows:
            if kind != SAME_ANSWER_LOCALITY:
                margin_of = np.array([margin for margin, _ in rows[kind]])
                in_group = np.array([name == group for _, name in rows[kind]])
                right = np.where(margin_of > GRID[:, None], abstained[kind], answered[kind])
                scores += (right & in_group).mean(axis=1)
        best = np.flatnonzero(np.isclose(scores, scores.max()))
        found[group] = float(GRID[best[len(best) // 2]])
    return found
