"""What is wrong with a set of patches, as far as it can be said without a model."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from errata.cache.filters.guard import SecretGuard
from errata.cache.filters.regex import lint_pattern
from errata.cache.filters.secrets import GuessConfig, parse_secret_hash
from errata.cache.patches.conflicts import conflicts
from errata.cache.precedence import in_force
from errata.cache.records import Edit, Fact, LanguagePatch, PatchTests, RegexPatch
from errata.cache.text.normalize import Words, plain_words
from errata.cache.text.then_clause import verbatim_answer
from errata.patch_tests.records import Problem, Severity, where

_FAILING = ("two answers", "shared example")


def review(
    edits: Sequence[Edit],
    today: datetime.date,
    told_from: Callable[[Edit], bool] = lambda edit: True,
) -> tuple[Problem, ...]:
    """Return conflicts and warnings, sorted by file and line. No model is needed.

    :param edits: all edits, in force or not.
    :param today: the day on which edits are in force.
    :param told_from: see :func:`errata.cache.patches.conflicts.conflicts`.
    """
    problems = [*_conflicts(edits, today, told_from)]
    for edit in edits:
        problems += [Problem("warning", where(edit), text) for text in _warnings(edit)]
    problems += _shared_aliases(in_force(edits, today))
    locations = {where(edit): edit.location for edit in edits}

    def position(problem: Problem) -> tuple[str, int]:
        location = locations.get(problem.where)
        return (location.path, location.line) if location is not None else ("", 0)

    return tuple(sorted(problems, key=position))


def untested(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return the patches without a test of their own."""
    return tuple(edit for edit in edits if edit.tests == PatchTests())


def bulk_untested(edits: Sequence[Edit]) -> tuple[Problem, ...]:
    """Return one warning for each file of JSON lines in which facts have no tests."""
    lines = [e for e in edits if e.location is not None and _is_bulk(e)]
    of_file: dict[str, list[Edit]] = {}
    for edit in lines:
        of_file.setdefault(edit.location.path if edit.location else "", []).append(edit)
    found = []
    for several in of_file.values():
        bare = untested(several)
        if bare:
            text = (
                f"{len(bare):,} of {len(several):,} patches of this file have no tests: give those "
                "that matter a `fires` and a `silent`"
            )
            found.append(Problem("warning", where(bare[0]), text))
    return tuple(found)


def _is_bulk(edit: Edit) -> bool:
    return edit.location is not None and Path(edit.location.path).suffix.lower() == ".jsonl"


def _conflicts(
    edits: Sequence[Edit], today: datetime.date, told_from: Callable[[Edit], bool]
) -> Iterator[Problem]:
    for conflict in conflicts(edits, today, told_from):
        # the message begins with the location of one of the edits
        location = next(
            (where(e) for e in conflict.edits if conflict.message.startswith(f"{where(e)}: ")), ""
        )
        severity: Severity = "error" if conflict.kind in _FAILING else "warning"
        yield Problem(severity, location, conflict.message.removeprefix(f"{location}: "))


def _warnings(edit: Edit) -> Iterator[str]:
    if isinstance(edit, RegexPatch):
        yield from lint_pattern(edit)
        if edit.tests.silent and not edit.tests.fires:
            yield "has silent tests and no fires: nothing shows that the pattern ever matches"
    elif isinstance(edit, LanguagePatch):
        if verbatim_answer(edit.consequence) is None:
            yield (
                f"{edit.consequence!r} says nothing word for word, so it needs a reasoner: quote "
                'the answer (then: say "...") or wrap the model with a reasoner'
            )
    elif isinstance(edit, Fact) and edit.forget:
        yield from _forgetting(edit)


def _forgetting(edit: Fact) -> Iterator[str]:
    """Yield what is wrong with how a fact is forgotten."""
    if not (edit.secret or edit.secret_hash):
        yield (
            "forgets without a secret: only the question is refused, and the model may still "
            "tell the answer elsewhere; add secret_hash (errata hash-secret TEXT) or secret"
        )
        return
    texts = (edit.question, edit.answer, *edit.tests.fires, *edit.tests.silent)
    if SecretGuard([edit]).find("\n".join(texts)):
        yield (
            "holds its secret in a question, an answer or a test, where everybody reads it: leave "
            "it out there"
        )
    if edit.secret_hash is None:
        return
    hashed = parse_secret_hash(edit.secret_hash)
    if hashed.old:
        yield (
            "secret_hash is of version 0.2 or before and matches no other spelling than of case "
            "and spaces: make it anew (errata hash-secret TEXT)"
        )
    if hashed.length < GuessConfig().min_length:
        yield (
            f"secret_hash is guessable: it hides only {hashed.length} letters and digits; keep the "
            "file as private as the secret"
        )


def _shared_aliases(edits: Sequence[Edit]) -> Iterator[Problem]:
    """Yield a warning for each alias that patches on another subject have, too."""
    first: dict[Words, Fact] = {}
    for edit in (edit for edit in edits if isinstance(edit, Fact)):
        for alias in edit.aliases:
            other = first.setdefault(plain_words(alias), edit)
            if plain_words(other.subject or "") != plain_words(edit.subject or ""):
                yield Problem(
                    "warning",
                    where(edit),
                    f"alias {alias!r} is also one of {other.subject!r} ({where(other)}), so "
                    "neither fires by it unless the model knows which is meant: keep one",
                )
