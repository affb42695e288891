"""Decomposition: a multi-hop query with an edit's answer in the place of the words that ask for it.

"What do people pay with where pizza comes from?" follows from an edit that says that pizza comes
from Benin. The sub-question "What do people pay with in Benin?" is answered by the base model, or
by another edit. MeLLo (Zhong et al. 2023) has a large model decompose a query by a prompt; here the
gate scores which words ask the edit's question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from errata.cache.errors import EditError
from errata.cache.records import Fact
from errata.cache.text.normalize import word_pattern
from errata.cache.text.subject import Span, span_of, subject_of
from errata.gates.base import Decision, Route
from errata.gates.text import asks_yes_no, content_words
from errata.pipelines.base import ScopedView, supported
from errata.pipelines.resolvers.base import ResolverContext, with_candidates


@dataclass(frozen=True, slots=True)
class DecomposeConfig:
    """Which words of a query may ask an edit's question.

    :param min_probability: probability from which words ask an edit's question. The gate gives
        0.99 and above to words that do; a wrong hop answers another question than was asked.
    :param max_characters_before: how far before the subject a phrase may begin, in characters:
        room for "the country on whose territory the source of", not for a clause before it.
    :param max_words_after: how far behind the subject a phrase may end, in words: "where pizza
        comes from", "X's capital".
    :param max_answer_words: words of an answer that is put in a query; longer ones are no names.
    """

    min_probability: float = 0.8
    max_characters_before: int = 70
    max_words_after: int = 4
    max_answer_words: int = 8


_WORD = re.compile(r"[^\s?.,:;!()\[\]\"“”？。，！]+")
_PAUSE = re.compile(r"[?!:;()\[\]\"“”？。，！]|[,.] ")
_POSSESSIVE = ("'s", "’s")


class DecomposeResolver:
    """Resolves a query that follows from an edit hop by hop.

    It applies where every edit that fired is a fact from which the query follows. It does not where
    the base model answers the query as it answers the fact's own question: then the gate has taken
    a paraphrase for a hop.

    :param config: which words may ask an edit's question.
    """

    name = "decompose"
    routes: frozenset[Route] = frozenset({"reason"})

    def __init__(self, config: DecomposeConfig | None = None) -> None:
        self.config = config or DecomposeConfig()

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, multi-hop ones with a sub-question and the edits of all hops."""
        hits = [supported(decision, context.reasoner) for decision in decisions]
        facts = {row: fact for row, hit in enumerate(hits) if (fact := _first_hop(hit))}
        asked = {row: (hits[row].effective_query, fact) for row, fact in facts.items()}
        questions = self._sub_questions(asked, context)
        # Each edit is used for one hop, so that the recursion ends.
        scopes = [_without(context.scopes[row], facts[row]) for row in questions]
        rest = context.decide(list(questions.values()), scopes)
        resolved = list(decisions)
        for row, last in zip(questions, rest, strict=True):
            resolved[row] = replace(
                with_candidates(hits[row], last),
                fired=(facts[row], *last.fired),
                route=last.route,
                sub_question=last.effective_query,
                hops=last.hops + 1,
            )
        return resolved

    def _sub_questions(
        self, asked: dict[int, tuple[str, Fact]], context: ResolverContext
    ) -> dict[int, str]:
        """Return the sub-questions, by row, without those that are no hop.

        :param asked: of each row the query and the fact of its first hop.
        """
        spans = {row: find_phrases(*one, self.config) for row, one in asked.items()}
        texts = [asked[row][0][slice(*span)] for row, some in spans.items() for span in some]
        edits = [[asked[row][1]] for row, some in spans.items() for _ in some]
        scores = context.gate.score_batch(texts, edits) if texts else []
        probabilities = (float(one.probability[0] * (1 - one.entailed[0])) for one in scores)
        found = {}
        for row, some in spans.items():
            scored = [next(probabilities) for _ in some]
            question = fill_answer(*asked[row], some, scored, self.config)
            if question is not None:
                found[row] = question
        agrees = context.agrees(
            [asked[row][0] for row in found], [[asked[row][1].question] for row in found]
        )
        same = dict(zip(found, agrees, strict=True))
        return {row: question for row, question in found.items() if not same[row][0]}


def find_phrases(query: str, fact: Fact, config: DecomposeConfig) -> list[Span]:
    """Return the spans of a query that may ask a fact's question, none where it takes no answer.

    :param query: follows from the fact.
    :param fact: the first hop.
    """
    answer = _answer(fact)
    if not answer or len(answer.split()) > config.max_answer_words or _PAUSE.search(answer):
        return []  # a sentence is no name
    if re.search(word_pattern(answer), query, re.IGNORECASE):
        return []  # a query with the answer in it does not ask for it
    try:
        subject = subject_of(fact)
    except EditError:
        return []
    span = span_of(subject, query) or span_of(subject.removeprefix("the "), query)
    return [] if span is None else list(_phrases(query, span, config))


def fill_answer(
    query: str,
    fact: Fact,
    spans: Sequence[Span],
    probabilities: Sequence[float],
    config: DecomposeConfig,
) -> str | None:
    """Return the sub-question about a fact's answer, None where no words ask for that answer.

    Nor is it a hop where no word of content is left beside them: "Where are the headquarters of X?"
    asks for the answer itself, not where that is.

    :param query: follows from the fact.
    :param fact: the first hop.
    :param spans: of :func:`find_phrases`.
    :param probabilities: of each span, that its words ask the fact's question.
    """
    best = max(range(len(spans)), key=lambda at: probabilities[at], default=None)
    if best is None or probabilities[best] < config.min_probability:
        return None
    start, end = spans[best]
    if not content_words(f"{query[:start]} {query[end:]}"):
        return None
    return f"{query[:start]}{_answer(fact)}{query[end:]}"


def _answer(fact: Fact) -> str:
    return fact.answer.strip().rstrip(".")


def _without(edits: ScopedView, fact: Fact) -> ScopedView:
    return edits.restricted(lambda edit: edit.id != fact.id)


def _first_hop(decision: Decision) -> Fact | None:
    """Return the best fact if the query follows from everything that fired, else None."""
    if decision.route != "reason" or asks_yes_no(decision.effective_query):
        return None
    entailing = {c.edit_id for c in decision.candidates if c.relation == "entailed"}
    facts = [e for e in decision.fired if isinstance(e, Fact) and e.id in entailing]
    return facts[0] if len(facts) == len(decision.fired) else None


def _phrases(query: str, subject: Span, config: DecomposeConfig) -> Iterator[Span]:
    """Yield the phrases that may denote something by way of a subject.

    "the country where X lies", "X's capital": from an article before it, or from the subject
    itself, to the subject or a few words after it, without a pause between.
    """
    places = [match.span() for match in _WORD.finditer(query)]
    articles = [a for a, b in places if query[a:b].casefold() == "the" and a < subject[0]]
    starts = [a for a in articles if subject[0] - a <= config.max_characters_before]
    ends = [b for _, b in places if b > subject[1]][: config.max_words_after]
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
