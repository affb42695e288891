"""What an answer has to say by the edits that govern its query, and the edits' own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.cache.text.normalize import needs_space, normalize, normalize_query
from errata.cache.text.polarity import DEFAULT_LANGUAGE, is_negated, verdict, yes_or_no
from errata.cache.text.stated import mentions, names_and_numbers, stated_share, states
from errata.cache.text.then_clause import is_reported_speech, verbatim_answer
from errata.gates.conditions.language import language_of
from errata.reasoners.question_form import question_form


class Expectation(Protocol):
    """What an answer has to say."""

    @property
    def edit(self) -> Edit:
        """The edit that wants it."""

    def accepts(self, answer: str) -> bool:
        """Return whether an answer says it."""

    def completed(self, statement: str | None) -> str:
        """Return an answer in the edit's own words.

        :param statement: the edit as a sentence, as a model worded it; None: there is none.
        """


@dataclass(frozen=True, slots=True)
class StatesAnswer:
    """The stored answer of a fact, which the query asks for.

    :param edit: the fact.
    :param language: of the query.
    """

    edit: Fact
    language: str

    def accepts(self, answer: str) -> bool:
        """Return whether an answer states the stored one, and does not negate it."""
        return states(answer, self.edit.answer, self.language)

    def completed(self, statement: str | None) -> str:
        """Return the sentence, or the stored answer."""
        return statement or self.edit.answer


@dataclass(frozen=True, slots=True)
class Affirms:
    """Yes or no, with the stored answer of the fact that the query is about.

    :param edit: the fact.
    :param query: the query.
    :param language: of the query.
    :param holds: whether the query names the stored answer, and not another value.
    """

    edit: Fact
    query: str
    language: str
    holds: bool

    def accepts(self, answer: str) -> bool:
        """Return whether an answer has the right verdict, and names no third thing."""
        value = self.edit.answer
        if verdict(answer) is not self.holds:
            return False
        if self.holds and mentions(answer, value) and not states(answer, value, self.language):
            return False
        known = f"{self.query} {self.edit.question} {value}"
        return states(answer, value, self.language) or not _foreign(answer, known)

    def completed(self, statement: str | None) -> str:
        """Return the verdict with the fact: "No, the capital of Kazakhstan is Astana."."""
        word = yes_or_no(self.holds, self.language)
        comma, stop = (", ", ".") if needs_space(word, "a") else ("，", "。")
        said = statement or self.edit.answer.rstrip(".。")
        first = said.split(" ")[0]
        if first.lower() in self.edit.question.split()[1:]:
            said = said[:1].lower() + said[1:]
        return f"{word}{comma}{said}{'' if said.endswith(('.', '。', '!')) else stop}"


@dataclass(frozen=True, slots=True)
class Says:
    """A sentence that a language patch wants said: ``say that …``.

    :param edit: the patch.
    :param sentence: the sentence, in the first person.
    :param language: of the sentence.
    :param least_share: share of its longer words that an answer has to contain.
    :param shortest_word: letters of a word that counts.
    """

    edit: LanguagePatch
    sentence: str
    language: str
    least_share: float
    shortest_word: int

    def accepts(self, answer: str) -> bool:
        """Return whether an answer has the names, numbers, polarity and words of the sentence."""
        named = names_and_numbers(self.sentence)
        spoken = normalize_query(self.edit.consequence).partition(" that ")[2]
        if spoken != normalize_query(self.sentence) and spoken in normalize(answer):
            return False  # "You were made by …" says it of the wrong person
        if not all(mentions(answer, name) for name in named):
            return False
        denied = is_negated(answer, named[0] if named else "", self.language)
        if denied != is_negated(self.sentence, "", self.language):
            return False
        return stated_share(answer, self.sentence, self.shortest_word) >= self.least_share

    def completed(self, statement: str | None) -> str:
        """Return the sentence."""
        return self.sentence


def fact_sentence(text: str, fact: Fact) -> bool:
    """Return whether a text is one sentence that states a fact and names nothing else.

    :param text: what a model made of question and answer.
    :param fact: the fact.
    """
    text = text.strip()
    single = text.endswith((".", "。", "!")) and not any(mark in text for mark in "\n?？")
    language = language_of(text) or DEFAULT_LANGUAGE
    return (
        single
        and not _foreign(text, f"{fact.question} {fact.answer}")
        and all(mentions(text, name) for name in names_and_numbers(fact.question))
        and states(text, fact.answer, language)
        and normalize(text) != normalize(context(fact))
    )


def _foreign(text: str, known: str) -> list[str]:
    """Return the names and numbers of a text that a known text does not have."""
    said = text.partition(",")[2] if verdict(text) is not None else text
    return [name for name in names_and_numbers(said) if not mentions(known, name)]


def expectation(
    query: str,
    edits: Sequence[Edit],
    *,
    governed: Sequence[bool],
    asks_value: bool = False,
    least_share: float,
    shortest_word: int,
    spare_words: int,
) -> Expectation | None:
    """Return what an answer has to say, None where no edit settles it.

    :param query: the query.
    :param edits: the edits that govern it, best first.
    :param governed: for each edit, whether it is likely to govern the query; one that is not
        settles its own question only, in its own words.
    :param asks_value: the query is known to ask for the answer of the best edit.
    :param least_share: for ``say that …``, share of words to be contained.
    :param shortest_word: for ``say that …``, letters of a word that counts.
    :param spare_words: as :func:`~errata.reasoners.question_form.question_form` takes it.
    """
    language = language_of(query) or DEFAULT_LANGUAGE
    for at, (edit, likely) in enumerate(zip(edits, governed, strict=True)):
        if isinstance(edit, LanguagePatch) and is_reported_speech(edit.consequence):
            sentence = verbatim_answer(edit.consequence)
            if sentence and at == 0:
                spoken = language_of(sentence) or DEFAULT_LANGUAGE
                return Says(edit, sentence, spoken, least_share, shortest_word)
        if not isinstance(edit, Fact) or edit.forget:
            continue
        own = normalize_query(query) == normalize_query(edit.question)
        form = question_form(query, edit, language, spare_words) if own or likely else None
        if form in ("true", "false"):
            return Affirms(edit, query, language, form == "true")
        if form == "value" or (asks_value and at == 0):
            return StatesAnswer(edit, language)
    return None
