"""MQuAKE (Zhong et al. 2023, arXiv:2305.14795): several edits, and questions that chain them."""

from __future__ import annotations

from errata.cache.records import Fact
from errata.compare.inputs.cases import Case, Probe
from errata.compare.inputs.loaders.counterfact import filled
from errata.compare.inputs.loaders.records import Record, Source


class MQuAKE:
    """Reads MQuAKE's records.

    Each rewrite is an edit, its question ``own`` and its statement a ``phrasing``. A question of
    two hops in MQuAKE's count is the edit and one step beyond it, here ``one hop``; longer chains
    are ``two hops``. All three phrasings become probes, each counted; MQuAKE counts a case as right
    if any of them is. Unedited single hops of the new chain become ``known``.
    """

    name = "mquake"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has a list of rewrites."""
        first = source.first
        return first is not None and isinstance(first.body.get("requested_rewrite"), list)

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed.
        """
        return [_case(record) for record in source.records]


def _case(record: Record) -> Case:
    rewrites = record.each("requested_rewrite")
    if not rewrites:
        raise record.wrong("one rewrite or more under 'requested_rewrite'", [])
    edits, probes, edited = [], [], set()
    for rewrite in rewrites:
        subject, question = rewrite.text("subject"), rewrite.text("question")
        statement, new = filled(rewrite, subject), rewrite.inside("target_new").text("str")
        edits.append(Fact(question, new, subject=subject))
        probes += [Probe("own", question, (new,)), Probe("phrasing", statement, (new,))]
        edited |= {question, statement}
    hops = record.each("new_single_hops")
    if len(hops) < 2:
        raise record.wrong("two hops or more under 'new_single_hops'", len(hops))
    known = tuple(
        (hop.text("question"), hop.text("answer"))
        for hop in hops
        if hop.text("question") not in edited and hop.body.get("cloze") not in edited
    )
    answers = (record.text("new_answer"), *record.texts("new_answer_alias"))
    kind = "one hop" if len(hops) == 2 else "two hops"
    probes += [
        Probe(kind, question, answers, known=known) for question in record.some_texts("questions")
    ]
    old = rewrites[0].inside("target_true").text("str")
    group = f"{len(hops)} hops"
    case_id = str(record.body.get("case_id", record.index))
    return Case(case_id, tuple(edits), tuple(probes), old=old, group=group)
