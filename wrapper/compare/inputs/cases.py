"""Cases: edits, with the prompts that the model is evaluated on before and after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from errata.cache.records import Fact

Property = Literal["accuracy", "generality", "portability", "locality"]

SAME_QUESTION, DIFFERENT_QUESTION = "same question", "different question"
"""Kinds of which only the decision is measured: did the edit fire."""

PROPERTY_OF: dict[str, Property] = {
    "own": "accuracy",
    "phrasing": "generality",
    "alias": "portability",
    "reversed": "portability",
    "one hop": "portability",
    "two hops": "portability",
    "yes or no": "portability",
    "other language": "portability",
    "other subject": "locality",
    "other relation": "locality",
    "unrelated": "locality",
    SAME_QUESTION: "generality",
    DIFFERENT_QUESTION: "locality",
}
"""Kinds of probes, in the order they are reported, and the property each measures."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt for free generation.

    :param kind: a key of :data:`PROPERTY_OF`.
    :param prompt: the question, or the beginning of a statement.
    :param answers: the right answers; any of them counts. Empty for locality: the unedited model's
        answer is right.
    :param false_prompt: of a yes-or-no probe, the same with a false object, to be denied; the
        probe counts only if both are right. ``answers`` then holds the word for yes, and
        ``denials`` the word for no.
    :param denials: see ``false_prompt``.
    :param known: questions and answers that the base model has to know, else the probe is left
        out (RippleEdits' condition queries; the second step of a hop).
    :param gold: of locality, the data's answer, for scores that are defined against it (zsRE's
        specificity; EasyEdit's teacher-forced locality).
    """

    kind: str
    prompt: str
    answers: tuple[str, ...] = ()
    false_prompt: str | None = None
    denials: tuple[str, ...] = ()
    known: tuple[tuple[str, str], ...] = ()
    gold: str = ""

    @property
    def property(self) -> Property:
        """The property the probe measures."""
        return PROPERTY_OF[self.kind]


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt that compares the likelihoods of the new and the old object.

    :param kind: ``rewrite``, ``paraphrase`` or ``neighbour`` (CounterFact's ES, PS and NS: Meng et
        al. 2022, section 3.4).
    :param prompt: a statement up to its object, or a question.
    :param new: the new object, o*.
    :param old: the old object, o_c.
    """

    kind: Literal["rewrite", "paraphrase", "neighbour"]
    prompt: str
    new: str
    old: str


@dataclass(frozen=True, slots=True)
class Case:
    """One edit with everything it is evaluated on.

    :param id: unique within its file.
    :param edits: the edit, or several that belong together (MQuAKE), each with its subject.
    :param probes: prompts for free generation.
    :param preferences: prompts scored by likelihood.
    :param old: the answer before the edit, if the data have it; for shuffled answers and yes-or-no.
    :param group: a relation's name or the like, for tables.
    :param split: of the subjects, ``tune`` or ``test``, if the data have it.
    :param generation: prompts to be continued at length, for fluency (CounterFact's).
    """

    id: str
    edits: tuple[Fact, ...]
    probes: tuple[Probe, ...]
    preferences: tuple[Preference, ...] = ()
    old: str = ""
    group: str = ""
    split: str = ""
    generation: tuple[str, ...] = ()

    @property
    def decisions_only(self) -> bool:
        """Whether no answer is generated: only what fires is measured."""
        return any(probe.kind in (SAME_QUESTION, DIFFERENT_QUESTION) for probe in self.probes)
