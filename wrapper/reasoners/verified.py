"""Verification of a reasoner's answers against the edits: accepted, asked again, or overruled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.reasoners.base import ConversationReasoner, FactWriter, Paraphraser, Reasoner, Reply
from errata.reasoners.expectations import Expectation, expectation, fact_sentence
from errata.reasoners.verbatim import VerbatimReasoner

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.gates.base import Gate
    from errata.generation.prompt_reader import Prompt


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
    :param entailed_from: with a gate, the chance of being entailed from which a query does not ask
        for the stored answer itself.
    """

    ask_again: bool = True
    overrule: bool = True
    least_share: float = 0.5
    shortest_word: int = 4
    spare_words: int = 1
    entailed_from: float = 0.5


DEFAULT_VERIFICATION = VerificationConfig()


class VerifiedReasoner:
    """A reasoner whose answers are held against the edits.

    Held against an edit are answers to a fact's own question, to yes-or-no questions about it
    (:mod:`errata.reasoners.question_form`), and ``say that …``. All others are left alone: one hop,
    reversed and entailed questions, and instructions.

    :param reasoner: answers first.
    :param config: how its answers are verified.
    :param gate: tells a paraphrase of an edit's question from what the edit entails; None: only an
        edit's own question, in its own words, counts as one.
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
        answers = self.reasoner.answer(queries, edits, generation)
        replies = [[Reply(text) for text in texts] for texts in answers]
        return [
            [reply.text for reply in row]
            for row in self._verified(replies, queries, edits, generation)
        ]

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the verified answers to the queries of prompts, and what was done to each."""
        queries = [prompt.query for prompt in prompts]
        if isinstance(self.reasoner, ConversationReasoner):
            replies = self.reasoner.answer_prompts(prompts, edits, generation)
        else:
            answers = self.reasoner.answer(queries, edits, generation)
            replies = [[Reply(text) for text in texts] for texts in answers]
        return self._verified(replies, queries, edits, generation)

    def _verified(
        self,
        replies: Sequence[Sequence[Reply]],
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the replies, those that contradict an edit replaced."""
        if not self.config.overrule:
            return [list(row) for row in replies]
        wanted = self._expectations(queries, edits)
        out = [
            [_judged(reply, expected) for reply in row]
            for row, expected in zip(replies, wanted, strict=True)
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
        asked = [False] * len(queries)
        if self.gate is not None and queries:
            scores = self.gate.score_batch(queries, [governing[:1] for governing in edits])
            asked = [float(one.entailed[0]) < self.config.entailed_from for one in scores]
        return [
            expectation(
                query, governing, asks_value=asks_value,
                least_share=self.config.least_share, shortest_word=self.config.shortest_word,
                spare_words=self.config.spare_words,
            )
            for query, governing, asks_value in zip(queries, edits, asked, strict=True)
        ]  # fmt: skip

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


def verified(reasoner: Reasoner, config: VerificationConfig | None) -> Reasoner:
    """Return a reasoner whose answers are verified, itself where nothing is to be verified.

    :param reasoner: any reasoner; one that returns stored answers needs no verification.
    :param config: how; None: not at all.
    """
    if config is None or isinstance(reasoner, (VerbatimReasoner, VerifiedReasoner)):
        return reasoner
    return VerifiedReasoner(reasoner, config)


def _judged(reply: Reply, expected: Expectation | None) -> Reply:
    if expected is None:
        return reply
    return Reply(reply.text, "accepted" if expected.accepts(reply.text) else "overruled")
