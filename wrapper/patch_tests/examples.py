"""What the gate makes of conditions and examples, and questions to try where there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from errata.cache.encoder import Encoder
from errata.cache.records import Edit, Fact, LanguagePatch, RegexPatch
from errata.cache.text.language import is_english
from errata.cache.text.normalize import compare
from errata.gates.base import LeftOut, ThresholdGate
from errata.gates.conditions.parse import Condition, is_certain, read_condition
from errata.gates.languages import RoutedGate
from errata.patch_tests.records import Problem, where

EXAMPLES_NAMED = 3
"""Examples that a note names."""


class Neighbours(Protocol):
    """Finds the questions of other patches that are near to a patch's."""

    def __call__(self, edit: Edit, count: int, /) -> Sequence[str]:
        """Return at most so many, the nearest first."""


def review_examples(
    gate: object,
    encoder: Encoder,
    edits: Sequence[Edit],
    max_unknown_share: float = 0.2,
) -> tuple[Problem, ...]:
    """Return notes on what decides conditions, and on what the gate learns from examples.

    :param gate: of the model that the patches are for; one that cannot leave examples out gives
        no notes on them.
    :param encoder: that model's.
    :param edits: the patches in force.
    :param max_unknown_share: share of unknown tokens up to which a text is readable.
    """
    found: list[Problem] = []
    if not isinstance(gate, RoutedGate):
        found += _unread(encoder, edits, max_unknown_share)
    for edit in edits:
        if isinstance(edit, LanguagePatch):
            found.append(Problem("note", where(edit), decider(edit)))
        if isinstance(gate, ThresholdGate) and not isinstance(edit, RegexPatch):
            if edit.tests.fires or edit.tests.silent:
                found += _taught(edit, gate.leave_one_out(edit))
    return tuple(found)


def _unread(encoder: Encoder, edits: Sequence[Edit], max_unknown_share: float) -> Iterator[Problem]:
    """Yield a warning for each patch in another language than English."""
    some = [edit for edit in edits if isinstance(edit, Fact | LanguagePatch)]
    some = [edit for edit in some if not is_certain(edit)]
    texts = [edit.scope for edit in some]
    shares: list[float] = encoder.unknown_share(texts).tolist() if texts else []
    for edit, share in zip(some, shares, strict=True):
        if share > max_unknown_share or not is_english(edit.scope):
            yield Problem(
                "warning",
                where(edit),
                "expected English, which the gate in use reads, found another language: it fires "
                "on its question and `fires` only; `pip install 'errata[multilingual]'`",
            )


def decider(patch: LanguagePatch) -> str:
    """Return what decides whether a patch's condition holds."""
    return _decider(read_condition(patch.condition))


def _decider(condition: Condition) -> str:
    if condition.kind == "not":
        return f"where this does not hold: {_decider(condition.parts[0])}"
    if condition.parts:
        joint = " or " if condition.kind == "any" else " and "
        return joint.join(f"({_decider(part)})" for part in condition.parts)
    if condition.kind == "lexical":
        words = (" and " if condition.match_all else " or ").join(map(repr, condition.quoted))
        holds = "does not contain" if condition.negated else "contains"
        return f"a rule decides the condition: it holds where the query {holds} {words}"
    if condition.kind == "formal":
        return "a rule decides the condition, by the form of the query"
    how = {
        "question": f"as it decides about the question {condition.text!r}",
        "topic": f"as a topic: {condition.text!r}",
        "claim": f"as a statement: {condition.text!r}",
    }[condition.kind]
    return f"the gate decides the condition, {how}"


def _taught(edit: Edit, left: Sequence[LeftOut]) -> Iterator[Problem]:
    """Yield a note on the examples that only their list decides."""
    wrong = [one for one in left if not one.correct]
    if not wrong:
        return
    counts = []
    for which, verb in (("fires", "fire"), ("silent", "stay silent")):
        several = [one for one in left if one.listed == which]
        if several:
            right = sum(one.correct for one in several)
            counts.append(f"{right} of {len(several)} `{which}` would {verb}")
    named = ", ".join(f"{one.text!r} ({one.probability:.2f})" for one in wrong[:EXAMPLES_NAMED])
    more = f" and {len(wrong) - EXAMPLES_NAMED} more" if len(wrong) > EXAMPLES_NAMED else ""
    text = (
        f"without being listed, by its question and the other examples, {' and '.join(counts)}; "
        f"only the list decides {named}{more}"
    )
    yield Problem("note", where(edit), text)


def propose(edit: Edit, neighbours: Neighbours) -> Problem:
    """Return the warning of a patch without tests, with questions to try.

    :param edit: the patch.
    :param neighbours: finds what must not fire it.
    """
    fires, silent = proposals(edit, neighbours)
    lists = [
        f"{name}: [{', '.join(map(_quoted, texts))}]"
        for name, texts in (("fires", fires), ("silent", silent))
        if texts
    ]
    proposal = f"; try tests: {{{', '.join(lists)}}}" if lists else ""
    text = f"has no tests: nothing shows what fires it, and what must not{proposal}"
    return Problem("warning", where(edit), text)


def proposals(edit: Edit, neighbours: Neighbours) -> tuple[list[str], list[str]]:
    """Return questions that a patch may be tested with: those that fire it, and neighbours.

    :param edit: the patch.
    :param neighbours: finds what must not fire it.
    """
    if isinstance(edit, RegexPatch):
        return [], []
    fires = []
    if isinstance(edit, Fact):
        fires = [f"Can you tell me: {edit.question}"]
        for alias in edit.aliases[:1]:
            if edit.subject and edit.subject in edit.question:
                fires.append(edit.question.replace(edit.subject, alias))
    elif isinstance(edit, LanguagePatch):
        condition = read_condition(edit.condition)
        if condition.kind == "question":
            fires = [f"{condition.text[:1].upper()}{condition.text[1:]}?"]
        elif condition.quoted:
            fires = [f"What about {condition.quoted[0]}?"] if not condition.negated else []
    listed = (edit.scope, *edit.examples)
    near = [
        text for text in neighbours(edit, 2) if not any(compare(text, o) == "same" for o in listed)
    ]
    return fires, near


def _quoted(text: str) -> str:
    """Return a text as YAML in single quotes."""
    return "'" + text.replace("'", "''") + "'"
