"""Open questions that name what an edit is about are counted apart."""

from __future__ import annotations

from errata.compare.report.measures import MEASURES
from errata.compare.report.subject_mentions import NAMING, UNRELATED, separate_subject_mentions


def record(subject, *asked, seed=0, mode="batch", position=0, **more):
    probes = [{"kind": UNRELATED, "prompt": text, "fired": [], "equal": True} for text in asked]
    edits = [{"id": "e", "question": "q?", "answer": "a", "subject": subject}]
    about = {"seed": seed, "mode": mode, "position": position, "edits": edits}
    return {**about, "locality": probes, **more}


def kinds(records):
    return [
        [probe["kind"] for probe in one["locality"]] for one in separate_subject_mentions(records)
    ]


def test_a_question_that_names_any_subject_of_the_draw_is_a_kind_of_its_own():
    records = [
        record("France", "what is the currency in france?", "who sings this?"),
        record("the Loire", "where is Francesca?", "how long is The LOIRE river", position=1),
        record("Peru", "what is the currency in france?", seed=1),
    ]
    assert kinds(records) == [[NAMING, UNRELATED], [UNRELATED, NAMING], [UNRELATED]]
    assert records[0]["locality"][0]["kind"] == UNRELATED  # what was recorded stays


def test_only_edits_in_force_at_the_same_time_count():
    asked = "is peru big?", "is france big?"
    cases = [("France", 0), ("Oslo", 1), ("Peru", 0), ("Lima", 1)]
    chunks = [record(subject, *asked, position=at) for subject, at in cases]
    first, second = [UNRELATED, NAMING], [NAMING, UNRELATED]
    assert kinds(chunks) == [first, first, second, second]
    mixed = [one for each in chunks for one in (each, record("Rome", *asked, seed=1))]
    assert kinds(mixed)[::2] == [first, first, second, second]
    sequence = [record(s, *asked, mode="sequential", position=i) for i, (s, _) in enumerate(cases)]
    assert kinds(sequence) == [[NAMING, NAMING]] * 4
    assert kinds([*sequence[1:], sequence[0]]) == [[NAMING, NAMING]] * 4  # one measured again


def test_alone_an_edit_is_only_about_its_own_subject():
    records = [record("France", "is peru big?", mode="single"), record("Peru", mode="single")]
    assert kinds(records) == [[UNRELATED], []]


def test_other_probes_and_older_records_stay():
    near = {"kind": "other relation", "prompt": "How old is France?"}
    one = record("France", locality=[near])
    old = record(None, "what is the currency in france?", position=1)
    assert kinds([one, old])[0] == ["other relation"]
    del old["edits"][0]["subject"]
    assert kinds([old]) == [[UNRELATED]]
    assert list(
        separate_subject_mentions([{"seed": 0, "mode": "batch", "position": 0, "edits": []}])
    )


def test_they_are_no_false_hits_and_no_loss_of_locality():
    [one] = separate_subject_mentions(
        [record("France", "what is the currency in france?", "who sings?")]
    )
    one["pipeline"] = True
    one["locality"][0] |= {"fired": ["e"], "equal": False}
    found = {m.name: m.values(one) for m in MEASURES if m.group in ("gate", "locality")
             and m.name.partition(",")[0] in (UNRELATED, NAMING)}  # fmt: skip
    assert found[f"{UNRELATED}, false hits"] == [0.0] and found[f"{NAMING}, fired"] == [1.0]
    assert found[f"{UNRELATED}, token-equal"] == [1.0]


def test_the_specificity_of_zsre_counts_the_data_s_own_questions_whatever_they_name():
    one = record("France", "what is the currency in france?", "who sings?", "is france big?")
    for probe, forced in zip(one["locality"], ([1, 0], [1, 1]), strict=False):
        probe["forced"] = forced
    [told] = separate_subject_mentions([one])
    (specificity,) = (m for m in MEASURES if m.name == "zsRE specificity")
    assert specificity.values(told) == [0.5, 1.0]
