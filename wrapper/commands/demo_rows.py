"""The rows of ``errata demo``: what is asked, by what an answer is judged, what was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.commands.output import fired_locations
from errata.commands.progress import progress

if TYPE_CHECKING:
    from errata.cache.records import Edit, Fact, RegexPatch
    from errata.model import EditableModel

BATCH = 12
"""Questions asked at a time."""
NEW_TOKENS = 32
"""Longest answer, in tokens; a small chat model says what it says within them."""

Judge = Callable[[str, str], bool | None]
"""Returns whether an answer is right, given the base model's; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and by what its answer is judged."""

    question: str
    judge: Judge


@dataclass(frozen=True, slots=True)
class Row:
    """One question of the demo.

    :param question: the question.
    :param alone: the base model's answer.
    :param patched: the answer with the patches.
    :param alone_right: whether the first is right; None where that cannot be told.
    :param patched_right: whether the second is right; None where that cannot be told.
    :param where: ``file:line`` of the patches that fired or replaced text.
    """

    question: str
    alone: str
    patched: str
    alone_right: bool | None
    patched_right: bool | None
    where: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the row's fields."""
        return {
            "question": self.question, "alone": self.alone, "patched": self.patched,
            "alone_right": self.alone_right, "patched_right": self.patched_right,
            "where": list(self.where),
        }  # fmt: skip


def says(*parts: str, but_not: str = "") -> Judge:
    """Return the judge of answers that have every part, its words together and in order.

    :param but_not: words that no right answer has.
    """

    def judge(answer: str, alone: str) -> bool:
        if but_not and _contains(answer, but_not):
            return False
        return all(_contains(answer, part) for part in parts)

    return judge


def denies(answer: str, alone: str) -> bool:
    """Return whether an answer to a yes-or-no question is no: its first word, or *not*."""
    from errata.cache.text.normalize import plain_words

    words = plain_words(answer)
    return words[:1] == ("no",) or not {"not", "different"}.isdisjoint(words)


def unchanged(answer: str, alone: str) -> bool:
    """Return whether an answer is the base model's own."""
    return answer == alone


def withholds(fact: Fact) -> Judge:
    """Return the judge of answers that refuse; one with the secret in it is wrong."""
    from errata.cache.filters.guard import SecretGuard

    guard = SecretGuard([fact])

    def judge(answer: str, alone: str) -> bool | None:
        if guard.find(answer):
            return False
        return True if answer == fact.answer else None

    return judge


def replaces(patch: RegexPatch) -> Judge:
    """Return the judge of answers that have the new text and nothing left to replace."""
    from errata.cache.filters.regex import substitute

    def judge(answer: str, alone: str) -> bool | None:
        if substitute(patch, answer)[0] != answer:
            return False
        return True if _contains(answer, patch.replacement) else None

    return judge


TEXTBOOK = (
    Case("What colour is a zebra's skin?", says("black", but_not="white")),
    Case("What colour is the skin of a shaved zebra?", says("black", but_not="white")),
    Case("Tell me a zebra's skin colour.", says("black", but_not="white")),
    Case("Which kind of horse has black skin?", says("zebra")),
    Case("Are a zebra's skin and its coat the same colour?", denies),
    Case("What colour is the skin of a red horse?", unchanged),
    Case("What do zebras eat?", unchanged),
    Case("Can ostriches fly?", unchanged),
)
"""The field's example (accuracy, generality, portability, locality): a zebra's skin is black."""


def case_of(question: str, edit: Edit) -> Case:
    """Return a question with the judge of a patch's answers.

    Of ``say that …`` the names count, where it has any; of all else the whole stored answer.
    """
    from errata.cache.records import Fact, LanguagePatch, RegexPatch
    from errata.cache.text.subject import names_in
    from errata.cache.text.then_clause import is_reported_speech
    from errata.reasoners.verbatim import stored_answer

    if isinstance(edit, Fact) and edit.forget:
        return Case(question, withholds(edit))
    if isinstance(edit, RegexPatch) and edit.target == "output":
        return Case(question, replaces(edit))
    answer = stored_answer(edit)
    if answer is None:
        return Case(question, lambda answer, alone: None)
    reported = isinstance(edit, LanguagePatch) and is_reported_speech(edit.consequence)
    return Case(question, says(*((names_in(answer) if reported else ()) or (answer,))))


def ask_rows(editable: EditableModel, cases: Sequence[Case], description: str) -> list[Row]:
    """Ask the model alone and the model with the patches, in batches; greedy.

    :param description: of what is asked, for the progress bar.
    """
    rows: list[Row] = []
    with progress(description, len(cases)) as advance:
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            questions = [case.question for case in batch]
            alone = editable.ask_many(questions, edits=False, max_new_tokens=NEW_TOKENS)
            patched = editable.ask_many(questions, max_new_tokens=NEW_TOKENS)
            for case, before, after in zip(batch, alone, patched, strict=True):
                first = None if case.judge is unchanged else case.judge(before.text, before.text)
                second = case.judge(after.text, before.text)
                where = tuple(fired_locations(after))
                rows.append(Row(case.question, before.text, after.text, first, second, where))
            advance(len(batch))
    return rows


def tally(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many answers are right and wrong, alone and with the patches."""
    wrong = [row for row in rows if row.alone_right is False]
    return {
        "questions": len(rows),
        "wrong_alone": len(wrong),
        "wrong_then_right": sum(row.patched_right is True for row in wrong),
        "right_patched": sum(row.patched_right is True for row in rows),
        "wrong_patched": sum(row.patched_right is False for row in rows),
    }


def _contains(answer: str, part: str) -> bool:
    """Return whether an answer has the words of a part; of a text in another script, its signs."""
    from errata.cache.text.normalize import normalize, plain_words

    words, wanted = plain_words(answer), plain_words(part)
    size = len(wanted)
    if size and any(words[i : i + size] == wanted for i in range(len(words) - size + 1)):
        return True
    return (not size or not part.isascii()) and normalize(part) in normalize(answer)
