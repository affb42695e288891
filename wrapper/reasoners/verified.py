"""Verification of a reasoner's answers against the edits: accepted, asked again, or overruled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.reasoners.base import (
    FactWriter,
    Paraphraser,
    Reasoner,
    Reply,
    answer_prompts,
    replies,
)
from errata.reasoners.expectations import Expectation, expectation, fact_sentence
from errata.reasoners.verbatim import VerbatimReasoner

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.gates.base import Gate, Scores
    from errata.generation.chat import Prompt


@dataclass(frozen=True, slots=True)
class VerificationConfig:
    """How answers are held against edits.

    :param ask_again: before an answer is overruled, ask the model to word the edit as a sentence;
        the sentence is used if it states the edit and names nothing else.
    :param overrule: return the edit's own words where the answer contradicts it; False measures
        the reasoner alone.
    :param least_share: for ``say that …``, the share of the sentence's longer words that an answer
        has to contain, beside all names and numbers: half leaves room for other words.
    :param shortest_word: letters from which a word counts: shorter ones are mostly grammar.
    :param spare_words: words that a yes-or-no question that names the stored answer may have beyond
        those of the fact: one, for the verb of another phrasing.
    :param governed_from: with a gate, the probability of governing the query from which an edit
        settles what is asked in other words than its question's: more likely than not.
    :param entailed_from: with a gate, the chance of being entailed from which a query does not ask
        for the stored answer itself.
    """

    ask_again: bool = True
    overrule: bool = True
    least_share: float = 0.5
    shortest_word: int = 4
    spare_words: int = 1
    governed_from: float = 0.5
    entailed_from: float = 0.5


DEFAULT_VERIFICATION = VerificationConfig()


class VerifiedReasoner:
    """A reasoner whose answers are held against the edits.

    Held against an edit are answers to a fact's own question, to yes-or-no questions about it
    (:mod:`errata.reasoners.question_form`), and ``say that …``. All others are left alone: one hop,
    reversed and entailed questions, and instructions.

    :param reasoner: answers first.
    :param config: how its answers are verified.
    :param gate: gives the probability that an edit governs a query, and tells a paraphrase of its
        question from what it entails. Without one, words alone decide: "Does Maria like pizza?"
        has one word in place of another of "Where does pizza come from?", and a name.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        config: VerificationConfig = DEFAULT_VERIFICATION,
        *,
        gate: Gate | None = None,
    ) -> None:
        self.reasoner, self.config, self.gate = reasoner, config, gate

    def supports(self, edit: Edit) -> bool:
        """Return whether the reasoner supports the edit."""
        return self.reasoner.supports(edit)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the reasoner words the answer of the edit freely."""
        return isinstance(self.reasoner, Paraphraser) and self.reasoner.paraphrases(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the verified answers, ``generation.num_return_sequences`` for each query."""
        found = replies(self.reasoner.answer(queries, edits, generation))
        return [
            [reply.text for reply in row]
            for row in self._verified(found, queries, edits, generation)
        ]

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the verified answers to the queries of prompts, and what was done to each."""
        queries = [prompt.query for prompt in prompts]
        found = answer_prompts(self.reasoner, prompts, edits, generation)
        return self._verified(found, queries, edits, generation)

    def _verified(
        self,
        found: Sequence[Sequence[Reply]],
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the replies, those that contradict an edit replaced."""
        if not self.config.overrule:
            return [list(row) for row in found]
        wanted = self._expectations(queries, edits)
        out = [
            [_judged(reply, expected) for reply in row]
            for row, expected in zip(found, wanted, strict=True)
        ]
        refused = [
            expected
            for row, expected in zip(out, wanted, strict=True)
            if expected is not None and any(reply.outcome == "overruled" for reply in row)
        ]
        sentences = self._sentences(refused, generation)
        for row, expected in zip(out, wanted, strict=True):
            for at, reply in enumerate(row):
                if expected is not None and reply.outcome == "overruled":
                    sentence = sentences.get(expected.edit.id)
                    text = expected.completed(sentence)
                    row[at] = Reply(text, "asked again" if sentence else "overruled")
        return out

    def _expectations(
        self, queries: Sequence[str], edits: Sequence[Sequence[Edit]]
    ) -> list[Expectation | None]:
        scores: list[Scores | None] = [None] * len(queries)
        rows = [i for i, some in enumerate(edits) if any(isinstance(e, Fact) for e in some)]
        if self.gate is not None and rows:
            found = self.gate.score_batch([queries[i] for i in rows], [edits[i] for i in rows])
            for i, one in zip(rows, found, strict=True):
                scores[i] = one
        return [
            self._expectation(query, governing, one)
            for query, governing, one in zip(queries, edits, scores, strict=True)
        ]

    def _expectation(
        self, query: str, edits: Sequence[Edit], scores: Scores | None
    ) -> Expectation | None:
        """Return what the answer to a query has to say."""
        config = self.config
        governed = [True] * len(edits)
        asks_value = False
        if scores is not None:
            governed = [float(p) >= config.governed_from for p in scores.probability]
            asks_value = governed[0] and float(scores.entailed[0]) < config.entailed_from
        return expectation(
            query, edits, governed=governed, asks_value=asks_value,
            least_share=config.least_share, shortest_word=config.shortest_word,
            spare_words=config.spare_words,
        )  # fmt: skip

    def _sentences(
        self, refused: Sequence[Expectation], generation: GenerationConfig
    ) -> dict[str, str]:
        """Return the facts that the model words well as a sentence, by the id of the edit."""
        facts = {e.edit.id: e.edit for e in refused if isinstance(e.edit, Fact)}
        writer = self.reasoner
        if not (self.config.ask_again and facts and isinstance(writer, FactWriter)):
            return {}
        written = zip(facts, writer.write_facts(list(facts.values()), generation), strict=True)
        return {key: text for key, text in written if fact_sentence(text, facts[key])}


def verified(
    reasoner: Reasoner, config: VerificationConfig | None, gate: Gate | None = None
) -> Reasoner:
    """Return a reasoner whose answers are verified, itself where nothing is to be verified.

    :param reasoner: any reasoner; one that returns stored answers needs no verification.
    :param config: how; None: not at all.
    :param gate: gives the probability that an edit governs a query.
    """
    if config is None or isinstance(reasoner, (VerbatimReasoner, VerifiedReasoner)):
        return reasoner
    return VerifiedReasoner(reasoner, config, gate=gate)


def _judged(reply: Reply, expected: Expectation | None) -> Reply:
    if expected is None:
        return reply
    return Reply(reply.text, "accepted" if expected.accepts(reply.text) else "overruled")
