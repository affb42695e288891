"""Run the tests of patches through gate and reasoner."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from errata.cache.filters.text_filter import WITHHELD
from errata.cache.precedence import in_force
from errata.cache.records import Edit, Fact, RegexPatch
from errata.cache.text.answer_match import normalize_answer
from errata.gates.base import Candidate, Decision
from errata.patch_tests.records import PatchedModel, TestCase, TestResult, where

if TYPE_CHECKING:
    from errata.output import Answer

BATCH = 8
"""Questions of one batch."""


def test_cases(
    edits: Sequence[Edit], today: datetime.date, only: Callable[[Edit], bool] = lambda edit: True
) -> tuple[TestCase, ...]:
    """Return every test of the patches in force, each fact's question among them.

    :param edits: all edits, in force or not.
    :param today: the day on which edits are in force.
    :param only: the patches to test.
    """
    live = in_force(edits, today)
    return tuple(case for edit in live if only(edit) for case in _cases(edit))


test_cases.__test__ = False  # type: ignore[attr-defined]


def run_tests(
    model: PatchedModel,
    cases: Sequence[TestCase],
    progress: Callable[[int], object] = lambda count: None,
    on_decision: Callable[[TestCase, Decision], object] = lambda case, decision: None,
) -> tuple[TestResult, ...]:
    """Return the result of every test, in order.

    What fires is tested on the decision, except for regex patches; these, and what an answer has
    to contain, are tested on the answer.

    :param model: an EditableModel with the patches in force.
    :param cases: the tests.
    :param progress: called with the number of tests run since its last call.
    :param on_decision: called with every decision made.
    """
    results: dict[int, TestResult] = {}
    by_answer = [isinstance(case.edit, RegexPatch) or case.answer is not None for case in cases]
    for places in _batches([i for i, answered in enumerate(by_answer) if not answered]):
        decisions = model.decide([cases[i].query for i in places])
        for i, decision in zip(places, decisions, strict=True):
            results[i] = judge_decision(cases[i], decision)
            on_decision(cases[i], decision)
        progress(len(places))
    for places in _batches([i for i, answered in enumerate(by_answer) if answered]):
        answers = model.ask_many([cases[i].query for i in places])
        for i, answer in zip(places, answers, strict=True):
            results[i] = _judge_answer(cases[i], answer)
        progress(len(places))
    return tuple(results[i] for i in range(len(cases)))


def _batches(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[start : start + BATCH] for start in range(0, len(places), BATCH))


def _cases(edit: Edit) -> Iterator[TestCase]:
    tests = edit.tests
    lines = iter(tests.lines or (0,) * (len(tests.fires) + len(tests.silent) + len(tests.expect)))
    place = edit.location.line if edit.location is not None else 0
    if isinstance(edit, Fact) and edit.question not in tests.fires:
        yield TestCase(edit, edit.question, line=place)
    for query in tests.fires:
        yield TestCase(edit, query, line=next(lines, place))
    for query in tests.silent:
        yield TestCase(edit, query, fires=False, line=next(lines, place))
    for query, answer in tests.expect:
        yield TestCase(edit, query, answer=answer, line=next(lines, place))


def judge_decision(case: TestCase, decision: Decision) -> TestResult:
    """Return the result of a test of what fires.

    :param case: a test of a fact or a language patch.
    :param decision: about its query.
    """
    edit = case.edit
    own = next((one for one in decision.candidates if one.edit_id == edit.id), None)
    fired = tuple(dict.fromkeys(where(other) for other in decision.fired))
    # a reasoner reads all edits that fired; else the edits of the hops and the first one answer
    used = decision.fired if decision.route == "reason" else decision.fired[: decision.hops + 1]
    failure = advice = ""
    if not case.fires and edit.id in {other.id for other in decision.fired}:
        failure = f"fires on {case.query!r}, a silent test{_probability(own)}"
        advice = (
            "say in the question or the condition what sets it apart, or use a rule (the text "
            "contains the word '…') instead of a meaning"
        )
    elif case.fires and edit.id not in {other.id for other in used}:
        others = [other for other in decision.fired if other.id != edit.id]
        failure = f"does not fire on {case.query!r}{_probability(own)}"
        if others:
            failure += f"; {_firing(others, decision)} fires instead"
        advice = _why_silent(case, decision, own, others)
    probability = None if own is None else own.probability
    threshold = None if own is None else own.threshold
    return TestResult(case, failure, advice, fired, probability, threshold)


def _why_silent(
    case: TestCase, decision: Decision, own: Candidate | None, others: Sequence[Edit]
) -> str:
    """Return what to do about a patch that does not fire where it has to."""
    if decision.query != case.query and WITHHELD not in decision.query:
        return (
            f"a query pattern rewrites it to {decision.query!r}: ask the rewritten question, or "
            "narrow the pattern"
        )
    if case.edit.id in {edit.id for edit in decision.overruled}:
        return "that one is later, or has the higher priority: delete one of the two"
    if others:
        return (
            "say which is meant by priority or supersedes, or list the question under `silent` of "
            "the other"
        )
    if own is not None and own.probability >= own.threshold:
        return (
            "the gate takes it for this patch, but nothing can answer: quote the answer (then: say "
            '"…"), or name a model with a reasoner by --model'
        )
    return (
        "list it under `fires`, name the subject of the question (subject:), or use a rule (the "
        "text contains the word '…') instead of a meaning"
    )


def _judge_answer(case: TestCase, answer: Answer) -> TestResult:
    fired = tuple(dict.fromkeys(where(other) for other in answer.decision.fired))
    changed = {r.edit_id for row in answer.trace.replacements for r in row}
    failure = advice = ""
    if case.answer is not None:
        if not _contains(answer.text, case.answer):
            failure = f"answers {answer.text!r} to {case.query!r}, expected {case.answer!r} in it"
            advice = (
                "correct the patch, or name the model whose answer is expected by --model"
                if fired
                else "no patch fires: list the question under `fires`, or name the model whose "
                "answer is expected by --model"
            )
    elif case.fires and case.edit.id not in changed:
        failure = f"changes nothing on {case.query!r}: the answer is {answer.text!r}"
        advice = (
            "a pattern is tested on what a model says: name the model that it corrects by "
            "--model, or a question whose answer matches"
        )
    elif not case.fires and case.edit.id in changed:
        failure = f"fires on {case.query!r}, a silent test: it gives {answer.text!r}"
        advice = r"narrow the pattern, for example with \b around the word"
    return TestResult(case, failure, advice, fired)


def _contains(text: str, expected: str) -> bool:
    """Return whether a text has an expected one in it, as whole words where it has letters."""
    wanted = re.escape(normalize_answer(expected))
    if expected.isascii():
        wanted = rf"(?<!\w){wanted}(?!\w)"
    return re.search(wanted, normalize_answer(text)) is not None


def _firing(edits: Iterable[Edit], decision: Decision) -> str:
    """Return where edits that fired are, each with its probability, the best first."""
    found = {one.edit_id: one.probability for one in reversed(decision.candidates)}
    named = {where(edit): found.get(edit.id) for edit in edits}
    return ", ".join(
        place if probability is None else f"{place} ({probability:.3f})"
        for place, probability in named.items()
    )


def _probability(candidate: Candidate | None) -> str:
    if candidate is None:
        return " (not among the candidates)"
    return f" (probability {candidate.probability:.3f}, from {candidate.threshold:.3f} on)"


def failures(results: Iterable[TestResult]) -> Iterator[TestResult]:
    """Yield the results of the tests that failed."""
    return (result for result in results if result.failure)
