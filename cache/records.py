"""Typed records: the edits, where they came from, and what a search returns.

All are frozen: an edit in force never changes, it is replaced. This module imports nothing of
errata, so everything may import it.
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

REFUSAL = "I can't share that."
"""What a `forget` patch answers when it does not say anything else."""


@dataclass(frozen=True, slots=True, order=True)
class SourceLocation:
    """A line of a file, printed as ``path:line``.

    :param path: the file, as the person named it.
    :param line: line number, from 1.
    """

    path: str
    line: int

    def __str__(self) -> str:
        """Return ``path:line``."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class PatchTests:
    """A patch's own tests.

    :param fires: queries on which the patch must fire.
    :param silent: queries on which it must not.
    """

    fires: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What every kind of edit has in common; use a subclass.

    :param id: stable identity; a hash of the content unless given.
    :param source: where the knowledge comes from (a URL, a ticket).
    :param author: who wrote the patch.
    :param tags: free labels, selectable by ``generate(..., edits={"tags": [...]})``.
    :param priority: the higher wins where two edits claim the same query.
    :param supersedes: ids of edits that this one replaces.
    :param valid_from: first day in force.
    :param until: last day in force.
    :param tests: the patch's own tests.
    :param location: the file and line it was read from; not part of its identity.
    """

    id: str = ""
    source: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    priority: int = 0
    supersedes: tuple[str, ...] = ()
    valid_from: datetime.date | None = None
    until: datetime.date | None = None
    tests: PatchTests = field(default_factory=PatchTests)
    location: SourceLocation | None = field(default=None, compare=False)

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Fill in the content hash where no id was given."""
        if not self.id:
            object.__setattr__(self, "id", self.content_hash())

    @property
    def scope(self) -> str:
        """The text whose meaning decides which queries the edit governs."""
        raise NotImplementedError

    def content(self) -> tuple[object, ...]:
        """Return the fields that say what the edit is, without its metadata."""
        raise NotImplementedError

    def in_force(self, today: datetime.date) -> bool:
        """Tell whether the edit's dates include that day."""
        started = self.valid_from is None or self.valid_from <= today
        return started and (self.until is None or today <= self.until)

    def content_hash(self) -> str:
        """Return the id that the content alone gives."""
        text = json.dumps([self.kind, *self.content()], ensure_ascii=False)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return f"{self.kind}-{digest[:12]}"


@dataclass(frozen=True)
class Fact(Edit):
    """A question and its answer, or a question whose answer is to be forgotten.

    :param question: the edit's own question, x_k.
    :param answer: the answer, y_k, exactly as it is to be said; with ``forget``, the refusal.
    :param subject: what the question is about; editors of weights need it, else it is found.
    :param forget: refuse instead of answering.
    :param secret: the text that must never be said, in any answer (only with ``forget``).
    :param secret_hash: the same, salted and hashed: ``salt:length:sha256`` (see
        :mod:`errata.cache.filters.secrets`), so that the patch file does not tell the secret.
    :param aliases: other names of the subject; the fact also governs queries that have them.
    """

    question: str
    answer: str = ""
    subject: str | None = None
    forget: bool = False
    secret: str | None = None
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

    def content(self) -> tuple[object, ...]:
        """Return question, answer and what is to be forgotten."""
        return (self.question, self.answer, self.forget, self.secret, self.secret_hash)


@dataclass(frozen=True)
class LanguagePatch(Edit):
    """A natural-language patch: if the condition holds of the input, the consequence does.

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
    r"""A precise textual replacement, on the query or on the output (RE2 syntax).

    :param pattern: RE2 pattern.
    :param replacement: RE2 rewrite string: ``\1`` is the first group.
    :param target: which text it works on.
    :param max_length: longest match in characters that a stream has to wait for.
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
    """A query as cache and gate see it.

    :param text: the question, after the query patterns rewrote it.
    :param windows: the pieces of the text that were encoded: the text itself, or its sentence
        windows where it is longer than the encoder reads.
    :param vectors: their encodings, float32 [windows, d], unit rows.
    :param unknown_share: the share of the text's tokens that the encoder does not know, 0 to 1.
    """

    text: str
    windows: tuple[str, ...]
    vectors: Vector
    unknown_share: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """An edit that the cache found near a query; whether it governs it, the gate decides.

    :param edit: the edit (a fact or a language patch).
    :param score: cosine of the query (best window) and the edit's scope, -1 to 1; 1.0 where the
        characters match.
    :param vector: the encoding of the edit's scope, float32 [d], unit length.
    """

    edit: Edit
    score: float
    vector: Vector
