"""The benchmark of editors: its cases, its rates, its pieces, its page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from errata.editors.ft import FineTuning
from errata.intervals import rate, wilson

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bench(monkeypatch):
    """Return the benchmark's two modules, imported as its own command imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import weight_editors
    import weight_editors_page

    yield weight_editors, weight_editors_page
    for name in ("weight_editors", "weight_editors_page"):
        sys.modules.pop(name, None)


def test_cases_are_about_other_objects_and_subjects_of_the_split(bench):
    cases = bench[0].draw_cases("test", 40, 0)
    assert cases == bench[0].draw_cases("test", 40, 0) != bench[0].draw_cases("test", 40, 1)
    for case in cases:
        assert case.fact.answer != case.old and case.fact.subject in case.fact.question
        assert case.fact.question not in case.paraphrases
        own = [answer for _, answer in case.neighbours]
        assert case.fact.answer not in own
        assert all(answer == case.old for answer in own[: case.sharing])
        assert all(answer != case.old for answer in own[case.sharing :])
    assert any(case.sharing for case in cases)


def test_a_rate_is_the_mean_over_cases(bench):
    outcomes = [{"PS": [1, 2]}, {"PS": [0, 1]}, {"PS": [0, 0]}, {"PS": [4, 4]}]
    found = bench[1].mean_share(outcomes, "PS")
    assert found["share"] == pytest.approx((0.5 + 0.0 + 1.0) / 3)
    assert (found["cases"], found["prompts"]) == (3, 7)
    assert (found["low"], found["high"]) == wilson(0.5, 3)
    assert wilson(0.25, 8) == (rate([True] * 2 + [False] * 6).low, rate([1, 1, *[0] * 6]).high)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_retention_goes_by_when_an_edit_was_made(bench):
    seed = [{"ES": [int(i < 2), 1], "accuracy": [int(i >= 8), 1]} for i in range(10)]
    parts = bench[1].retention([seed, seed])
    assert [part["edits"] for part in parts] == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert [part["accuracy"]["share"] for part in parts] == [0, 0, 0, 0, 1]
    assert parts[0]["ES"]["share"] == 1 and parts[0]["ES"]["cases"] == 4


def test_a_run_goes_on_with_the_next_piece_and_writes_a_page(bench, tmp_path, monkeypatch):
    words = ["--n", "2", "--seeds", "0", "--pieces", str(tmp_path / "pieces")]
    words += ["--json", str(tmp_path / "a.json"), "--page", str(tmp_path / "a.md")]
    planned = []
    real = FineTuning.plan
    monkeypatch.setattr(
        FineTuning, "plan", lambda self, m, t, e: planned.append(len(e)) or real(self, m, t, e)
    )
    bench[0].main([*words, "--backends", "ft", "none", "--mode", "single", "batch"])
    assert planned == [1, 1, 2]
    bench[0].main([*words, "--backends", "ft", "none", "--mode", "single", "batch", "sequence"])
    assert planned == [1, 1, 2, 1, 1]
    runs = json.loads((tmp_path / "a.json").read_text())["runs"]
    assert [(run["backend"], run["mode"]) for run in runs] == [
        ("ft", "single"), ("none", "single"), ("ft", "batch"), ("ft", "sequence")
    ]  # fmt: skip
    edited, unedited = runs[:2]
    assert edited["ES"]["share"] == edited["accuracy"]["share"] == 1.0
    assert unedited["ES"]["share"] < 1.0 and unedited["accuracy"]["share"] == 0.0
    assert unedited["locality"]["share"] == unedited["same subject"]["share"] == 1.0
    page = (tmp_path / "a.md").read_text("utf-8")
    assert "| ft, single | accuracy | 99 | 100.0" in page and "What is left of early edits" in page


def test_what_an_editor_refuses_is_left_out(bench):
    from errata import Fact
    from errata.cache.errors import UnsupportedEdit

    class Picky(bench[0].NoEditor):
        def plan(self, model, tokenizer, edits):
            for edit in edits:
                if edit.answer == "no":
                    raise UnsupportedEdit("not this one", edit.id)
            return [edit.answer for edit in edits]

    class Bench:
        model = tokenizer = None

    facts = [Fact("a?", "yes"), Fact("b?", "no"), Fact("c?", "yes")]
    changes, refused = bench[0].planned(Bench, Picky(), facts)
    assert changes == ["yes", "yes"] and refused == {facts[1].id}
