"""Records in published formats, made of T-REx facts and patterns.

CounterFact (Meng et al. 2022, arXiv:2202.05262), zsRE in the split of MEND (Mitchell et al. 2022,
arXiv:2110.11309) and RippleEdits (Cohen et al. 2024, arXiv:2307.12976). T-REx: Elsahar et al. 2018;
patterns: Elazar et al. 2021, "Measuring and improving consistency in pretrained language models".
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.splits import TEST_TENTHS, hash_tenth
from errata.gates.data.yaml_tables import load_table


@dataclass(frozen=True, slots=True)
class WikidataRelation:
    """A relation of ``tables/wikidata.yaml``.

    :param id: such as P36.
    :param label: read "The {label} of X is".
    :param questions: two wordings, ``{s}`` where the subject goes.
    :param kind: what the subjects are.
    :param family: relations that may be taken for one another.
    :param split: of the relation.
    :param object: what the objects are, where another relation leads on from them.
    """

    id: str
    label: str
    questions: tuple[str, str]
    kind: str
    family: str
    split: Split
    object: str = ""


@cache
def wikidata_relations() -> Mapping[str, WikidataRelation]:
    """Return the relations by id."""
    table = load_table("wikidata")["relations"]
    return {
        name: WikidataRelation(name, **{**row, "questions": tuple(row["questions"])})
        for name, row in table.items()
    }


@dataclass(frozen=True, slots=True)
class TrexFact:
    """A fact: subject, relation and object."""

    relation: str
    subject: str
    object: str


@dataclass(frozen=True, slots=True)
class TrexSource:
    """Facts and the statements of their relations up to the object.

    :param facts: one a subject and relation, of known relations.
    :param clozes: by relation, patterns that end in the object, ``{}`` where the subject goes.
    """

    facts: tuple[TrexFact, ...]
    clozes: Mapping[str, tuple[str, ...]]


def read_trex(facts: Path, patterns: Path) -> TrexSource:
    """Read T-REx facts and patterns.

    :param facts: JSON lines relation, subject, object; relations that the table lacks are skipped.
    :param patterns: JSON lines relation, pattern, with ``[X]`` and ``[Y]``.
    :raises ModelError: a file cannot be read, or a line is malformed; names file and line.
    """
    known = wikidata_relations()
    names = [field.name for field in fields(TrexFact)]
    found: dict[tuple[str, str], TrexFact] = {}
    for where, row in json_lines(facts):
        fact = TrexFact(*(text_at(where, row, name) for name in names))
        if fact.relation in known:
            found.setdefault((fact.relation, fact.subject), fact)
    clozes: dict[str, list[str]] = defaultdict(list)
    for where, row in json_lines(patterns):
        relation, pattern = text_at(where, row, "relation"), text_at(where, row, "pattern")
        start, _, rest = pattern.partition("[Y]")
        if relation in known and start.count("[X]") == 1 and not rest.strip(" ."):
            clozes[relation].append(" ".join(start.replace("[X]", "{}").split()))
    if not found or not clozes:
        raise ModelError(
            f"{facts}, {patterns}: expected facts and patterns of relations such as P36, found "
            f"{len(found)} facts and {len(clozes)} relations with patterns; name other files"
        )
    unique = {name: tuple(dict.fromkeys(some)) for name, some in clozes.items()}
    return TrexSource(tuple(found.values()), unique)


@dataclass(frozen=True, slots=True)
class TrexEdit:
    """A fact with a new object, from which records are written."""

    fact: TrexFact
    target: str


class TrexRecords:
    """Makes records of one split: of the relations, and of the subjects by the hash of their name.

    :param source: facts and patterns.
    :param split: of relations and subjects.
    :param seed: of all draws.
    """

    def __init__(self, source: TrexSource, split: Split, seed: int = 0) -> None:
        self.source, self.seed = source, seed
        self.relations = {
            name: relation
            for name, relation in wikidata_relations().items()
            if relation.split == split and name in source.clozes
        }
        self.by_relation: dict[str, list[TrexFact]] = defaultdict(list)
        for fact in source.facts:
            in_test = hash_tenth(fact.subject) < TEST_TENTHS
            if fact.relation in self.relations and in_test == (split == "test"):
                self.by_relation[fact.relation].append(fact)
        self._next: Mapping[str, list[str]] = load_table("wikidata")["next"]
        self._objects = {
            name: sorted({fact.object for fact in some}) for name, some in self.by_relation.items()
        }
        self._object_of = {(fact.subject, fact.relation): fact.object for fact in source.facts}

    def counterfact(self, n: int) -> list[dict[str, Any]]:
        """Return CounterFact's records: a cloze edit, another cloze and a question of the same.

        ``generation_prompts`` name the subject and begin to say another thing. Where a fact that
        leads on from the new object is known, ``portability`` asks for it, as in the records of Yao
        et al. 2023 (arXiv:2305.13172).
        """
        rng = random.Random(f"counterfact {self.seed}")
        edits = self._edits(n, rng, lambda fact: self._others(fact.relation))
        return [self._counterfact(at, edit, rng) for at, edit in enumerate(edits)]

    def zsre(self, n: int) -> list[dict[str, Any]]:
        """Return zsRE's records: a question, its rephrasing, and a question about another."""
        rng = random.Random(f"zsre {self.seed}")
        edits = self._edits(n, rng, lambda fact: True)
        return [self._zsre(edit, rng) for edit in edits]

    def rippleedits(self, n: int) -> list[dict[str, Any]]:
        """Return RippleEdits' records: other relations of the subject, and one step further."""
        rng = random.Random(f"rippleedits {self.seed}")
        edits = self._edits(n, rng, lambda fact: self._others(fact.relation) and any(
            self._next_facts(fact.relation, other) for other in self._objects[fact.relation]
        ))  # fmt: skip
        return [self._ripple(edit, rng) for edit in edits]

    def _edits(self, n: int, rng: random.Random, fits: Any) -> Iterator[TrexEdit]:
        """Yield edits, relations in turn and each subject once; targets that lead on first."""
        facts = {r: [f for f in rng.sample(some, len(some)) if fits(f)]
                 for r, some in sorted(self.by_relation.items())
                 if len(self._objects[r]) > 1}  # fmt: skip
        turns = [fact for place in range(max(map(len, facts.values()), default=0))
                 for some in facts.values() for fact in some[place : place + 1]]  # fmt: skip
        by_subject = {fact.subject: fact for fact in reversed(turns)}
        chosen = [fact for fact in turns if by_subject[fact.subject] is fact]
        for fact in chosen[:n]:
            objects = [one for one in self._objects[fact.relation] if one != fact.object]
            leading = [one for one in objects if self._next_facts(fact.relation, one)]
            yield TrexEdit(fact, rng.choice(leading or objects))

    def _others(self, relation: str) -> list[WikidataRelation]:
        """Return the relations of the same kind of subject that say another thing."""
        own = self.relations[relation]
        return [one for one in self.relations.values()
                if one.kind == own.kind and one.family != own.family]  # fmt: skip

    def _next_facts(self, relation: str, target: str) -> list[tuple[WikidataRelation, str]]:
        """Return relations that lead on from an object, and their objects."""
        every = wikidata_relations()
        found = []
        for name in self._next.get(self.relations[relation].object, ()):
            known = self._object_of.get((target, name))
            if known is not None:
                found.append((every[name], known))
        return found

    def _counterfact(self, at: int, edit: TrexEdit, rng: random.Random) -> dict[str, Any]:
        fact, relation = edit.fact, self.relations[edit.fact.relation]
        clozes = list(self.source.clozes[fact.relation])
        prompt, *others = rng.sample(clozes, len(clozes))
        neighbours, attributes = (
            [prompt.format(one.subject) for one in self._with_object(fact, other, rng)]
            for other in (fact.object, edit.target)
        )
        statements = [text for other in self._others(fact.relation)
                      for text in self.source.clozes[other.id]]  # fmt: skip
        drawn = rng.sample(statements, min(3, len(statements)))
        record: dict[str, Any] = {
            "case_id": at,
            "requested_rewrite": {
                "prompt": prompt,
                "relation_id": fact.relation,
                "target_new": {"str": edit.target, "id": ""},
                "target_true": {"str": fact.object, "id": ""},
                "subject": fact.subject,
            },
            "paraphrase_prompts": [
                *(text.format(fact.subject) for text in others[:1]),
                relation.questions[rng.randrange(2)].format(s=fact.subject),
            ],
            "neighborhood_prompts": neighbours,
            "attribute_prompts": attributes,
            "generation_prompts": [text.format(fact.subject) for text in drawn],
        }
        hops = self._next_facts(fact.relation, edit.target)
        if hops:
            record["portability"] = self._portability(edit, *hops[at % len(hops)])
        return record

    def _portability(self, edit: TrexEdit, second: WikidataRelation, answer: str) -> dict[str, str]:
        phrase = f"the {self.relations[edit.fact.relation].label} of {edit.fact.subject}"
        return {
            "Recalled Relation": f"({edit.target}, {second.label}, {answer})",
            "New Question": second.questions[0].format(s=phrase),
            "New Answer": answer,
        }

    def _with_object(self, fact: TrexFact, other: str, rng: random.Random) -> list[TrexFact]:
        found = [one for one in self.by_relation[fact.relation]
                 if one.object == other and one.subject != fact.subject]  # fmt: skip
        return rng.sample(found, min(5, len(found)))

    def _zsre(self, edit: TrexEdit, rng: random.Random) -> dict[str, Any]:
        fact, relation = edit.fact, self.relations[edit.fact.relation]
        others = [one for one in self.source.facts if one.subject != fact.subject]
        other = rng.choice(others)
        asked = wikidata_relations()[other.relation].questions[0].format(s=other.subject)
        source, rephrase = (text.format(s=fact.subject) for text in relation.questions)
        return {
            "subject": fact.subject,
            "src": source,
            "pred": fact.object,
            "rephrase": rephrase,
            "alt": edit.target,
            "answers": [fact.object],
            "loc": f"nq question: {asked.rstrip('?')}",
            "loc_ans": other.object,
            "cond": f"{fact.object} >> {edit.target} || {source}",
        }

    def _ripple(self, edit: TrexEdit, rng: random.Random) -> dict[str, Any]:
        fact, relation = edit.fact, self.relations[edit.fact.relation]
        phrase = f"the {relation.label} of {fact.subject}"
        other = rng.choice(self._others(fact.relation))
        known = self._object_of.get((fact.subject, other.id))
        answers = _answers(known) if known else []
        specific = [f"The {other.label} of {fact.subject} is",
                    other.questions[0].format(s=fact.subject)]  # fmt: skip
        hops = [
            _test(f"The {second.label} of {phrase} is", _answers(answer))
            for second, answer in self._next_facts(fact.relation, edit.target)
        ]
        return {
            "example_type": "random",
            "edit": {
                "prompt": f"T{phrase[1:]} is {edit.target}.",
                "subject_id": "",
                "relation": fact.relation,
                "target_id": "",
                "original_fact": {"prompt": f"T{phrase[1:]} is {fact.object}."},
            },
            "Relation_Specificity": [_test(text, answers) for text in specific],
            "Logical_Generalization": [],
            "Subject_Aliasing": [],
            "Compositionality_I": hops,
            "Compositionality_II": [],
            "Forgetfulness": [],
        }


def _answers(name: str) -> list[dict[str, Any]]:
    return [{"value": name, "aliases": []}]


def _test(prompt: str, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    query = {"prompt": prompt, "answers": list(answers), "query_type": "regular"}
    return {"test_queries": [query], "test_condition": "OR", "condition_queries": []}
