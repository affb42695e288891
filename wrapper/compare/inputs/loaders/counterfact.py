"""CounterFact (Meng et al. 2022, arXiv:2202.05262, section 3.3): edits as statements."""

from __future__ import annotations

from errata.cache.records import Fact
from errata.compare.inputs.cases import Case, Preference, Probe
from errata.compare.inputs.loaders.records import Record, Source


class CounterFact:
    """Reads CounterFact's records.

    The rewrite prompt, a statement's beginning, is the edit and the accuracy probe; paraphrase
    prompts are ``phrasing``, neighbourhood prompts ``other subject`` (they ask the same of
    subjects that share the old object). The same prompts are the preferences of ES, PS and NS.
    ``attribute_prompts``, about subjects that already have the new object, are not used by the
    published scores and are skipped. ``portability``, which Yao et al. 2023 (arXiv:2305.13172)
    added to records, is a ``one hop``.
    """

    name = "counterfact"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has one rewrite and paraphrases."""
        first = source.first
        rewrite = first.body.get("requested_rewrite") if first else None
        return isinstance(rewrite, dict) and "target_new" in rewrite

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed.
        """
        return [_case(record) for record in source.records]


def _case(record: Record) -> Case:
    rewrite = record.inside("requested_rewrite")
    subject = rewrite.text("subject")
    prompt = filled(rewrite, subject)
    new = rewrite.inside("target_new").text("str")
    old = rewrite.inside("target_true").text("str")
    paraphrases = record.texts("paraphrase_prompts")
    neighbours = record.texts("neighborhood_prompts")
    probes = [Probe("own", prompt, (new,))]
    probes += [Probe("phrasing", text, (new,)) for text in paraphrases]
    probes += [Probe("other subject", text, gold=old) for text in neighbours]
    if record.has("portability"):
        hop = record.inside("portability")
        probes.append(Probe("one hop", hop.text("New Question"), (hop.text("New Answer"),)))
    preferences = [Preference("rewrite", prompt, new, old)]
    preferences += [Preference("paraphrase", text, new, old) for text in paraphrases]
    preferences += [Preference("neighbour", text, new, old) for text in neighbours]
    return Case(
        id=str(record.body.get("case_id", record.index)),
        edits=(Fact(prompt, new, subject=subject),),
        probes=tuple(probes),
        preferences=tuple(preferences),
        old=old,
        group=str(rewrite.body.get("relation_id", "")),
        generation=record.texts("generation_prompts"),
    )


def filled(rewrite: Record, subject: str) -> str:
    """Return the prompt of a rewrite, its subject filled in.

    :raises ErrataError: the prompt has no place for the subject.
    """
    prompt = rewrite.text("prompt")
    if prompt.count("{}") != 1:
        raise rewrite.wrong("a prompt with one {} where the subject goes", prompt)
    return prompt.replace("{}", subject)
