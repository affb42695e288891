"""Files of every format become cases; a malformed record is named."""

from __future__ import annotations

import copy
import gzip
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import ErrataError
from errata.cache.records import Fact
from errata.compare.inputs.cases import PROPERTY_OF, Case, Preference, Probe
from errata.compare.inputs.data import load_data, read_questions, splits_of
from errata.compare.inputs.files import FORMATS, load_cases, write_cases
from errata.gates.data.pairs import open_split
from tests.fakes import DAMAGED

COUNTERFACT = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["It rained. Danielle Darrieux, a native", "Darrieux spoke"],
    "neighborhood_prompts": ["The mother tongue of Léon Blum is"],
    "attribute_prompts": ["J. R. R. Tolkien spoke the language"],
    "generation_prompts": ["Danielle Darrieux's mother tongue is"],
}
ZSRE = {
    "subject": "Watts Humphrey",
    "src": "What university did Watts Humphrey attend?",
    "pred": "Trinity College",
    "rephrase": "What university did Watts Humphrey take part in?",
    "alt": "University of Michigan",
    "answers": ["Illinois Institute of Technology"],
    "loc": "nq question: who played desmond doss father in hacksaw ridge",
    "loc_ans": "Hugo Weaving",
    "cond": "Trinity College >> University of Michigan || What university did …",
}
KNOWEDIT = {
    "subject": "Leo Arons",
    "prompt": "The place of death of Leo Arons is",
    "target_new": "Berlin",
    "ground_truth": ["Wien"],
    "rephrase": ["Leo Arons died in", ""],
    "portability": {
        "Subject_Aliasing": [
            {"prompt": "The place of death of Martin Leo Arons is",
             "ground_truth": [["Berlin", "Berlin, Germany"]]}
        ],
        "Reasoning": [{"prompt": "The mayor of where Leo Arons died is", "ground_truth": "Kai W."}],
        "Logical_Generalization": [{"prompt": "Who died in Berlin?", "ground_truth": []}],
    },
    "locality": {
        "Relation_Specificity": [{"prompt": "Leo Arons' father is", "ground_truth": ["Albert"]}],
        "neighborhood": {"prompt": ["Joseph Fischhof died in", "Larry Bird died in"],
                         "ground_truth": ["Wien", ["none", "nowhere"]]},
    },
}  # fmt: skip
MQUAKE = {
    "case_id": 1,
    "requested_rewrite": [
        {
            "prompt": "{} is a citizen of",
            "relation_id": "P27",
            "target_new": {"str": "Croatia", "id": "Q224"},
            "target_true": {"str": "United States of America", "id": "Q30"},
            "subject": "Ellie Kemper",
            "question": "What is the country of citizenship of Ellie Kemper?",
        }
    ],
    "questions": ["Capital of Ellie Kemper's country?", "Where is her government?", "Her capital?"],
    "answer": "Washington, D.C.",
    "answer_alias": ["Washington"],
    "new_answer": "Zagreb",
    "new_answer_alias": ["City of Zagreb"],
    "single_hops": [],
    "new_single_hops": [
        {
            "question": "What is the country of citizenship of Ellie Kemper?",
            "cloze": "Ellie Kemper is a citizen of",
            "answer": "Croatia",
            "answer_alias": [],
        },
        {
            "question": "What is the capital of Croatia?",
            "cloze": "The capital of Croatia is",
            "answer": "Zagreb",
            "answer_alias": ["City of Zagreb"],
        },
    ],
}


def _query(prompt: str, *names: str) -> dict[str, Any]:
    answers = [{"value": names[0], "aliases": list(names[1:])}] if names else []
    return {"prompt": prompt, "answers": answers, "query_type": "regular", "target_ids": ["Q1"]}


def _test(prompt: str, *names: str, given: tuple[str, ...] = ()) -> dict[str, Any]:
    conditions = [_query(*given)] if given else []
    tests = [_query(prompt, *names)]
    return {"test_queries": tests, "test_condition": "OR", "condition_queries": conditions}


RIPPLE = {
    "example_type": "popular",
    "edit": {
        "prompt": "The name of the country of citizenship of Leonardo DiCaprio is Syria.",
        "subject_id": "Q38111",
        "relation": "COUNTRY_OF_CITIZENSHIP",
        "target_id": "Q858",
        "original_fact": {
            "prompt": "The name of the country of citizenship of Leonardo DiCaprio is United "
            "States of America.",
        },
    },
    "Relation_Specificity": [_test("The name of the mother of Leonardo DiCaprio is", "Irmelin")],
    "Logical_Generalization": [_test("The name of a citizen of Syria is", "Leonardo DiCaprio")],
    "Subject_Aliasing": [_test("Leo's country of citizenship is", "Syria", "Syrian Arab Republic")],
    "Compositionality_I": [
        _test("The continent of DiCaprio's country is", "Asia",
              given=("The continent of Syria is", "Asia", "Asian continent"))
    ],
    "Compositionality_II": [_test("The country of the star of Titanic is", "Syria")],
    "Forgetfulness": [_test("DiCaprio's country, which is not Syria, is", "United States")],
}  # fmt: skip
ERRATA = {
    "id": "capital/France",
    "edits": [{"question": "What is the capital of France?", "answer": "Lyon"}],
    "probes": [{"kind": "own", "prompt": "What is the capital of France?", "answers": ["Lyon"]}],
}
PAIR = {"a": "How tall is Etna?", "b": "What is the height of Etna?", "same": 1}
PATCH = {"question": "Who wrote Emma?", "answer": "Jane Austen"}

RECORDS: dict[str, dict[str, Any]] = {
    "errata": ERRATA, "counterfact": COUNTERFACT, "mquake": MQUAKE, "zsre": ZSRE,
    "knowedit": KNOWEDIT, "rippleedits": RIPPLE, "question-pairs": PAIR, "patches": PATCH,
}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Write records as a JSON list, or as JSON lines."""

    def write(*records: object, lines: bool = False):
        path = tmp_path / f"data.json{'l' if lines else ''}"
        text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
        path.write_text(text, "utf-8")
        return path

    return write


def kinds(case: Case, kind: str) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind == kind]


def test_every_format_has_a_record_here():
    assert set(RECORDS) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_told_by_its_content(written, name):
    path = written(RECORDS[name], lines=name in ("errata", "patches"))
    found, named = load_cases(path), load_cases(path, name)
    assert found == named and len(found) == 1
    case = found[0]
    assert case.edits and bool(kinds(case, "own")) != case.decisions_only
    for probe in case.probes:
        assert bool(probe.answers) == (probe.property != "locality")
        assert probe.prompt == probe.prompt.strip() != ""


def test_question_pairs(written):
    other = {**PAIR, "b": "Is Etna a volcano?", "same": 0}
    far = [{"a": f"Who is {n}?", "b": f"Where is {n}?", "same": 0} for n in range(40)]
    path = written(PAIR, other, *far, lines=True)
    cases = load_cases(path)
    assert len(cases) == 41  # one edit a question
    assert cases[0].edits[0].question == PAIR["a"]
    assert cases[0].probes == (Probe("same question", PAIR["b"], (cases[0].edits[0].answer,)),)
    assert cases[1].probes == (Probe("different question", "Where is 0?"),)
    assert len({case.edits[0].answer for case in cases}) == 41
    test, tune = (load_cases(path, split=name) for name in ("test", "tune"))
    assert {case.split for case in (*test, *tune)} == {"test", "tune"}
    assert test and tune and not {c.id for c in test} & {c.id for c in tune}
    assert len(test) + len(tune) < 41  # gates are trained on the rest
    with pytest.raises(ErrataError, match=r"data.json.*expected 0 or 1 under 'same'"):
        load_cases(written({**PAIR, "same": "yes"}))


def test_counterfact(written):
    (case,) = load_cases(written(COUNTERFACT))
    prompt = "The mother tongue of Danielle Darrieux is"
    assert (case.id, case.old, case.group) == ("7", "French", "P103")
    assert case.edits == (Fact(prompt, "English", subject="Danielle Darrieux"),)
    assert kinds(case, "own") == [Probe("own", prompt, ("English",))]
    assert [p.prompt for p in kinds(case, "phrasing")] == COUNTERFACT["paraphrase_prompts"]
    neighbour = "The mother tongue of Léon Blum is"
    assert kinds(case, "other subject") == [Probe("other subject", neighbour, gold="French")]
    assert case.preferences[0] == Preference("rewrite", prompt, "English", "French")
    assert case.preferences[-1] == Preference("neighbour", neighbour, "English", "French")
    assert [p.kind for p in case.preferences].count("paraphrase") == 2
    assert case.generation == ("Danielle Darrieux's mother tongue is",)
    assert "Tolkien" not in repr(case)


def test_counterfact_with_portability(written):
    hop = {"Recalled Relation": "(English, spoken in, London)",
           "New Question": "Where is the mother tongue of Danielle Darrieux spoken?",
           "New Answer": "London"}  # fmt: skip
    (case,) = load_cases(written({**COUNTERFACT, "portability": hop}))
    assert kinds(case, "one hop") == [Probe("one hop", hop["New Question"], ("London",))]
    with pytest.raises(ErrataError, match="text under 'New Answer'"):
        load_cases(written({**COUNTERFACT, "portability": {**hop, "New Answer": ""}}))


def test_zsre(written):
    (case,) = load_cases(written(ZSRE))
    assert case.edits[0].answer == "University of Michigan"
    assert case.old == "Illinois Institute of Technology"
    assert [p.kind for p in case.probes] == ["own", "phrasing", "unrelated"]
    last = case.probes[-1]
    assert last.prompt == "nq question: who played desmond doss father in hacksaw ridge?"
    assert last.gold == "Hugo Weaving" and not last.answers


def test_zsre_leaves_out_what_asks_for_no_edit(written):
    path = written({**ZSRE, "alt": ""}, ZSRE)
    assert [case.id for case in load_cases(path)] == ["1"]


def test_zsre_with_portability(written):
    further = {"New Question": "Where is the university that W. H. attended?", "New Answer": "Ann"}
    (case,) = load_cases(written({**ZSRE, "portability": further}))
    assert kinds(case, "one hop") == [Probe("one hop", further["New Question"], ("Ann",))]


def test_knowedit(written):
    (case,) = load_cases(written(KNOWEDIT))
    assert case.old == "Wien" and case.edits[0].subject == "Leo Arons"
    assert [p.prompt for p in kinds(case, "phrasing")] == ["Leo Arons died in"]
    assert kinds(case, "alias")[0].answers == ("Berlin", "Berlin, Germany")
    assert kinds(case, "one hop")[0].answers == ("Kai W.",)
    assert not kinds(case, "reversed")  # it has no answer to be judged by
    assert kinds(case, "other relation")[0].gold == "Albert"
    assert [p.gold for p in kinds(case, "other subject")] == ["Wien", "none"]


def test_easyedits_flat_keys_are_probes(written):
    flat = {"case_id": 3, "prompt": KNOWEDIT["prompt"], "target_new": "Berlin",
            "subject": "Leo Arons", "ground_truth": "Wien", "rephrase_prompt": "Leo Arons died in",
            "locality_prompt": "Larry Bird died in", "locality_ground_truth": "Boston",
            "portability_prompt": "The mayor of where Leo Arons died is",
            "portability_ground_truth": "Kai W."}  # fmt: skip
    (case,) = load_cases(written(flat))
    assert kinds(case, "other subject") == [
        Probe("other subject", "Larry Bird died in", gold="Boston")
    ]
    assert kinds(case, "one hop") == [Probe("one hop", flat["portability_prompt"], ("Kai W.",))]
    hop = {"Recalled Relation": "(…)", "New Question": "Who is mayor there?", "New Answer": "Kai"}
    (case,) = load_cases(written({**KNOWEDIT, "portability": hop}))
    assert kinds(case, "one hop") == [Probe("one hop", "Who is mayor there?", ("Kai",))]


def test_knowedit_of_biographies(written):
    record = {"text": "John Reynolds was a neurologist.", "labels": "He studied in London.",
              "concept": "john reynolds", "locality": {}}  # fmt: skip
    (case,) = load_cases(written(record))
    assert case.edits == (Fact(record["text"], record["labels"], subject="john reynolds"),)


def test_mquake(written):
    (case,) = load_cases(written(MQUAKE))
    asked = kinds(case, "one hop")
    assert [p.prompt for p in asked] == MQUAKE["questions"]
    for probe in asked:
        assert probe.answers == ("Zagreb", "City of Zagreb")
        assert probe.known == (("What is the capital of Croatia?", "Zagreb"),)
    assert case.edits[0].question == "What is the country of citizenship of Ellie Kemper?"
    assert kinds(case, "phrasing")[0].prompt == "Ellie Kemper is a citizen of"


def test_mquake_with_two_edits_and_three_hops(written):
    record = copy.deepcopy(MQUAKE)
    second = {**record["requested_rewrite"][0], "subject": "Croatia", "prompt": "{}'s capital is",
              "question": "What is the capital of Croatia?"}  # fmt: skip
    record["requested_rewrite"].append(second)
    record["new_single_hops"].append({"question": "Who governs Zagreb?", "answer": "Tomašević"})
    (case,) = load_cases(written(record))
    assert len(case.edits) == 2 and len(kinds(case, "own")) == 2
    assert not kinds(case, "one hop")
    assert kinds(case, "two hops")[0].known == (("Who governs Zagreb?", "Tomašević"),)


def test_rippleedits(written):
    (case,) = load_cases(written(RIPPLE))
    head = "The name of the country of citizenship of Leonardo DiCaprio is"
    assert case.edits == (Fact(head, "Syria", subject="Leonardo DiCaprio"),)
    assert case.edits[0].subject == "Leonardo DiCaprio"
    assert case.old == "United States of America"
    assert kinds(case, "alias")[0].answers == ("Syria", "Syrian Arab Republic")
    assert kinds(case, "one hop")[0].known == (("The continent of Syria is", "Asia"),)
    assert kinds(case, "two hops") and kinds(case, "reversed")
    beside = kinds(case, "other relation")
    assert {p.gold for p in beside} == {"Irmelin", "United States"}


@pytest.mark.parametrize(
    ("prompt", "before", "head", "new"),
    [
        ("The kin of A is B is C.", "The kin of A is B is D.", "The kin of A is B is", "C"),
        ("The film of A is What is Love.", "The film of A is Up.", "The film of A is",
         "What is Love"),
        ("The capital of A is Washington, D.C..", None, "The capital of A is", "Washington, D.C."),
        ("The names of the heirs of A are B.", None, "The names of the heirs of A are", "B"),
    ],
)  # fmt: skip
def test_rippleedits_finds_where_the_object_begins(written, prompt, before, head, new):
    edit = {"prompt": prompt, **({"previous_fact": {"prompt": before}} if before else {})}
    (case,) = load_cases(written({"edit": edit, "Relation_Specifity": []}))
    assert (case.edits[0].question, case.edits[0].answer) == (head, new)


def test_rippleedits_leaves_out_queries_without_an_answer(written):
    record = {**RIPPLE, "Subject_Aliasing": [_test("Leo is a citizen of")]}
    (case,) = load_cases(written(record))
    assert not kinds(case, "alias")


def test_a_folder_of_patches(tmp_path):
    (tmp_path / "a.yaml").write_text(
        """\
- question: What colour is a zebra's skin?
  answer: black
  tags: [animals]
  tests:
    fires: [Tell me the skin colour of a zebra.]
    silent: [What do zebras eat?, What colour is a panda's skin?, When does the train leave?]
- question: Where does Jane Roe live?
  forget: true
- if: the user asks who made you
  then: say that you were made by Example Labs
- question: Who led Peru?
  answer: Somebody
  until: 2001-01-01
""",
        "utf-8",
    )
    zebra, forgotten = load_cases(tmp_path)
    assert zebra.edits[0].subject == "zebra" and zebra.group == "animals"
    assert zebra.id == zebra.edits[0].id
    assert kinds(zebra, "phrasing")[0].answers == ("black",)
    found = [(p.kind, p.prompt) for p in zebra.probes if p.property == "locality"]
    assert found == [
        ("other relation", "What do zebras eat?"),
        ("other subject", "What colour is a panda's skin?"),
        ("unrelated", "When does the train leave?"),
    ]
    assert forgotten.edits[0].forget and forgotten.probes[0].answers == (forgotten.edits[0].answer,)


def test_a_folder_without_facts(tmp_path):
    (tmp_path / "a.yaml").write_text("- regex: a\n  replace: b\n", "utf-8")
    with pytest.raises(ErrataError, match=r"expected facts .* found none in force among 1 patches"):
        load_cases(tmp_path)


def test_a_bad_patch_names_its_line(tmp_path):
    (tmp_path / "a.yaml").write_text("- question: Who?\n  anser: me\n", "utf-8")
    with pytest.raises(ErrataError, match=r"a\.yaml:2: "):
        load_cases(tmp_path)


def changed(record: dict[str, Any], way: str, value: object) -> dict[str, Any]:
    """Return a record with a value put in, or (None) taken out, at a place such as a.0.b."""
    out = copy.deepcopy(record)
    at: Any = out
    *heads, last = way.split(".")
    for head in heads:
        at = at[int(head)] if isinstance(at, list) else at[head]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return out


MALFORMED = [
    ("counterfact", "requested_rewrite.subject", None, "text under 'subject'"),
    ("counterfact", "requested_rewrite.prompt", "no place", r"with one \{\} where the subject"),
    ("counterfact", "requested_rewrite.target_true", "French", "mapping under 'target_true'"),
    ("counterfact", "paraphrase_prompts", [["a"], {"b": 1}], "texts under 'paraphrase_prompts'"),
    ("counterfact", "neighborhood_prompts", [True], "texts under 'neighborhood_prompts'"),
    ("zsre", "alt", 3, "text under 'alt', found 3"),
    ("zsre", "rephrase", " ", "text under 'rephrase'"),
    ("zsre", "loc_ans", None, "text under 'loc_ans', found the keys subject"),
    ("knowedit", "target_new", "", "one text or more under 'target_new'"),
    ("knowedit", "riddle_prompt", "a", "found 'riddle_prompt'; rename what holds probes"),
    ("knowedit", "locality_ground_truth", "a", "0 answers under 'locality_ground_truth'"),
    ("knowedit", "portability", {"Riddles": []}, "rename the list by what it asks"),
    ("knowedit", "portability", {"neighborhood": []}, "found 'neighborhood'"),
    ("knowedit", "locality.Relation_Specificity", ["a"], "mappings in the list"),
    ("knowedit", "locality.Relation_Specificity.0.ground_truth", None, "a key 'ground_truth'"),
    ("knowedit", "locality.neighborhood.ground_truth", ["one"], "2 answers under 'ground_truth'"),
    ("knowedit", "locality.neighborhood.prompt", ["one", 2], "text under 'prompt', found 2"),
    ("mquake", "requested_rewrite", [], "one rewrite or more"),
    ("mquake", "requested_rewrite.0.question", None, "text under 'question'"),
    ("mquake", "new_single_hops", [{"question": "a", "answer": "b"}], "two hops or more"),
    ("mquake", "new_answer", None, "text under 'new_answer'"),
    ("mquake", "questions", [], "one text or more under 'questions'"),
    ("rippleedits", "edit.prompt", "Leonardo loves Syria.", "a sentence with is or are"),
    ("rippleedits", "edit.prompt", "The land of Leonardo is .", "that ends in its object"),
    ("rippleedits", "Subject_Aliasing", {}, "list under 'Subject_Aliasing'"),
    ("rippleedits", "Subject_Aliasing.0.test_queries", None, "a key 'test_queries'"),
    ("rippleedits", "Forgetfulness.0.test_queries.0.answers", None, "a key 'answers'"),
    ("rippleedits", "Forgetfulness.0.test_queries.0.answers", [{"name": "a"}], "a key 'value'"),
    ("errata", "id", 3, "text under 'id', found 3"),
    ("errata", "edits", [], "one fact or more"),
    ("errata", "edits", [{"question": "Who?"}], "needs the key 'answer'"),
    ("errata", "edits", [{"regex": "a", "replace": "b"}], "found .a regex patch."),
    ("errata", "probes", [{"kind": "own", "prompt": 3}], "text under 'prompt'"),
    ("errata", "probes", [{"kind": "odd", "prompt": "a"}], "one of own, phrasing"),
    ("errata", "probes", [{"kind": "own", "prompt": "a", "known": [["b"]]}], "pairs of a question"),
    ("errata", "preferences", [{"kind": "own", "prompt": "a"}], "one of rewrite, paraphrase"),
    ("errata", "answer", "Lyon", "found 'answer'; correct the record"),
]


@pytest.mark.parametrize(("name", "way", "value", "says"), MALFORMED)
def test_a_malformed_record_is_named(written, name, way, value, says):
    good = RECORDS[name]
    bad = changed(good, way, value)
    assert load_cases(written(good), name)
    with pytest.raises(ErrataError, match=says) as by_index:
        load_cases(written(good, bad), name)
    assert str(by_index.value).startswith(f"{written(good, bad)}[1]")
    assert ": expected " in str(by_index.value)
    path = written(good, bad, lines=True)
    with pytest.raises(ErrataError, match=says) as by_line:
        load_cases(path, name)
    assert str(by_line.value).startswith(f"{path}:2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found none"),
        ("[]", "found none"),
        ('[{"a": 1},\n{"a" 2}]', r"data\.json:2: expected a JSON list"),
        ('{"a": 1}\n{"a" 2}', r"data\.json:2: expected one JSON object a line"),
        ("[1]", r"data\.json\[0\]: expected a JSON object"),
        ('[{"question": "Who?"}]', "one of the formats .*, found records with the keys question"),
        ("\xff", "expected one JSON object"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, says):
    path = tmp_path / "data.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ErrataError, match=says):
        load_cases(path)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "data.json").write_bytes(b"\xff\xfe[]")
    with pytest.raises(ErrataError, match="expected a file of records in UTF-8"):
        load_cases(tmp_path / "data.json")


def test_a_gzipped_file_that_is_damaged(tmp_path):
    path = tmp_path / "data.json.gz"
    path.write_bytes(DAMAGED)
    with pytest.raises(ErrataError, match=r"data\.json\.gz: expected a file of records in UTF-8"):
        load_cases(path)
    with pytest.raises(ErrataError, match=r"data\.json\.gz: cannot be read as lines"):
        read_questions(path)


@pytest.mark.parametrize(("lines", "where"), [(True, "data.jsonl:2"), (False, "data.json[1]")])
def test_half_a_character_is_named(written, lines, where):
    half = changed(ZSRE, "answers", ["Illinois \ud83d"])
    with pytest.raises(ErrataError, match=f"{re.escape(where)}: expected .*lone surrogate"):
        load_cases(written(ZSRE, half, lines=lines))
    assert load_cases(written(changed(ZSRE, "answers", ["Illinois \U0001f600"]), lines=lines))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"question": "\\ud800"}', "lone surrogate"),
        ('{"question": 3}', "a text under 'question', found 3"),
        ('{"q": "who?"}', "found the keys"),
        ('{"question', "expected one JSON object"),
    ],
)
def test_open_questions_are_objects_or_lines(tmp_path, line, says):
    path = tmp_path / "open.jsonl"
    path.write_text('{"question": " who? "}\n\n where? \n', "utf-8")
    assert read_questions(path) == ["who?", "where?"]
    path.write_text(f"who?\n{line}\n", "utf-8")
    with pytest.raises(ErrataError, match=rf"open\.jsonl:2: .*{says}"):
        read_questions(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ErrataError, match="expected a file of records"):
        load_cases(tmp_path / "none.json")


def test_an_unknown_format(written):
    with pytest.raises(ErrataError, match=r"one of errata, counterfact, .*, found 'counterfacts'"):
        load_cases(written(COUNTERFACT), "counterfacts")


def test_ids_are_unique_in_a_file(written):
    with pytest.raises(ErrataError, match="found '7' twice"):
        load_cases(written(COUNTERFACT, COUNTERFACT))


def test_a_draw_is_the_same_under_the_same_seed(written):
    path = written(*({**COUNTERFACT, "case_id": number} for number in range(30)))
    everything = load_cases(path)
    assert [case.id for case in everything] == [str(number) for number in range(30)]
    some = load_cases(path, n=10, seed=1)
    assert some == load_cases(path, n=10, seed=1) != load_cases(path, n=10, seed=2)
    assert len(set(some)) == 10 and set(some) < set(everything)
    assert len(load_cases(path, n=99)) == 30


def test_gzipped(written):
    path = written(COUNTERFACT)
    zipped = path.with_name("data.json.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert load_cases(zipped) == load_cases(path)


@pytest.mark.parametrize(("split", "asked"), [("", "test"), ("test", "test"), ("tune", "tune")])
def test_no_open_question_is_asked_that_teaches_a_gate(tmp_path, split, asked):
    questions = [f"How many legs has animal {number}?" for number in range(200)]
    path, data = tmp_path / "open.jsonl", tmp_path / "cases.jsonl"
    path.write_text("\n".join(json.dumps({"question": q}) for q in [*questions, questions[0]]))
    write_cases([Case(str(i), (Fact(f"q{i}", "a"),), (), split=split) for i in range(3)], data)
    found = load_data(data, (0, 1), open_questions=path)
    drawn = [question for share in found.open_questions.values() for question in share]
    assert sorted(drawn) == sorted(q for q in questions if open_split(q) == asked)
    assert 5 < len(drawn) < 150
    told = {"open questions": f"{asked} split"}
    assert splits_of(found) == ({"split": split, **told} if split else told)


# -- errata's own format, exactly ----------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
text = any_text.filter(lambda value: bool(value.strip()))
texts = st.lists(any_text, max_size=3).map(tuple)
facts = st.builds(
    Fact,
    question=text,
    answer=text,
    subject=st.none() | text,
    tags=st.lists(text, max_size=2).map(tuple),
    priority=st.integers(-5, 5),
)
some_probes = st.builds(
    Probe,
    kind=st.sampled_from(list(PROPERTY_OF)),
    prompt=any_text,
    answers=texts,
    false_prompt=st.none() | any_text,
    denials=texts,
    known=st.lists(st.tuples(any_text, any_text), max_size=2).map(tuple),
    gold=any_text,
)
some_preferences = st.builds(
    Preference,
    kind=st.sampled_from(["rewrite", "paraphrase", "neighbour"]),
    prompt=any_text,
    new=any_text,
    old=any_text,
)
some_cases = st.builds(
    Case,
    id=any_text,
    edits=st.lists(facts, min_size=1, max_size=2).map(tuple),
    probes=st.lists(some_probes, max_size=4).map(tuple),
    preferences=st.lists(some_preferences, max_size=3).map(tuple),
    old=any_text,
    group=any_text,
    generation=texts,
)


def test_cases_survive_being_written_down(tmp_path):
    path = tmp_path / "cases.jsonl"

    @settings(deadline=None, max_examples=60)
    @given(st.lists(some_cases, min_size=1, max_size=3, unique_by=lambda case: case.id))
    def survive(cases: list[Case]) -> None:
        write_cases(cases, path)
        assert load_cases(path) == cases
        assert path.read_text("utf-8").count("\n") >= len(cases)

    survive()


def test_a_case_that_cannot_be_written(tmp_path):
    with pytest.raises(ErrataError, match="expected a file that can be written"):
        write_cases([Case("a", (Fact("Who?", "me"),), ())], tmp_path / "none" / "cases.jsonl")
