"""The kind *fact*: a question and its answer, or a question to be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata.cache.errors import PatchError
from errata.cache.filters.secrets import parse_secret_hash, plain_length
from errata.cache.patches.schema import (
    CommonShape,
    Flag,
    Text,
    Texts,
    dump_common,
    fit,
    keys_of,
    raise_all,
)
from errata.cache.records import REFUSAL, Edit, Fact, SourceLocation
from errata.cache.text.normalize import plain_words
from errata.cache.text.spacing import needs_space

_SHORTEST_SECRET = 4


class FactShape(CommonShape):
    """The keys of a fact."""

    question: Text
    answer: Text | None = None
    subject: Text | None = None
    aliases: Texts = ()
    forget: Flag = False
    secret: Text | None = None
    secret_hash: Text | None = None


class FactKind:
    """A question and its answer; with ``forget``, a question and its refusal."""

    kind = "fact"
    key = "question"
    keys = keys_of(FactShape)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> Fact:
        """Return the fact an entry describes.

        :raises PatchError: if the entry is wrong.
        """
        shape = fit(FactShape, body, self.kind, where)
        raise_all(shape.common_problems() + _problems(shape), where)
        return Fact(
            question=shape.question,
            answer=shape.answer or "",
            subject=shape.subject,
            aliases=shape.aliases,
            forget=shape.forget,
            secret=shape.secret,
            secret_hash=shape.secret_hash,
            **shape.common(where),
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
        """Return the question and its answer, as the answer follows a prompt."""
        if not isinstance(edit, Fact):
            raise TypeError(f"expected a Fact, found {type(edit).__name__}")
        question, answer = edit.question.strip(), edit.answer.strip()
        return f"{question}{' ' if needs_space(question, answer) else ''}{answer}"


def _problems(shape: FactShape) -> list[PatchError]:
    problems = []
    if shape.answer is None and not shape.forget:
        problems.append(
            PatchError(
                "a fact patch needs the key 'answer' (or forget: true, to refuse): add it",
                at=("question",),
            )
        )
    problems += _alias_problems(shape)
    for key in ("secret", "secret_hash"):
        if getattr(shape, key) is not None and not shape.forget:
            problems.append(
                PatchError(f"{key} is only for facts to be forgotten: add forget: true", at=(key,))
            )
    if shape.secret is not None and shape.secret_hash is not None:
        problems.append(
            PatchError(
                "secret and secret_hash stand together: the one tells what the other hides, keep "
                "one of them",
                at=("secret_hash",),
            )
        )
    if shape.secret is not None and plain_length(shape.secret) < _SHORTEST_SECRET:
        problems.append(
            PatchError(
                f"secret has fewer than {_SHORTEST_SECRET} characters besides white space and "
                "would be found inside ordinary words: write more of it",
                at=("secret",),
            )
        )
    if shape.secret_hash is not None:
        try:
            parse_secret_hash(shape.secret_hash, _SHORTEST_SECRET)
        except ValueError as error:
            problems.append(PatchError(f"secret_hash {error}", at=("secret_hash",)))
    return problems


def _alias_problems(shape: FactShape) -> list[PatchError]:
    problems = []
    if shape.aliases and shape.subject is None:
        problems.append(
            PatchError(
                "aliases are other names of the subject, which the patch does not name: add "
                "subject, as it stands in the question",
                at=("aliases",),
            )
        )
    for number, alias in enumerate(shape.aliases):
        if not plain_words(alias):
            problems.append(
                PatchError(
                    f"alias {alias!r} has no word in it: write a name", at=("aliases", number)
                )
            )
    return problems
