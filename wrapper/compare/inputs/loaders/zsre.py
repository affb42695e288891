"""zsRE in the split of MEND (Mitchell et al. 2022, arXiv:2110.11309): edits as questions."""

from __future__ import annotations

from errata.cache.records import Fact
from errata.compare.inputs.cases import Case, Probe
from errata.compare.inputs.loaders.records import Record, Source


class ZsRE:
    """Reads zsRE's records.

    ``src`` is the edit's question, ``alt`` its new answer and ``rephrase`` a ``phrasing``.
    ``loc`` is a question of Natural Questions, ``unrelated``; its prompt is the file's, "nq
    question: " and all, with the question mark that the published evaluation adds, and its gold
    answer is what zsRE's specificity is scored against. EasyEdit's ``portability``
    question, where there is one, is a ``one hop``. Records with an empty ``alt``, which the public
    file has, are left out.
    """

    name = "zsre"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has a source question, an answer and a locality one."""
        return source.first is not None and source.first.has("src", "alt", "loc")

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed.
        """
        return [_case(record) for record in source.records if record.body.get("alt") != ""]


def _case(record: Record) -> Case:
    question, new = record.text("src"), record.text("alt")
    locality = record.text("loc").rstrip("?")
    probes = [
        Probe("own", question, (new,)),
        Probe("phrasing", record.text("rephrase"), (new,)),
        Probe("unrelated", f"{locality}?", gold=record.text("loc_ans")),
    ]
    if record.has("portability"):
        hop = record.inside("portability")
        answers = hop.some_texts("New Answer")
        probes.insert(2, Probe("one hop", hop.text("New Question"), answers))
    old = record.texts("answers")
    return Case(
        id=str(record.body.get("case_id", record.index)),
        edits=(Fact(question, new, subject=record.text("subject")),),
        probes=tuple(probes),
        old=old[0] if old else "",
    )
