"""One case before and after its edit: what is asked, what is compared, what is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from errata.compare.inputs.cases import Case, Probe
from errata.compare.run.backends import Contender
from errata.compare.run.efficiency import milliseconds
from errata.compare.run.free_generation import Asker, Generate, Said
from errata.compare.run.judge import is_right, normalised
from errata.compare.run.scores import entropy
from errata.compare.run.teacher_forcing import Forced, Forcing, Shortlist
from errata.editors.shared.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

DRIFTING = 3
"""Locality probes of each kind along whose answers the distributions are compared."""
ALONG = 8
"""Tokens of such an answer."""
FLUENT = 100
"""Tokens of a text whose fluency is measured, prompt included (Meng et al. 2022)."""

Extras = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """A case on the unedited model.

    :param probes: those that can be asked: the base knows what they take for granted.
    :param unknown: how many of each kind cannot.
    :param questions: everything asked, each once, in groups that share no batch.
    :param said: the answers.
    :param golds: gold answers behind their prompts, by prompt.
    :param forced: the same as the unedited model sees them.
    :param preferences: likelihoods of the new and the old object of each preference.
    :param drifting: locality probes whose distributions are compared, with the model's own answer
        behind them.
    :param shortlists: their distributions.
    :param extras: milliseconds and entropy, where they are measured.
    """

    probes: tuple[Probe, ...]
    unknown: dict[str, int]
    questions: tuple[tuple[str, ...], ...]
    said: dict[str, Said]
    golds: dict[str, Example]
    forced: dict[str, Forced]
    preferences: tuple[tuple[Forced, Forced], ...]
    drifting: dict[str, Example]
    shortlists: tuple[Shortlist, ...]
    extras: Extras = field(default_factory=dict)


class Examiner:
    """Examines cases on one base model, whatever is in its weights at the time.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param asker: asks freely.
    """

    def __init__(
        self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, asker: Asker
    ) -> None:
        self.base, self.tokenizer, self.asker = base, tokenizer, asker
        self.forcing = Forcing(base, tokenizer)

    def before(self, case: Case, opens: Sequence[str], *, extras: bool) -> Before:
        """Examine the unedited model.

        :param case: the case.
        :param opens: open questions that no edit is about, asked beside the case's own.
        :param extras: measure latency and fluency, too; fluency of the first prompt to generate
            from, where the published code takes all of them.
        """
        probes, unknown = self._askable(case)
        probes += tuple(Probe("unrelated", question) for question in opens)
        questions = _questions(case, probes)
        said = self._said(questions, None)
        told = {p.prompt: p.answers[0] if p.answers else p.gold for p in probes}
        golds = {q: self.forcing.example(q, gold) for q, gold in told.items() if gold}
        drifting = self._drifting(probes, said)
        return Before(
            probes,
            unknown,
            questions,
            said,
            golds,
            dict(zip(golds, self.forcing.forced(list(golds.values())), strict=True)),
            self._preferences(case),
            drifting,
            tuple(self.forcing.shortlists(list(drifting.values()))),
            self._extras(case, probes, None) if extras else {},
        )

    def after(self, case: Case, before: Before, contender: Contender) -> dict[str, Any]:
        """Examine the model while a contender's edits are in force; return the record's fields.

        :param case: the case.
        :param before: the same on the unedited model; extras are measured if they were then.
        :param contender: answers.
        """
        said = self._said(before.questions, contender.generate)
        forced, preferences = before.forced, before.preferences
        drifts = [(0.0, (True,) * len(e.target)) for e in before.drifting.values()]
        if not contender.pipeline:  # the logits of a pipeline are the unedited model's
            golds = list(before.golds.values())
            forced = dict(zip(before.golds, self.forcing.forced(golds), strict=True))
            preferences = self._preferences(case)
            drifts = self.forcing.drifts(list(before.drifting.values()), before.shortlists)
        drifted = dict(zip(before.drifting, drifts, strict=True))
        probes, locality = [], []
        for probe in before.probes:
            if probe.property == "locality":
                found = _locality(probe, before, said, drifted.get(probe.prompt))
                locality.append(found)
            else:
                found = _asked(probe, before, said)
                probes.append(found)
            if probe.prompt in before.golds:
                found["forced"] = _along(probe, before.golds, forced, said)
        record = {
            "probes": probes,
            "untested": before.unknown,
            "locality": locality,
            "preferences": self._preferred(case, preferences, said),
        }
        if before.extras:
            extras = self._extras(case, before.probes, contender.generate, contender.forget)
            record["extras"] = {name: [before.extras[name], extras[name]] for name in extras}
        return record

    def _said(self, groups: Sequence[Sequence[str]], generate: Generate | None) -> dict[str, Said]:
        return {
            question: answer
            for group in groups
            for question, answer in zip(group, self.asker.ask(group, generate), strict=True)
        }

    def _askable(self, case: Case) -> tuple[tuple[Probe, ...], dict[str, int]]:
        """Return the probes whose conditions the base model meets, and counts of the others."""
        asked = sorted({question for probe in case.probes for question, _ in probe.known})
        told = dict(zip(asked, self.asker.ask(asked), strict=True))
        good, bad = [], Counter[str]()
        for probe in case.probes:
            if all(is_right(told[question].text, [answer]) for question, answer in probe.known):
                good.append(probe)
            else:
                bad[probe.kind] += 1
        return tuple(good), dict(bad)

    def _drifting(self, probes: Sequence[Probe], said: dict[str, Said]) -> dict[str, Example]:
        chosen: dict[str, list[str]] = {}
        for probe in probes:
            if probe.property == "locality" and said[probe.prompt].ids:
                chosen.setdefault(probe.kind, []).append(probe.prompt)
        prompts = dict.fromkeys(p for kind in chosen.values() for p in kind[:DRIFTING])
        return {p: self.forcing.example(p, said[p].ids[:ALONG]) for p in prompts}

    def _preferences(self, case: Case) -> tuple[tuple[Forced, Forced], ...]:
        pairs = [
            self.forcing.example(preference.prompt, text)
            for preference in case.preferences
            for text in (preference.new, preference.old)
        ]
        found = self.forcing.forced(pairs)
        return tuple(zip(found[::2], found[1::2], strict=True))

    def _preferred(
        self, case: Case, found: Sequence[tuple[Forced, Forced]], said: dict[str, Said]
    ) -> list[dict[str, Any]]:
        """Return likelihoods; where an edit fired, those of a backend that says one thing only."""
        out = []
        for preference, both in zip(case.preferences, found, strict=True):
            answer = said[preference.prompt]
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
        forget: Callable[[], None] = lambda: None,
    ) -> Extras:  # fmt: skip
        own = case.edits[0]
        misses = [p.prompt for p in probes if p.kind == "unrelated"]
        misses += [p.prompt for p in probes if p.property == "locality"]
        timed = {"hit": [own.question], "miss": misses[:1]}
        found = {
            name: milliseconds(partial(self.asker.ask, question, generate), before=forget)
            for name, question in timed.items()
            if question
        }
        begins = case.generation[:1] or (own.subject or own.question,)
        text = self.asker.continued(begins[0], generate, FLUENT, seed=0)
        if text is not None:
            found["entropy"] = entropy(text)
        return {name: round(value, 4) for name, value in found.items()}


def _questions(case: Case, probes: Sequence[Probe]) -> tuple[tuple[str, ...], ...]:
    """Return what is asked: about facts, and the unrelated questions.

    The second are often answered at length, and a batch takes as long as its longest answer.
    """
    near = [p for p in probes if p.kind != "unrelated"]
    asked = [p.prompt for p in near] + [p.false_prompt for p in near if p.false_prompt]
    first = dict.fromkeys([*asked, *(p.prompt for p in case.preferences)])
    others = dict.fromkeys(p.prompt for p in probes if p.kind == "unrelated")
    return tuple(first), tuple(question for question in others if question not in first)


def _asked(probe: Probe, before: Before, said: dict[str, Said]) -> dict[str, Any]:
    answer = said[probe.prompt]
    right = is_right(answer.text, probe.answers)
    record: dict[str, Any] = {
        "kind": probe.kind, "prompt": probe.prompt, "expected": list(probe.answers),
        "before": before.said[probe.prompt].text, "answer": answer.text,
    }  # fmt: skip
    if probe.false_prompt:
        denial = said[probe.false_prompt]
        right = right and is_right(denial.text, probe.denials)
        record |= {
            "false_prompt": probe.false_prompt, "denial": denial.text,
            "denials": list(probe.denials),
        }  # fmt: skip
    return {**record, "right": right, **_told(answer)}


def _locality(
    probe: Probe,
    before: Before,
    said: dict[str, Said],
    drift: tuple[float, tuple[bool, ...]] | None,
) -> dict[str, Any]:
    then, now = before.said[probe.prompt], said[probe.prompt]
    equal = then.ids == now.ids
    record: dict[str, Any] = {
        "kind": probe.kind, "prompt": probe.prompt, "before": then.text, "equal": equal,
    }  # fmt: skip
    if not equal:
        record["after"] = now.text
        record["same_text"] = normalised(then.text) == normalised(now.text)
    if probe.gold:
        record["gold"] = is_right(now.text, [probe.gold])
    if drift is not None:
        # A stored answer comes with no distribution to compare.
        kl, same = drift
        record["kl"] = None if now.hit else round(kl, 7)
        record["along"] = [int(s) for s in (_matching(then.ids, now.ids) if now.hit else same)]
    return {**record, **_told(now)}


def _matching(then: Sequence[int], now: Sequence[int]) -> list[bool]:
    padded = [*now, *[-1] * len(then)]
    return [a == b for a, b in zip(then[:ALONG], padded, strict=False)]


def _along(
    probe: Probe, golds: dict[str, Example], forced: dict[str, Forced], said: dict[str, Said]
) -> list[int]:
    """Return for each gold token whether it is said; of an edit that fired, in its own answer."""
    answer, gold = said[probe.prompt], golds[probe.prompt].target
    if not answer.hit:
        return [int(right) for right in forced[probe.prompt].right]
    own = [*answer.ids, *[-1] * len(gold)]
    return [int(a == b) for a, b in zip(gold, own, strict=False)]


def _told(answer: Said) -> dict[str, Any]:
    return {"fired": list(answer.fired), "route": answer.route} if answer.hit else {}
