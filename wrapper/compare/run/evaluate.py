"""Evaluate one case before and after its edits, and return the fields of its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from errata.cache.text.answer_match import normalize_words
from errata.compare.inputs.cases import Case, Probe
from errata.compare.run.backends import ComparedBackend, PipelineBackend
from errata.compare.run.efficiency import milliseconds
from errata.compare.run.scores import entropy
from errata.compare.run.teacher_forcing import TargetScores, TeacherForcing, TopTokens
from errata.editors.shared.examples import Example
from errata.generation.free_generation import AnswerGenerator, Generate, GeneratedAnswer
from errata.generation.judge import is_right

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

KL_PROBES = 3
"""Locality probes of each kind along whose answers the distributions are compared."""
KL_TOKENS = 8
"""Tokens of such an answer."""
FLUENCY_TOKENS = 100
"""Tokens of a text whose fluency is measured, prompt included (Meng et al. 2022)."""

Extras = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A case on the unedited model.

    :param probes: those whose ``known`` facts the base model knows.
    :param untested: of each kind, how many probes are left out since it does not.
    :param prompts: every prompt once, in groups that share no batch.
    :param answers: the generated answers, by prompt.
    :param gold_examples: gold answers behind their prompts, by prompt.
    :param gold_scores: their scores under the unedited model, by prompt.
    :param preference_scores: scores of the new and the old object of each preference.
    :param kl_examples: by prompt, locality probes with the unedited model's answer as target.
    :param kl_distributions: the distributions along these targets.
    :param extras: milliseconds and entropy, where they are measured.
    """

    probes: tuple[Probe, ...]
    untested: dict[str, int]
    prompts: tuple[tuple[str, ...], ...]
    answers: dict[str, GeneratedAnswer]
    gold_examples: dict[str, Example]
    gold_scores: dict[str, TargetScores]
    preference_scores: tuple[tuple[TargetScores, TargetScores], ...]
    kl_examples: dict[str, Example]
    kl_distributions: tuple[TopTokens, ...]
    extras: Extras = field(default_factory=dict)


class Evaluator:
    """Evaluates cases on one base model, under its current weights.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param generator: generates the answers.
    """

    def __init__(
        self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, generator: AnswerGenerator
    ) -> None:
        self.base, self.tokenizer, self.generator = base, tokenizer, generator
        self.teacher_forcing = TeacherForcing(base, tokenizer)

    def before(self, case: Case, open_questions: Sequence[str], *, extras: bool) -> Baseline:
        """Evaluate the unedited model.

        :param case: the case.
        :param open_questions: questions that no edit is about; they become ``unrelated`` probes.
        :param extras: measure latency and fluency, too; fluency of the first prompt to generate
            from, where the published code takes all of them.
        """
        probes, untested = self._testable(case)
        probes += tuple(Probe("unrelated", question) for question in open_questions)
        prompts = _prompts(case, probes)
        answers = self._answers(prompts, None)
        gold = {p.prompt: p.answers[0] if p.answers else p.gold for p in probes}
        examples = {q: self.teacher_forcing.example(q, text) for q, text in gold.items() if text}
        scores = self.teacher_forcing.scores(list(examples.values()))
        kl_examples = self._kl_examples(probes, answers)
        return Baseline(
            probes,
            untested,
            prompts,
            answers,
            examples,
            dict(zip(examples, scores, strict=True)),
            self._preference_scores(case),
            kl_examples,
            tuple(self.teacher_forcing.distributions(list(kl_examples.values()))),
            self._extras(case, probes, None) if extras else {},
        )

    def after(self, case: Case, baseline: Baseline, backend: ComparedBackend) -> dict[str, Any]:
        """Evaluate the model while a backend's edits are in force; return the record's fields.

        :param case: the case.
        :param baseline: the same on the unedited model; extras are measured if it has them.
        :param backend: generates the answers.
        """
        answers = self._answers(baseline.prompts, backend.generate)
        scores, preferences = baseline.gold_scores, baseline.preference_scores
        divergences = [(0.0, (True,) * len(e.target)) for e in baseline.kl_examples.values()]
        if not backend.pipeline:  # the logits of a pipeline are the unedited model's
            examples = list(baseline.gold_examples.values())
            found = self.teacher_forcing.scores(examples)
            scores = dict(zip(baseline.gold_examples, found, strict=True))
            preferences = self._preference_scores(case)
            divergences = self.teacher_forcing.divergences(
                list(baseline.kl_examples.values()), baseline.kl_distributions
            )
        divergence_of = dict(zip(baseline.kl_examples, divergences, strict=True))
        probes, locality = [], []
        for probe in baseline.probes:
            if probe.property == "locality":
                record = _locality(probe, baseline, answers, divergence_of.get(probe.prompt))
                locality.append(record)
            else:
                record = _correctness(probe, baseline, answers)
                probes.append(record)
            if probe.prompt in baseline.gold_examples:
                record["forced"] = _token_matches(probe, baseline.gold_examples, scores, answers)
        fields: dict[str, Any] = {
            "probes": probes,
            "untested": baseline.untested,
            "locality": locality,
            "preferences": self._preferences(case, preferences, answers),
        }
        if baseline.extras:
            extras = self._extras(
                case, baseline.probes, backend.generate, backend.clear_encoder_cache
            )
            fields["extras"] = {name: [baseline.extras[name], extras[name]] for name in extras}
            if isinstance(backend, PipelineBackend):
                asked = {probe.kind: probe.prompt for probe in baseline.probes}.values()
                times = [backend.decision_milliseconds(question) for question in asked]
                fields["cpu_ms"] = round(sum(times) / len(times), 3)
        return fields

    def _answers(
        self, groups: Sequence[Sequence[str]], generate: Generate | None
    ) -> dict[str, GeneratedAnswer]:
        return {
            prompt: answer
            for group in groups
            for prompt, answer in zip(group, self.generator.answer(group, generate), strict=True)
        }

    def _testable(self, case: Case) -> tuple[tuple[Probe, ...], dict[str, int]]:
        """Return the probes whose conditions the base model meets, and counts of the others."""
        questions = sorted({question for probe in case.probes for question, _ in probe.known})
        answers = dict(zip(questions, self.generator.answer(questions), strict=True))
        testable, untested = [], Counter[str]()
        for probe in case.probes:
            if all(is_right(answers[question].text, [known]) for question, known in probe.known):
                testable.append(probe)
            else:
                untested[probe.kind] += 1
        return tuple(testable), dict(untested)

    def _kl_examples(
        self, probes: Sequence[Probe], answers: dict[str, GeneratedAnswer]
    ) -> dict[str, Example]:
        by_kind: dict[str, list[str]] = {}
        for probe in probes:
            if probe.property == "locality" and answers[probe.prompt].ids:
                by_kind.setdefault(probe.kind, []).append(probe.prompt)
        prompts = dict.fromkeys(p for kind in by_kind.values() for p in kind[:KL_PROBES])
        return {p: self.teacher_forcing.example(p, answers[p].ids[:KL_TOKENS]) for p in prompts}

    def _preference_scores(self, case: Case) -> tuple[tuple[TargetScores, TargetScores], ...]:
        examples = [
            self.teacher_forcing.example(preference.prompt, text)
            for preference in case.preferences
            for text in (preference.new, preference.old)
        ]
        found = self.teacher_forcing.scores(examples)
        return tuple(zip(found[::2], found[1::2], strict=True))

    def _preferences(
        self, case: Case, scores: Sequence[tuple[TargetScores, TargetScores]],
        answers: dict[str, GeneratedAnswer],
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return likelihoods; where an edit fired, its answer has likelihood 1, any other 0."""
        out = []
        for preference, both in zip(case.preferences, scores, strict=True):
            answer = answers[preference.prompt]
            nlls: list[float | None] = [round(each.nll, 6) for each in both]
            exact = all(both[0].right)
            if answer.hit:
                texts = preference.new, preference.old
                nlls = [0.0 if is_right(answer.text, [text]) else None for text in texts]
                exact = nlls[0] is not None
            out.append(
                {"kind": preference.kind, "prompt": preference.prompt, "new": nlls[0],
                 "old": nlls[1], "exact": exact}
            )  # fmt: skip
        return out

    def _extras(
        self, case: Case, probes: Sequence[Probe], generate: Generate | None,
        clear_encoder_cache: Callable[[], None] = lambda: None,
    ) -> Extras:  # fmt: skip
        edit = case.edits[0]
        misses = [p.prompt for p in probes if p.kind == "unrelated"]
        misses += [p.prompt for p in probes if p.property == "locality"]
        timed = {"hit": [edit.question], "miss": misses[:1]}
        found = {
            name: milliseconds(
                partial(self.generator.answer, questions, generate), before=clear_encoder_cache
            )
            for name, questions in timed.items()
            if questions
        }
        prompts = case.generation[:1] or (edit.subject or edit.question,)
        text = self.generator.sample_text(prompts[0], generate, FLUENCY_TOKENS, seed=0)
        if text is not None:
            found["entropy"] = entropy(text)
        return {name: round(value, 4) for name, value in found.items()}


def _prompts(case: Case, probes: Sequence[Probe]) -> tuple[tuple[str, ...], ...]:
    """Return the prompts about facts, and the unrelated ones.

    The second are often answered at length, and a batch takes as long as its longest answer.
    """
    related = [p for p in probes if p.kind != "unrelated"]
    prompts = [p.prompt for p in related] + [p.false_prompt for p in related if p.false_prompt]
    first = dict.fromkeys([*prompts, *(p.prompt for p in case.preferences)])
    unrelated = dict.fromkeys(p.prompt for p in probes if p.kind == "unrelated")
    return tuple(first), tuple(question for question in unrelated if question not in first)


def _correctness(
    probe: Probe, baseline: Baseline, answers: dict[str, GeneratedAnswer]
) -> dict[str, Any]:
    answer = answers[probe.prompt]
    right = is_right(answer.text, probe.answers)
    record: dict[str, Any] = {
        "kind": probe.kind, "prompt": probe.prompt, "expected": list(probe.answers),
        "before": baseline.answers[probe.prompt].text, "answer": answer.text,
    }  # fmt: skip
    if probe.false_prompt:
        denial = answers[probe.false_prompt]
        right = right and is_right(denial.text, probe.denials)
        record |= {
            "false_prompt": probe.false_prompt, "denial": denial.text,
            "denials": list(probe.denials),
        }  # fmt: skip
    return {**record, "right": right, **_decision(answer)}


def _locality(
    probe: Probe,
    baseline: Baseline,
    answers: dict[str, GeneratedAnswer],
    divergence: tuple[float, tuple[bool, ...]] | None,
) -> dict[str, Any]:
    before, after = baseline.answers[probe.prompt], answers[probe.prompt]
    equal = before.ids == after.ids
    record: dict[str, Any] = {
        "kind": probe.kind, "prompt": probe.prompt, "before": before.text, "equal": equal,
    }  # fmt: skip
    if not equal:
        record["after"] = after.text
        record["same_text"] = normalize_words(before.text) == normalize_words(after.text)
    if probe.gold:
        record["gold"] = is_right(after.text, [probe.gold])
    if divergence is not None:
        # A stored answer comes with no distribution to compare.
        kl, argmax = divergence
        record["kl"] = None if after.hit else round(kl, 7)
        equal_tokens = _matching(before.ids[:KL_TOKENS], after.ids) if after.hit else argmax
        record["along"] = [int(same) for same in equal_tokens]
    return {**record, **_decision(after)}


def _token_matches(
    probe: Probe, examples: dict[str, Example], scores: dict[str, TargetScores],
    answers: dict[str, GeneratedAnswer],
) -> list[int]:  # fmt: skip
    """Return for each gold token whether it is predicted; where an edit fired, in its answer."""
    answer = answers[probe.prompt]
    if not answer.hit:
        return [int(right) for right in scores[probe.prompt].right]
    return [int(same) for same in _matching(examples[probe.prompt].target, answer.ids)]


def _matching(expected: Sequence[int], ids: Sequence[int]) -> list[bool]:
    """Return for each expected token whether the same stands at its position."""
    padded = [*ids, *[-1] * len(expected)]
    return [a == b for a, b in zip(expected, padded, strict=False)]


def _decision(answer: GeneratedAnswer) -> dict[str, Any]:
    return {"fired": list(answer.fired), "route": answer.route} if answer.hit else {}
