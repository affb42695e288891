"""Evaluate one case before and after its edits, and return the fields of its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
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
    :param prompts: every prompt once.
    :param answers: the generated answers, by prompt.
    :param gold_examples: gold answers behind their prompts, by prompt.
    :param preference_examples: the new and the old object of each preference.
    :param scores: of both kinds of examples, under the unedited model.
    :param kl_examples: by prompt, locality probes with the unedited model's answer as target.
    :param kl_distributions: the distributions along these targets.
    :param extras: milliseconds and entropy, where they are measured.
    """

    probes: tuple[Probe, ...]
    untested: dict[str, int]
    prompts: tuple[str, ...]
    answers: dict[str, GeneratedAnswer]
    gold_examples: dict[str, Example] = field(default_factory=dict)
    preference_examples: tuple[tuple[Example, Example], ...] = ()
    scores: dict[Example, TargetScores] = field(default_factory=dict)
    kl_examples: dict[str, Example] = field(default_factory=dict)
    kl_distributions: tuple[TopTokens, ...] = ()
    extras: Extras = field(default_factory=dict)


class Evaluator:
    """Evaluates cases on one base model, under its current weights.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param generator: generates the answers.
    :param forced: score given texts as well (teacher forcing).
    """

    def __init__(
        self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase,
        generator: AnswerGenerator, *, forced: bool = True,
    ) -> None:  # fmt: skip
        self.base, self.tokenizer, self.generator = base, tokenizer, generator
        self.forced = forced
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
        times = self._extras(case, probes, None) if extras else {}
        if not self.forced:
            return Baseline(probes, untested, prompts, answers, extras=times)
        gold = {p.prompt: p.answers[0] if p.answers else p.gold for p in probes}
        examples = {q: self.teacher_forcing.example(q, text) for q, text in gold.items() if text}
        preferences = self._preference_examples(case)
        kl_examples = self._kl_examples(probes, answers)
        return Baseline(
            probes,
            untested,
            prompts,
            answers,
            examples,
            preferences,
            self._scores(examples, preferences),
            kl_examples,
            tuple(self.teacher_forcing.distributions(list(kl_examples.values()))),
            times,
        )

    def after(self, case: Case, baseline: Baseline, backend: ComparedBackend) -> dict[str, Any]:
        """Evaluate the model while a backend's edits are in force; return the record's fields.

        :param case: the case.
        :param baseline: the same on the unedited model; extras are measured if it has them.
        :param backend: generates the answers.
        """
        answers = self._answers(baseline.prompts, backend.generate)
        scores = baseline.scores
        divergences = [(0.0, (True,) * len(e.target)) for e in baseline.kl_examples.values()]
        if self.forced and not backend.pipeline:  # a pipeline's logits are the unedited model's
            scores = self._scores(baseline.gold_examples, baseline.preference_examples)
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
            "preferences": self._preferences(case, baseline, scores, answers),
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
        self, prompts: Sequence[str], generate: Generate | None
    ) -> dict[str, GeneratedAnswer]:
        return dict(zip(prompts, self.generator.answer(prompts, generate), strict=True))

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

    def _preference_examples(self, case: Case) -> tuple[tuple[Example, Example], ...]:
        example = self.teacher_forcing.example
        return tuple((example(p.prompt, p.new), example(p.prompt, p.old)) for p in case.preferences)

    def _scores(
        self, gold: dict[str, Example], preferences: Sequence[tuple[Example, Example]]
    ) -> dict[Example, TargetScores]:
        """Return the scores of gold answers and preferences; what both hold is scored once."""
        examples = list(dict.fromkeys([*gold.values(), *chain.from_iterable(preferences)]))
        return dict(zip(examples, self.teacher_forcing.scores(examples), strict=True))

    def _preferences(
        self, case: Case, baseline: Baseline, scores: dict[Example, TargetScores],
        answers: dict[str, GeneratedAnswer],
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return likelihoods; where an edit fired, its answer has likelihood 1, any other 0."""
        out: list[dict[str, Any]] = []
        if not self.forced:
            return []
        for preference, pair in zip(case.preferences, baseline.preference_examples, strict=True):
            both = [scores[example] for example in pair]
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


def _prompts(case: Case, probes: Sequence[Probe]) -> tuple[str, ...]:
    """Return every prompt once; all are answered in one batch, as far as its size allows."""
    prompts = [p.prompt for p in probes] + [p.false_prompt for p in probes if p.false_prompt]
    return tuple(dict.fromkeys([*prompts, *(p.prompt for p in case.preferences)]))


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
    probe: Probe, examples: dict[str, Example], scores: dict[Example, TargetScores],
    answers: dict[str, GeneratedAnswer],
) -> list[int]:  # fmt: skip
    """Return for each gold token whether it is predicted; where an edit fired, in its answer."""
    answer = answers[probe.prompt]
    if not answer.hit:
        return [int(right) for right in scores[examples[probe.prompt]].right]
    return [int(same) for same in _matching(examples[probe.prompt].target, answer.ids)]


def _matching(expected: Sequence[int], ids: Sequence[int]) -> list[bool]:
    """Return for each expected token whether the same stands at its position."""
    padded = [*ids, *[-1] * len(expected)]
    return [a == b for a, b in zip(expected, padded, strict=False)]


def _decision(answer: GeneratedAnswer) -> dict[str, Any]:
    return {"fired": list(answer.fired), "route": answer.route} if answer.hit else {}
