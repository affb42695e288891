"""The regression command: what counts as a difference, and what its record holds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def regression():
    path = ROOT / "benchmarks" / "regression.py"
    spec = importlib.util.spec_from_file_location("regression_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def row(part="patches", query="Who?", answer="Ada", probability=0.9, effective=None):
    return {
        "part": part, "query": query, "answer": answer, "route": "verbatim", "fired": ["a"],
        "effective_query": effective or query,
        "candidates": {
            key: [p, 0.8, "paraphrase"]
            for key, p in zip("dcba", (0.01, 0.02, 0.03, probability), strict=True)
        },
        "near_misses": [],
    }  # fmt: skip


def test_equal_records_have_no_difference_and_others_say_what_differs(regression):
    before = [regression.compact(row()), regression.compact(row(query="What?"))]
    near = [regression.compact(row(probability=0.9005)), before[1]]
    assert regression.compare(before, near)["different"] == []
    after = [regression.compact(row(answer="Bo", probability=0.95)), before[1]]
    [found] = regression.compare(before, after)["different"]
    assert found["answer"] == ["Ada", "Bo"] and "candidates" in found and "route" not in found
    assert regression.compare(before, before[:1])["only_before"] == 1


def test_a_record_holds_the_best_candidates_and_no_text_of_other_people(regression):
    found = regression.compact(row(part=regression.OPEN, effective="Who leads Ada's town?"))
    assert list(found["candidates"]) == ["a", "b", "c"]
    assert "Who" not in str(found["query"]) + str(found["effective_query"])
    assert regression.compact(row())["query"] == "Who?"


def test_the_page_names_cause_and_text(regression, tmp_path):
    before = [regression.compact(row(part=regression.OPEN))]
    after = [regression.compact(row(part=regression.OPEN, answer="Bo"))]
    for name, rows in (("a.jsonl.gz", before), ("b.jsonl", after)):
        regression.write(tmp_path / name, rows)
    (tmp_path / "open.jsonl").write_text('{"question": "Who?"}\n')
    (tmp_path / "causes.yaml").write_text(f"{regression.digest('Who?')}: a new answer\n")
    page = tmp_path / "page.md"
    files = [str(tmp_path / name) for name in ("a.jsonl.gz", "b.jsonl")]
    options = ["--open", tmp_path / "open.jsonl", "--causes", tmp_path / "causes.yaml"]
    status = regression.main(["diff", *files, *map(str, options), "--out", str(page)])
    assert status == 1
    assert "*Who?* (a new answer)" in page.read_text() and "`Ada` → `Bo`" in page.read_text()
    assert regression.main(["diff", files[0], files[0]]) == 0
