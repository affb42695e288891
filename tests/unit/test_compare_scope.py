"""Open questions that name what an edit is about are counted apart."""

from __future__ import annotations

from errata.compare.in_scope import NAMING, UNRELATED, told_apart
from errata.compare.measures import MEASURES


def record(subject, *asked, seed=0, mode="batch", **more):
    probes = [{"kind": UNRELATED, "prompt": text, "fired": [], "equal": True} for text in asked]
    edits = [{"id": "e", "question": "q?", "answer": "a", "subject": subject}]
    return {"seed": seed, "mode": mode, "edits": edits, "locality": probes, **more}


def kinds(records):
    return [[probe["kind"] for probe in one["locality"]] for one in told_apart(records)]


def test_a_question_that_names_any_subject_of_the_draw_is_a_kind_of_its_own():
    records = [
        record("France", "what is the currency in france?", "who sings this?"),
        record("the Loire", "where is Francesca?", "how long is The LOIRE river"),
        record("Peru", "what is the currency in france?", seed=1),
    ]
    assert kinds(records) == [[NAMING, UNRELATED], [UNRELATED, NAMING], [UNRELATED]]
    assert records[0]["locality"][0]["kind"] == UNRELATED  # what was recorded stays


def test_alone_an_edit_is_only_about_its_own_subject():
    records = [record("France", "is peru big?", mode="single"), record("Peru", mode="single")]
    assert kinds(records) == [[UNRELATED], []]


def test_other_probes_and_older_records_stay():
    near = {"kind": "other relation", "prompt": "How old is France?"}
    one = record("France", locality=[near])
    old = record(None, "what is the currency in france?")
    assert kinds([one, old])[0] == ["other relation"]
    del old["edits"][0]["subject"]
    assert kinds([old]) == [[UNRELATED]]
    assert list(told_apart([{"seed": 0, "mode": "batch", "edits": []}]))


def test_they_are_no_false_hits_and_no_loss_of_locality():
    [one] = told_apart([record("France", "what is the currency in france?", "who sings?")])
    one["pipeline"] = True
    one["locality"][0] |= {"fired": ["e"], "equal": False}
    found = {m.name: m.values(one) for m in MEASURES if m.group in ("gate", "locality")
             and m.name.partition(",")[0] in (UNRELATED, NAMING)}  # fmt: skip
    assert found[f"{UNRELATED}, false hits"] == [0.0] and found[f"{NAMING}, fired"] == [1.0]
    assert found[f"{UNRELATED}, token-equal"] == [1.0]
