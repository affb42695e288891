"""KnowEdit and EasyEdit's files (Zhang et al. 2024, arXiv:2401.01286)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from errata.cache.records import Fact
from errata.compare.inputs.cases import PROPERTY_OF, Case, Probe, Property
from errata.compare.inputs.loaders.records import Record, Source

_KINDS = {
    "subject aliasing": "alias", "alias": "alias", "aliasing": "alias",
    "logical generalization": "reversed", "logical generalisation": "reversed",
    "reversed relation": "reversed", "inverse relation": "reversed", "reversed": "reversed",
    "reasoning": "one hop", "one hop": "one hop", "compositionality i": "one hop",
    "compositionality ii": "one hop", "two hops": "two hops",
    "relation specificity": "other relation", "forgetfulness": "other relation",
    "other attribution": "other relation", "other relation": "other relation",
    "neighborhood": "other subject", "neighbourhood": "other subject",
    "distracting": "other subject", "other subject": "other subject",
    "unrelated": "unrelated", "other task": "unrelated", "nq": "unrelated",
}  # fmt: skip
"""Names of lists in the files, and the kind each becomes."""

_KEYS = frozenset(
    "case_id prompt text target_new labels subject concept ground_truth rephrase_prompt rephrase "
    "relation relation_id cond portability locality portability_prompt portability_ground_truth "
    "locality_prompt locality_ground_truth".split()
)
"""The keys of the published files; those of the last line are EasyEdit's flat ones."""


class KnowEdit:
    """Reads KnowEdit's records, and data sets written for EasyEdit.

    Each list under ``portability`` and ``locality`` has a name, which gives the kind of its
    probes: Subject_Aliasing is ``alias``, Logical_Generalization (symmetric, inverse and
    transitive relations) ``reversed``, Reasoning ``one hop``; Relation_Specificity and
    Forgetfulness are ``other relation``, neighborhood and distracting ``other subject``. An
    unknown name is an error: a probe counted under the wrong kind would not be noticed. A
    portability prompt without an answer is left out. WikiBio's ``text``,
    ``labels`` and ``concept`` are read as prompt, target and subject. In EasyEdit's conversions of
    CounterFact and zsRE, ``locality_prompt`` asks of another subject, and ``portability_prompt``,
    or a ``portability`` with ``New Question``, is one hop. A key of none of these files is an
    error: it may hold probes.
    """

    name = "knowedit"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has a prompt and a new target."""
        first = source.first
        keys = ("prompt", "target_new"), ("text", "labels", "concept")
        return first is not None and any(first.has(*some) for some in keys)

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed, or a list has an unknown name.
        """
        return [_case(record) for record in source.records]


def _case(record: Record) -> Case:
    if unknown := sorted(set(record.body) - _KEYS):
        raise record.wrong(
            f"the keys {', '.join(sorted(_KEYS))}", ", ".join(unknown),
            "rename what holds probes, and take the rest out",
        )  # fmt: skip
    prompt, new = record.text("prompt", "text"), record.some_texts("target_new", "labels")[0]
    old = record.texts("ground_truth")
    rephrased = record.texts("rephrase_prompt", "rephrase")
    probes = [Probe("own", prompt, (new,))]
    probes += [Probe("phrasing", text, (new,)) for text in rephrased]
    probes += _probes(record, "portability")
    probes += _probes(record, "locality")
    return Case(
        id=str(record.body.get("case_id", record.index)),
        edits=(Fact(prompt, new, subject=record.text("subject", "concept")),),
        probes=tuple(probes),
        old=old[0] if old else "",
        group=str(record.body.get("relation", "")),
    )


def _probes(record: Record, measured: Property) -> Iterator[Probe]:
    yield from _flat_probes(record, measured)
    if not record.body.get(measured):
        return
    lists = record.inside(measured)
    if lists.has("New Question"):
        yield Probe("one hop", lists.text("New Question"), lists.some_texts("New Answer"))
        return
    for name in lists.body:
        kind = _KINDS.get(re.sub(r"[\s_-]+", " ", name).strip().lower(), "")
        if PROPERTY_OF.get(kind) != measured:
            known = sorted(key for key, k in _KINDS.items() if PROPERTY_OF[k] == measured)
            raise lists.wrong(
                f"lists named {', '.join(known)}", name, "rename the list by what it asks"
            )
        for prompt, answers in _prompts(lists, name):
            if measured == "locality":
                yield Probe(kind, prompt, gold=answers[0] if answers else "")
            elif answers:
                yield Probe(kind, prompt, answers)


def _flat_probes(record: Record, measured: Property) -> Iterator[Probe]:
    """Yield the probes of ``locality_prompt`` or ``portability_prompt``, with their answers."""
    prompts = record.texts(f"{measured}_prompt")
    answers = record.texts(f"{measured}_ground_truth")
    if len(answers) not in (0, len(prompts)):
        raise record.wrong(f"{len(prompts)} answers under '{measured}_ground_truth'", answers)
    for prompt, answer in zip_longest(prompts, answers, fillvalue=""):
        if measured == "locality":
            yield Probe("other subject", prompt, gold=answer)
        elif answer:
            yield Probe("one hop", prompt, (answer,))


def _prompts(lists: Record, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield prompts and answers: a list of mappings, one mapping, or one of parallel lists."""
    value = lists.body[name]
    if isinstance(value, dict) and isinstance(value.get("prompt"), list):
        both = lists.inside(name)
        prompts, truths = both.body["prompt"], both.body.get("ground_truth")
        if not isinstance(truths, list) or len(truths) != len(prompts):
            raise both.wrong(f"{len(prompts)} answers under 'ground_truth'", truths)
        for prompt, truth in zip(prompts, truths, strict=True):
            body = {"prompt": prompt, "ground_truth": truth}
            one = Record(both.where, lists.index, body, lists.line)
            yield one.text("prompt"), one.texts("ground_truth")
        return
    for item in [lists.inside(name)] if isinstance(value, dict) else lists.each(name):
        if not item.has("ground_truth"):
            raise item.wrong("a key 'ground_truth'", f"the keys {', '.join(item.body) or 'none'}")
        yield item.some_texts("prompt")[0], item.texts("ground_truth")
