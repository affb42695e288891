"""Typed records: edits, their sources, queries and hits.

All are frozen: an edit is replaced, never changed. This module imports nothing of errata.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Listed = Literal["fires", "silent"]
"""The lists of queries that a patch has."""

_JSON = json.JSONEncoder(ensure_ascii=False)
REFUSAL = "I can't share that."
"""The answer of a `forget` patch without an answer."""


@dataclass(frozen=True, slots=True, order=True)
class SourceLocation:
    """A line of a file, printed as ``path:line``.

    :param path: the file, as it was named.
    :param line: line number, from 1.
    """

    path: str
    line: int

    def __str__(self) -> str:
        """Return ``path:line``."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class PatchTests:
    """The tests of a patch, which are the examples that the gate goes by, too.

    :param fires: queries on which the patch must fire.
    :param silent: queries on which it must not.
    :param expect: queries, each with a text that its answer has to contain; these teach nothing.
    :param lines: the lines of all in their file, in order; empty where they are in none.
    """

    fires: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    expect: tuple[tuple[str, str], ...] = ()
    lines: tuple[int, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The fields that every kind of edit has; use a subclass.

    :param id: stable identity; unless given, a hash of the content.
    :param source: where the knowledge comes from (a URL, a ticket).
    :param author: the author of the patch.
    :param tags: free labels, selectable by ``generate(..., edits={"tags": [...]})``.
    :param priority: the higher wins where two edits fire on one query.
    :param supersedes: ids of edits that are out of force while this one is in force.
    :param valid_from: first day in force.
    :param until: last day in force.
    :param rollout: share of conversations in which it is in force, 0 to 1.
    :param tests: queries on which it must and must not fire.
    :param location: the file and line it was read from; not compared.
    :param overrules: of one that ``edit()`` returned: the edits of its scope that are silent now;
        not compared.
    """

    id: str = ""
    source: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    priority: int = 0
    supersedes: tuple[str, ...] = ()
    valid_from: datetime.date | None = None
    until: datetime.date | None = None
    rollout: float = 1.0
    tests: PatchTests = field(default_factory=PatchTests)
    location: SourceLocation | None = field(default=None, compare=False)
    overrules: tuple[Edit, ...] = field(default=(), compare=False, repr=False)

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Fill in the content hash where no id was given."""
        if not self.id:
            object.__setattr__(self, "id", self.content_hash())

    @property
    def scope(self) -> str:
        """The question or condition."""
        raise NotImplementedError

    @property
    def examples(self) -> tuple[str, ...]:
        """The queries that it is said to fire on; others are compared with them."""
        return self.tests.fires

    @property
    def counterexamples(self) -> tuple[str, ...]:
        """The queries that it is said not to fire on."""
        return self.tests.silent

    def content(self) -> tuple[object, ...]:
        """Return the fields of the edit without its metadata."""
        raise NotImplementedError

    def in_force(self, today: datetime.date) -> bool:
        """Return whether the edit's dates include that day."""
        started = self.valid_from is None or self.valid_from <= today
        return started and (self.until is None or today <= self.until)

    def content_hash(self) -> str:
        """Return the id of an edit with this content and no id given."""
        text = _JSON.encode([self.kind, *self.content()])
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return f"{self.kind}-{digest[:12]}"


@dataclass(frozen=True)
class Fact(Edit):
    """A question and its answer, or a question whose answer is to be forgotten.

    :param question: the question, x_k.
    :param answer: the answer, y_k, verbatim; with ``forget``, the refusal.
    :param subject: the subject of the question; found in the question unless given.
    :param forget: refuse instead of answering.
    :param secret: a text that is withheld from every answer (only with ``forget``); not in the
        ``repr``.
    :param secret_hash: the same, salted and hashed (see :mod:`errata.cache.filters.secrets`).
    :param aliases: other names of the subject; the fact also applies to queries with one of them.
    """

    question: str
    answer: str = ""
    subject: str | None = None
    forget: bool = False
    secret: str | None = field(default=None, repr=False)
    secret_hash: str | None = None
    aliases: tuple[str, ...] = ()

    kind: ClassVar[str] = "fact"

    def __post_init__(self) -> None:
        """Fill in the refusal and the id."""
        if self.forget and not self.answer:
            object.__setattr__(self, "answer", REFUSAL)
        super().__post_init__()

    @property
    def scope(self) -> str:
        """The question."""
        return self.question

    @property
    def examples(self) -> tuple[str, ...]:
        """The question, also with each alias in it, and the queries that it is said to fire on."""
        return tuple(dict.fromkeys((self.question, *self.tests.fires, *self.renamed)))

    @property
    def renamed(self) -> tuple[str, ...]:
        """The question with each alias in the place of its subject, where it names that."""
        if not self.aliases or not self.subject:
            return ()
        before, found, after = self.question.rpartition(self.subject)
        return tuple(f"{before}{alias}{after}" for alias in self.aliases) if found else ()

    def content(self) -> tuple[object, ...]:
        """Return question, answer, and the fields of forgetting."""
        return (self.question, self.answer, self.forget, self.secret, self.secret_hash)


@dataclass(frozen=True)
class LanguagePatch(Edit):
    """A natural-language patch: where the condition holds of the query, the consequence applies.

    Murty et al. 2022, "Fixing model bugs with natural language patches".

    :param condition: the text after ``if:``.
    :param consequence: the text after ``then:``.
    """

    condition: str
    consequence: str

    kind: ClassVar[str] = "language"

    @property
    def scope(self) -> str:
        """The condition."""
        return self.condition

    def content(self) -> tuple[object, ...]:
        """Return condition and consequence."""
        return (self.condition, self.consequence)


@dataclass(frozen=True)
class RegexPatch(Edit):
    r"""A textual replacement in the query or the output (RE2 syntax).

    :param pattern: RE2 pattern.
    :param replacement: RE2 rewrite string: ``\1`` is the first group.
    :param target: the text it is applied to.
    :param max_length: characters of its longest match, which a stream holds back.
    """

    pattern: str
    replacement: str
    target: Literal["query", "output"] = "output"
    max_length: int = 200

    kind: ClassVar[str] = "regex"

    @property
    def scope(self) -> str:
        """The pattern."""
        return self.pattern

    def content(self) -> tuple[object, ...]:
        """Return pattern, replacement and target."""
        return (self.pattern, self.replacement, self.target)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query, encoded.

    :param text: the question, rewritten by the query patterns.
    :param windows: the texts that were encoded: the text itself, or its sentence windows where it
        is longer than the encoder's input.
    :param vectors: their encodings, float32 [windows, d], unit rows.
    :param unknown_share: the share of the text's tokens that the encoder does not know, 0 to 1.
    :param history: the turns of the conversation before it, role and text, the latest last.
    """

    text: str
    windows: tuple[str, ...]
    vectors: Vector
    unknown_share: float = 0.0
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """An edit found for a query, before the gate decides on it.

    :param edit: a fact or a language patch.
    :param score: cosine of the query (best window) and the nearest of the edit's scope and its
        examples, -1 to 1; 1.0 where the query is one of them.
    :param vector: the encoding of that text, float32 [d], unit length.
    :param examples: the examples with their cosines, nearest first; empty: not compared yet.
    :param counterexample: cosine of the nearest counterexample; -1 without any.
    """

    edit: Edit
    score: float
    vector: Vector
    examples: tuple[tuple[str, float], ...] = ()
    counterexample: float = -1.0
