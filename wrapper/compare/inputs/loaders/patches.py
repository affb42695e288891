"""Patches: a folder under ``patches/``, or one file of it."""

from __future__ import annotations

import datetime

from errata.cache.errors import ErrataError
from errata.cache.patches.files import load_file, load_folder
from errata.cache.precedence import in_force
from errata.cache.records import Fact
from errata.cache.text.subject import span_of
from errata.compare.inputs.cases import Case, Probe
from errata.compare.inputs.loaders.records import Source
from errata.compare.inputs.loaders.subjects import with_subject
from errata.gates.text import words


class Patches:
    """Reads the facts of patch files that are in force, including those to be forgotten.

    A fact's ``tests`` are its probes: ``fires`` are phrasings, with the answer of the question;
    ``silent`` are locality, ``other relation`` where they name the fact's subject, ``other
    subject`` where they share another word with its question, else ``unrelated``. Conditions and
    patterns have no question and are skipped.
    """

    name = "patches"

    def fits(self, source: Source) -> bool:
        """Return whether the source is a folder, a YAML file, or has patches as records."""
        first = source.first
        return first is None or (first.has("question") and first.line > 0 and _is_patch(first.body))

    def cases(self, source: Source) -> list[Case]:
        """Return one case a fact.

        :raises ErrataError: the folder holds no fact, or a patch is wrong; names file and line.
        """
        path = source.path
        edits = load_folder(path) if path.is_dir() else load_file(path)
        facts = [e for e in in_force(edits, datetime.date.today()) if isinstance(e, Fact)]
        if not facts:
            raise ErrataError(
                f"{path}: expected facts (question: and answer:), found none in force among "
                f"{len(edits)} patches; name another folder"
            )
        return [_case(with_subject(fact)) for fact in facts]


def _is_patch(body: object) -> bool:
    return isinstance(body, dict) and ("answer" in body or "forget" in body)


def _case(fact: Fact) -> Case:
    probes = [Probe("own", fact.question, (fact.answer,))]
    probes += [Probe("phrasing", text, (fact.answer,)) for text in fact.tests.fires]
    probes += [Probe(_silent_kind(fact, text), text) for text in fact.tests.silent]
    return Case(fact.id, (fact,), tuple(probes), group=next(iter(fact.tags), ""))


def _silent_kind(fact: Fact, text: str) -> str:
    """Return the kind of a question on which the fact must stay silent."""
    if fact.subject and _mentions(fact.subject, text):
        return "other relation"
    content = {word.plain for word in words(fact.question) if word.content}
    content -= {word.plain for word in words(fact.subject or "")}
    shared = content & {word.plain for word in words(text) if word.content}
    return "other subject" if shared or not text.isascii() else "unrelated"


def _mentions(subject: str, text: str) -> bool:
    plurals = (subject, f"{subject}s", f"{subject}es")
    return any(span_of(name, text) is not None for name in plurals)
