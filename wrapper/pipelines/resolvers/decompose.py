"""Decomposition: a multi-hop query with an edit's answer in the place of the words that ask for it.

"What do people pay with where pizza comes from?" follows from an edit that says that pizza comes
from Benin. The sub-question "What do people pay with in Benin?" is answered by the base model, or
by another edit. MeLLo (Zhong et al. 2023) has a large model decompose a query by a prompt; here the
gate scores which words ask the edit's question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from errata.cache.errors import EditError
from errata.cache.records import Fact
from errata.cache.text.spacing import word_pattern
from errata.cache.text.subject import Span, span_of, subject_of
from errata.gates.base import Decision
from errata.gates.text import asks_yes_no
from errata.pipelines.resolvers.base import ResolverContext, with_candidates
from errata.pipelines.resolvers.routing import supported

OwnQuestionScores = Callable[[Sequence[str]], Sequence[float]]
"""Returns for each of n texts the probability that it asks the edit's own question."""

MIN_PROBABILITY = 0.8
"""Probability from which words ask an edit's question. Words that do are at 0.99 and above."""
MAX_CHARACTERS_BEFORE, MAX_WORDS_AFTER = 70, 4
"""How far a phrase reaches before and after the subject."""
MAX_ANSWER_WORDS = 8
"""Words of an answer that is put in a query."""

_WORD = re.compile(r"[^\s?.,:;!()\[\]\"“”？。，！]+")
_PAUSE = re.compile(r"[?!:;()\[\]\"“”？。，！]|[,.] ")
_POSSESSIVE = ("'s", "’s")


class DecomposeResolver:
    """Resolves a query that follows from an edit hop by hop.

    It applies where every edit that fired is a fact from which the query follows. It does not where
    the base model answers the query as it answers the fact's own question: then the gate has taken
    a paraphrase for a hop.
    """

    name = "decompose"

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, multi-hop ones with a sub-question and the edits of all hops."""
        return [self._resolve(decision, context) for decision in decisions]

    def _resolve(self, decision: Decision, context: ResolverContext) -> Decision:
        decision = supported(decision, context.reasoner)
        fact = _first_hop(decision)
        if fact is None:
            return decision
        sub_question = _sub_question(decision.effective_query, fact, context)
        if sub_question is None:
            return decision
        # Each edit is used for one hop, so that the recursion ends.
        others = context.edits.restricted(lambda edit: edit.id != fact.id)
        rest = context.decide(sub_question, others)
        return replace(
            with_candidates(decision, rest),
            fired=(fact, *rest.fired),
            route=rest.route,
            sub_question=rest.effective_query,
            hops=rest.hops + 1,
        )


def decompose(query: str, fact: Fact, scores: OwnQuestionScores) -> str | None:
    """Return the sub-question about a fact's answer, None where no words ask for that answer.

    :param query: follows from the fact.
    :param fact: the first hop.
    :param scores: which words ask the fact's question.
    """
    answer = fact.answer.strip().rstrip(".")
    if not answer or len(answer.split()) > MAX_ANSWER_WORDS or _PAUSE.search(answer):
        return None  # a sentence is no name
    if re.search(word_pattern(answer), query, re.IGNORECASE):
        return None  # a query with the answer in it does not ask for it
    try:
        subject = subject_of(fact)
    except EditError:
        return None
    span = span_of(subject, query) or span_of(subject.removeprefix("the "), query)
    if span is None:
        return None
    spans = list(_phrases(query, span))
    probabilities = scores([query[start:end] for start, end in spans]) if spans else []
    best = max(range(len(spans)), key=lambda at: probabilities[at], default=None)
    if best is None or probabilities[best] < MIN_PROBABILITY:
        return None
    start, end = spans[best]
    return f"{query[:start]}{answer}{query[end:]}"


def _first_hop(decision: Decision) -> Fact | None:
    """Return the best fact if the query follows from everything that fired, else None."""
    if decision.route != "reason" or asks_yes_no(decision.effective_query):
        return None
    entailing = {c.edit_id for c in decision.candidates if c.relation == "entailed"}
    facts = [e for e in decision.fired if isinstance(e, Fact) and e.id in entailing]
    return facts[0] if len(facts) == len(decision.fired) else None


def _sub_question(query: str, fact: Fact, context: ResolverContext) -> str | None:
    def scores(texts: Sequence[str]) -> list[float]:
        found = context.gate.score_batch(texts, [[fact]] * len(texts))
        return [float(one.probability[0] * (1 - one.entailed[0])) for one in found]

    sub_question = decompose(query, fact, scores)
    if sub_question is None or context.base is None:
        return sub_question
    return None if context.base.agrees(query, [fact.question])[0] else sub_question


def _phrases(query: str, subject: Span) -> Iterator[Span]:
    """Yield the phrases that may denote something by way of a subject.

    "the country where X lies", "X's capital": from an article before it, or from the subject
    itself, to the subject or a few words after it, without a pause between.
    """
    words = [match.span() for match in _WORD.finditer(query)]
    articles = [a for a, b in words if query[a:b].casefold() == "the" and a < subject[0]]
    starts = [a for a in articles if subject[0] - a <= MAX_CHARACTERS_BEFORE]
    ends = [b for _, b in words if b > subject[1]][:MAX_WORDS_AFTER]
    for start in (*starts, subject[0]):
        for end in (subject[1], *ends):
            phrase = query[start:end]
            around = f"{query[start : subject[0]]} {query[subject[1] : end]}"
            if (
                (start, end) != subject
                and not _PAUSE.search(around)
                and phrase[-2:] not in _POSSESSIVE
            ):
                yield start, end
