"""Which facts a model gets wrong: by contrast, as CaliNET detects false knowledge.

Dong et al. 2022, "Calibrating Factual Knowledge in Pretrained Language Models"
(https://arxiv.org/abs/2210.03329), section 2, contrastive knowledge assessing: of a fact (s, r, o),

    CKA = mean P(o | s, r) / mean P(o | s, r′),

over wordings of r, and over unrelated relations r′ of the same subject. Below 1 the model does not
hold the fact: the object is no likelier where it belongs than elsewhere. A list of facts has its
relations in itself: a question without its subject is one.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from errata.cache.errors import EditError, UnsupportedEdit
from errata.cache.records import Edit, Fact, PatchTests
from errata.cache.text.subject import span_of, subject_of
from errata.editors.shared.examples import Example, padded, prompt_ids, target_ids
from errata.facts import FactSource, fill
from errata.generation.free_generation import AnswerGenerator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessConfig:
    """How facts are assessed.

    :param contrasts: unrelated relations of each fact; the paper takes 3.
    :param wordings: of a fact's own relation, its question and its `fires`, at most.
    :param threshold: a fact with a smaller score is one that the model gets wrong.
    :param answer_tokens: most tokens of the model's own answer.
    :param batch_size: prompts in one pass.
    :param seed: of the choice of relations.
    """

    contrasts: int = 3
    wordings: int = 3
    threshold: float = 1.0
    answer_tokens: int = 24
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """A fact with its score.

    :param fact: the fact.
    :param score: log CKA, natural; below the logarithm of the threshold the model has it wrong.
    :param wrong: whether that is so.
    :param answer: what the model says; empty where it was not asked.
    """

    fact: Fact
    score: float
    wrong: bool
    answer: str = ""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A question without its subject, such as ``What is the capital of {}?``."""

    before: str
    after: str

    def of(self, subject: str) -> str:
        return f"{self.before}{subject}{self.after}"


def assess(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    edits: Iterable[Edit],
    config: AssessConfig | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Assessment], list[Edit]]:
    """Return the facts with their scores, the lowest first, and what cannot be assessed.

    A fact can be assessed if its subject stands in its question, and it is not to be forgotten.

    :param model: any model; not changed.
    :param tokenizer: its tokenizer.
    :param edits: facts.
    :param config: how.
    :param advance: called after each fact.
    :raises EditError: they are not of two relations at least, so that there is no contrast.
    """
    config = config or AssessConfig()
    usable, others = _usable(edits)
    relations = _relations(usable)
    if len({id(group) for group in relations.values()}) < 2:
        raise EditError(
            f"expected facts of two relations at least (questions that differ in more than their "
            f"subject), found {len(usable)} facts of one; add facts of another kind to the list"
        )
    scored = []
    for fact, score in _scores(model, tokenizer, usable, relations, config):
        scored.append((score, fact))
        advance()
    limit = math.log(config.threshold)
    wrong = [fact for score, fact in scored if score < limit]
    asked = AnswerGenerator(model, tokenizer, config.answer_tokens, config.batch_size).answer(
        [fact.question for fact in wrong]
    )
    answers = {fact.id: answer.text for fact, answer in zip(wrong, asked, strict=True)}
    found = [
        Assessment(fact, score, score < limit, answers.get(fact.id, "")) for score, fact in scored
    ]
    return sorted(found, key=lambda each: each.score), others


def table_facts(
    source: FactSource, *, wordings: int, without: Collection[str] = (), chinese: bool = False
) -> list[Fact]:
    """Return the facts of a table as questions, with further wordings as `fires`.

    :param source: facts and their sentence templates.
    :param wordings: questions of each, at most.
    :param without: relations to leave out.
    :param chinese: the relations whose templates are Chinese, in place of the others.
    """
    found = []
    for row in source.facts:
        relation = source.relations[row.relation]
        if row.relation not in without and relation.chinese == chinese:
            first, *fires = (fill(text, row.subject) for text in relation.questions[:wordings])
            tests = PatchTests(fires=tuple(fires))
            found.append(Fact(first, row.object, subject=row.subject, tests=tests))
    return found


def _usable(edits: Iterable[Edit]) -> tuple[list[Fact], list[Edit]]:
    usable: list[Fact] = []
    others: list[Edit] = []
    for edit in edits:
        try:
            fits = isinstance(edit, Fact) and not edit.forget and _patterns(edit)
        except UnsupportedEdit:
            fits = False
        (usable if fits else others).append(edit)  # type: ignore[arg-type]
    return usable, others


def _patterns(fact: Fact) -> list[_Pattern]:
    """Return the patterns of a fact's question and `fires`, as far as the subject is in them."""
    subject = subject_of(fact)
    found = []
    for text in dict.fromkeys((fact.question, *fact.tests.fires)):
        span = span_of(subject, text)
        if span is not None:
            found.append(_Pattern(text[: span[0]], text[span[1] :]))
    return found


def _relations(facts: Sequence[Fact]) -> dict[_Pattern, list[Fact]]:
    """Return the facts of each pattern's relation: those that share a pattern share a relation."""
    parent: dict[_Pattern, _Pattern] = {}

    def root(pattern: _Pattern) -> _Pattern:
        while parent.setdefault(pattern, pattern) != pattern:
            pattern = parent[pattern]
        return pattern

    for fact in facts:
        first, *rest = _patterns(fact)
        for other in rest:
            parent[root(other)] = root(first)
    groups: dict[_Pattern, list[Fact]] = defaultdict(list)
    for fact in facts:
        groups[root(_patterns(fact)[0])].append(fact)
    return {pattern: groups[root(pattern)] for fact in facts for pattern in _patterns(fact)}


def _scores(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Fact],
    relations: dict[_Pattern, list[Fact]],
    config: AssessConfig,
) -> Iterator[tuple[Fact, float]]:
    """Yield each fact with log CKA."""
    groups = {id(group): group for group in relations.values()}
    held = {number: {(subject_of(f), f.answer) for f in g} for number, g in groups.items()}
    for fact in facts:
        subject, own = subject_of(fact), _patterns(fact)[: config.wordings]
        here = id(relations[own[0]])
        elsewhere = [n for n in groups if n != here and (subject, fact.answer) not in held[n]]
        rng = random.Random(f"{config.seed}/{fact.id}")
        chosen = rng.sample(elsewhere, min(config.contrasts, len(elsewhere)))
        contrasts = [_patterns(rng.choice(groups[n]))[0] for n in chosen]
        texts = [pattern.of(subject) for pattern in (*own, *contrasts)]
        logs = _log_probabilities(model, tokenizer, texts, fact.answer, config.batch_size)
        yield fact, _log_mean(logs[: len(own)]) - _log_mean(logs[len(own) :])


def _log_probabilities(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    answer: str,
    batch_size: int,
) -> list[float]:
    """Return log P(answer | question) of each, all tokens of the answer together."""
    import torch

    examples = [
        Example(prompt_ids(tokenizer, each), target_ids(model, tokenizer, each, answer))
        for each in questions
    ]
    found: list[float] = []
    for start in range(0, len(examples), batch_size):
        some = examples[start : start + batch_size]
        batch = padded(model, some)
        with torch.no_grad():
            means = batch.losses(model(**batch.inputs, use_cache=False).logits).tolist()
        found += [-nll * len(e.target) for nll, e in zip(means, some, strict=True)]
    return found


def _log_mean(logs: Sequence[float]) -> float:
    """Return the logarithm of the mean of numbers with these logarithms."""
    largest = max(logs)
    return largest + math.log(mean(math.exp(each - largest) for each in logs))
