"""Texts of real people for a reasoner's examples: questions, answers, what they ask assistants."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from errata.facts.table import Split
from errata.reasoners.data.questions import Questions, questions_of
from errata.reasoners.data.rows import read_rows
from errata.reasoners.data.wikidata import split_by_hash

LONGEST = 90
"""Characters of a question: longer ones cost more tokens than they teach."""


@dataclass(frozen=True, slots=True)
class RealTexts:
    """What was read from files.

    :param pairs: question, question, whether they ask the same.
    :param answers: short answers of open questions, by the first word of the question.
    :param utterances: what people ask an assistant, by its intent.
    """

    pairs: Sequence[tuple[str, str, bool]] = ()
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    utterances: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        pairs: Sequence[Path] = (),
        open_questions: Path | None = None,
        intents: Path | None = None,
    ) -> RealTexts:
        """Return the texts of files.

        :param pairs: JSON lines of ``a``, ``b`` and ``same``.
        :param open_questions: JSON lines of ``question`` and ``answers``.
        :param intents: JSON lines of ``text`` and ``intent``.
        :raises ErrataError: a file is missing or of another shape; names the line.
        """
        found = [
            (row["a"], row["b"], bool(row["same"]))
            for path in pairs
            for row in read_rows(path, ("a", "b", "same"))
            if max(len(row["a"]), len(row["b"])) <= LONGEST
        ]
        answers: dict[str, dict[str, None]] = defaultdict(dict)
        if open_questions is not None:
            for row in read_rows(open_questions, ("question", "answers")):
                for answer in row["answers"][:1]:
                    answers[first_word(row["question"])][str(answer)] = None
        utterances: dict[str, dict[str, None]] = defaultdict(dict)
        if intents is not None:
            for row in read_rows(intents, ("text", "intent")):
                if row["intent"] != "oos" and len(row["text"]) <= LONGEST:
                    utterances[row["intent"]][row["text"]] = None
        return cls(
            tuple(found),
            {word: tuple(texts) for word, texts in answers.items()},
            {intent: tuple(texts) for intent, texts in utterances.items()},
        )

    def questions(self, split: Split) -> Questions:
        """Return the questions of a split, all that pairs connect in one."""
        return questions_of(self.pairs, split)

    def intents(self, split: Split) -> Mapping[str, Sequence[str]]:
        """Return the utterances of the intents of a split, by hash."""
        return {i: texts for i, texts in self.utterances.items() if split_by_hash(i) == split}

    @property
    def digest(self) -> str:
        """SHA-256 of all texts, as hex digits."""
        parts: list[Any] = [list(self.pairs), dict(self.answers), dict(self.utterances)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def first_word(question: str) -> str:
    """Return the first word of a question, in lower case: "who"."""
    return question.split(maxsplit=1)[0].lower() if question.strip() else ""
