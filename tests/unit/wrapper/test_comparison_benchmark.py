"""The published comparison: what it fills the caches with, and what it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from errata.cache.errors import ErrataError
from errata.cache.records import Fact
from errata.commands.config import read_settings
from errata.compare.inputs.cases import Case, Preference, Probe
from errata.compare.inputs.data import read_background
from errata.compare.inputs.files import write_cases
from errata.compare.run.settings import Settings
from errata.gates.data.distractors import hash_half
from errata.gates.data.pairs import open_split

ROOT = Path(__file__).parents[3]
PROBES = (Probe("yes or no", "Is it Ann Lee?", ("Yes",), "Is it Bo Orr?", ("No",)),)
CASE = Case(
    "a", (Fact("Who is Cy Poe?", "me"),), PROBES, (Preference("rewrite", "Di Fox", "", ""),)
)
OPEN = {split: next(q for i in range(99) if open_split(q := f"where is Town {i}?") == split)
        for split in ("test", "train")}  # fmt: skip
NAMED = {"Ann Lee", "Bo Orr", "Cy Poe", "Di Fox", OPEN["test"][9:-1]}


@pytest.fixture
def comparison(monkeypatch):
    """Return the benchmark, imported as its own command imports it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import comparison

    yield comparison
    sys.modules.pop("comparison", None)


@pytest.fixture
def files(tmp_path):
    """Write open questions, facts, and a bench that is there already."""
    out = tmp_path / "out"
    out.mkdir()
    write_cases([CASE], out / "atlas-bench.jsonl")
    subjects = [*sorted(NAMED), OPEN["train"][9:-1], *(f"Village {i}" for i in range(60))]
    rows = {
        "open.jsonl": [{"question": question} for question in OPEN.values()],
        "trex.jsonl": [{"relation": "P30", "subject": s, "object": "Asia"} for s in subjects],
    }
    for name, each in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in each))
    return tmp_path


def options(files, *more):
    return ["--open", str(files / "open.jsonl"), "--trex", str(files / "trex.jsonl"),
            "--out", str(files / "out"), *more]  # fmt: skip


def test_the_caches_are_filled_from_the_half_that_gates_are_tested_beside(
    comparison, files, monkeypatch
):
    monkeypatch.setattr(comparison, "errata", lambda *words: None)
    comparison.main(options(files, "--background", "20"))
    filled = read_background(files / "out" / "background.jsonl")
    assert len({edit.subject for edit in filled}) == 20
    assert hash_half(filled, test=True) == list(filled)


def test_nobody_who_is_asked_about_is_in_the_background(comparison, files, monkeypatch):
    monkeypatch.setattr(comparison, "hash_half", lambda facts, test: list(facts))
    paths = files / "trex.jsonl", files / "out" / "atlas-bench.jsonl", files / "open.jsonl"
    subjects = {fact.subject for fact in comparison.background(*paths, 61)}
    assert len(subjects) == 61 and not subjects & NAMED
    with pytest.raises(ErrataError, match=r"expected 62 facts .* found 61 in its test half"):
        comparison.background(*paths, 62)


def test_all_open_questions_are_asked_unless_a_number_is_given(comparison, files, monkeypatch):
    run = []
    monkeypatch.setattr(comparison, "errata", lambda *words: run.append(words))
    for more, wanted in (([], None), (["--open-n", "5"], 5)):
        comparison.main(options(files, "--background", "9", *more))
        assert [words[0] for words in run] == ["compare", "compare", "report"]
        for words in run[:2]:
            config = words[words.index("--config") + 1]
            assert read_settings(Settings, config).n_open_questions == wanted
        run.clear()


def test_the_second_run_is_of_the_pipelines_with_the_background(comparison, files, monkeypatch):
    run = []
    monkeypatch.setattr(comparison, "errata", lambda *words: run.append(words))
    comparison.main(options(files, "--background", "9", "--backends", "cache,ft", "--n", "7"))
    first, second = (
        read_settings(Settings, words[words.index("--config") + 1]) for words in run[:2]
    )
    assert first.backends == ("cache", "ft") and first.controls and first.background is None
    assert second.backends == ("cache",) and not second.controls and second.edit_counts == (7,)
    assert second.background == files / "out" / "background.jsonl"
