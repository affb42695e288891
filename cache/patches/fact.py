"""The kind *fact*: a question and its answer, or a question to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata.cache.errors import PatchError
from errata.cache.filters.secrets import parse_secret_hash, plain_length
from errata.cache.patches.schema import (
    CommonSchema,
    Flag,
    SecretText,
    Text,
    Texts,
    dump_common,
    keys_of,
    raise_all,
    validate,
)
from errata.cache.records import REFUSAL, Edit, Fact, SourceLocation
from errata.cache.text.normalize import needs_space, plain_words

_SHORTEST_SECRET = 4


class FactSchema(CommonSchema):
    """The keys of a fact."""

    question: Text
    answer: Text | None = None
    subject: Text | None = None
    aliases: Texts = ()
    forget: Flag = False
    secret: SecretText | None = None
    secret_hash: Text | None = None


class FactKind:
    """A question and its answer; with ``forget``, a question and its refusal."""

    kind = "fact"
    key = "question"
    keys = keys_of(FactSchema)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> Fact:
        """Return the fact an entry describes.

        :raises PatchError: if the entry is wrong.
        """
        entry = validate(FactSchema, body, self.kind, where)
        raise_all(entry.common_problems(entry.question) + _problems(entry), where)
        return Fact(
            question=entry.question,
            answer=entry.answer or "",
            subject=entry.subject,
            aliases=entry.aliases,
            forget=entry.forget,
            secret=entry.secret,
            secret_hash=entry.secret_hash,
            **entry.common(where),
        )

    def dump(self, edit: Edit) -> dict[str, Any]:
        """Return the entry that describes the fact."""
        if not isinstance(edit, Fact):
            raise TypeError(f"expected a Fact, found {type(edit).__name__}")
        entry: dict[str, Any] = {"question": edit.question}
        if not (edit.forget and edit.answer == REFUSAL):
            entry["answer"] = edit.answer
        if edit.forget:
            entry["forget"] = True
        for key in ("subject", "secret", "secret_hash"):
            if getattr(edit, key) is not None:
                entry[key] = getattr(edit, key)
        if edit.aliases:
            entry["aliases"] = list(edit.aliases)
        return {**entry, **dump_common(edit)}

    def context(self, edit: Edit) -> str:
        """Return the question, followed by its answer."""
        if not isinstance(edit, Fact):
            raise TypeError(f"expected a Fact, found {type(edit).__name__}")
        question, answer = edit.question.strip(), edit.answer.strip()
        return f"{question}{' ' if needs_space(question, answer) else ''}{answer}"


def _problems(entry: FactSchema) -> list[PatchError]:
    problems = []
    if entry.answer is None and not entry.forget:
        problems.append(
            PatchError(
                "a fact patch needs the key 'answer' (or forget: true, to refuse): add it",
                at=("question",),
            )
        )
    problems += _alias_problems(entry)
    for key in ("secret", "secret_hash"):
        if getattr(entry, key) is not None and not entry.forget:
            problems.append(
                PatchError(f"{key} is only for facts to be forgotten: add forget: true", at=(key,))
            )
    if entry.secret is not None and entry.secret_hash is not None:
        problems.append(
            PatchError(
                "secret and secret_hash are both given, and one reveals what the other hides: "
                "keep one of them",
                at=("secret_hash",),
            )
        )
    if entry.secret is not None and plain_length(entry.secret) < _SHORTEST_SECRET:
        problems.append(
            PatchError(
                f"secret has fewer than {_SHORTEST_SECRET} letters and digits and "
                "would be found inside ordinary words: write more of it",
                at=("secret",),
            )
        )
    if entry.secret_hash is not None:
        try:
            parse_secret_hash(entry.secret_hash, _SHORTEST_SECRET)
        except ValueError as error:
            problems.append(PatchError(f"secret_hash {error}", at=("secret_hash",)))
    return problems


def _alias_problems(entry: FactSchema) -> list[PatchError]:
    problems = []
    if entry.aliases and entry.subject is None:
        problems.append(
            PatchError(
                "aliases are other names of the subject, which the patch does not name: add "
                "subject, as the question has it",
                at=("aliases",),
            )
        )
    for number, alias in enumerate(entry.aliases):
        if not plain_words(alias):
            problems.append(
                PatchError(
                    f"alias {alias!r} has no word in it: write a name", at=("aliases", number)
                )
            )
    return problems
