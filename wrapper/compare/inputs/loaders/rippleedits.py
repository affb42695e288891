"""RippleEdits (Cohen et al. 2024, arXiv:2307.12976): entailed and unaffected facts."""

from __future__ import annotations

from collections.abc import Iterator

from errata.cache.records import Fact
from errata.compare.inputs.cases import PROPERTY_OF, Case, Probe
from errata.compare.inputs.loaders.records import Record, Source
from errata.compare.inputs.loaders.subjects import with_subject

_CRITERIA = {
    "Subject_Aliasing": "alias",
    "Logical_Generalization": "reversed",
    "Compositionality_I": "one hop",
    "Compositionality_II": "two hops",
    "Relation_Specificity": "other relation",
    "Relation_Specifity": "other relation",  # as the data set's own description has it
    "Forgetfulness": "other relation",
}
_JOINTS = (" is ", " are ", " was ", " were ")


class RippleEdits:
    """Reads RippleEdits' records.

    The six criteria become kinds: Subject_Aliasing is ``alias``; Logical_Generalization
    (symmetric, inverse and transitive relations) ``reversed``; Compositionality_I, one step from
    the new object on, ``one hop``; Compositionality_II, where another entity leads to the edited
    subject, ``two hops``; Relation_Specificity and Forgetfulness are locality, ``other
    relation``. Each test query is a probe of its own. Its condition queries
    become ``known``; of their answers, and of a locality probe's, the first name counts. For a
    query with several answers RippleEdits looks for all of them in a text; an exact match counts
    any of them, by any of its names. Queries without an answer are left out.

    The edit's prompt is a whole sentence. Its object is what follows the verb, the last one that
    the prompt shares with the original fact's where the file gives that.
    """

    name = "rippleedits"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has an edit and criteria."""
        first = source.first
        if first is None or not isinstance(first.body.get("edit"), dict):
            return False
        return any(first.has(criterion) for criterion in _CRITERIA)

    def cases(self, source: Source) -> list[Case]:
        """Return one case a record.

        :raises ErrataError: a record is malformed.
        """
        return [_case(record) for record in source.records]


def _case(record: Record) -> Case:
    edit = record.inside("edit")
    before = [key for key in ("original_fact", "previous_fact") if edit.body.get(key)]
    original = edit.inside(before[0]).text("prompt") if before else ""
    prompt, new = _split(edit, original)
    fact = with_subject(Fact(prompt, new))
    probes = [Probe("own", prompt, (new,))]
    for criterion, kind in _CRITERIA.items():
        for test in record.each(criterion):
            probes += _probes(test, kind)
    old = original[len(prompt) :].strip().removesuffix(".") if original.startswith(prompt) else ""
    group = str(edit.body.get("relation", record.body.get("example_type", "")))
    return Case(str(record.index), (fact,), tuple(probes), old=old, group=group)


def _split(edit: Record, original: str) -> tuple[str, str]:
    """Return the edit's sentence up to its object, and the object."""
    sentence = edit.text("prompt")
    shared = 0
    while shared < min(len(sentence), len(original)) and sentence[shared] == original[shared]:
        shared += 1
    ends = [head.rfind(joint) + len(joint) for head in (sentence[:shared], sentence)
            for joint in _JOINTS if joint in head]  # fmt: skip
    of_shared = [end for end in ends if end <= shared]
    if not ends:
        raise edit.wrong("a sentence with is or are before its object", sentence)
    at = max(of_shared or ends)
    new = sentence[at:].strip().removesuffix(".")
    if not new:
        raise edit.wrong("a sentence that ends in its object", sentence)
    return sentence[:at].strip(), new


def _probes(test: Record, kind: str) -> Iterator[Probe]:
    conditions = [(query.text("prompt"), _names(query)) for query in test.each("condition_queries")]
    known = tuple((prompt, names[0]) for prompt, names in conditions if names)
    for query in _needed(test, "test_queries").each("test_queries"):
        prompt, names = query.text("prompt"), _names(query)
        if PROPERTY_OF[kind] == "locality":
            yield Probe(kind, prompt, known=known, gold=names[0] if names else "")
        elif names:
            yield Probe(kind, prompt, names, known=known)


def _names(query: Record) -> tuple[str, ...]:
    """Return every name of every answer of a query."""
    value = query.body.get("answers")
    if isinstance(value, list) and value and isinstance(value[0], dict):
        names = [
            name for one in query.each("answers")
            for name in (*_needed(one, "value").texts("value"), *one.texts("aliases"))
        ]  # fmt: skip
        return tuple(dict.fromkeys(names))
    return _needed(query, "answers").texts("answers")


def _needed(record: Record, key: str) -> Record:
    """Return a record that has a key, whatever is under it."""
    if not record.has(key):
        raise record.wrong(f"a key {key!r}", f"the keys {', '.join(record.body) or 'none'}")
    return record
