"""A run told beside another one is compared with it on the same cases."""

from __future__ import annotations

from errata.compare.report.document import document
from errata.compare.report.summary import summarise
from errata.compare.run.records import Run

NONE = {"probes": [], "locality": [], "preferences": [], "perplexity": [], "untested": {}}


def record(seed, case, right):
    probe = {"kind": "own", "prompt": "q?", "before": "x", "right": right, "forced": [],
             "answer": "y" if right else "z", "expected": ["y"]}  # fmt: skip
    return {
        "type": "case", "backend": "cache", "mode": "batch", "size": 3, "seed": seed,
        "case": case, "position": 0, "pipeline": True, "edits": [], "unsupported": [],
        **NONE, "probes": [probe],
    }  # fmt: skip


def summary(folder, records):
    run = Run(folder)
    run.begin({"parts": {}}, {"cache": {}})
    for each in records:
        run.write(each)
    return summarise(run)


def test_only_cases_of_both_runs_are_compared(tmp_path):
    right = {"a": True, "b": True, "c": False}
    first = [record(seed, case, seed == 0 and right[case]) for seed in (0, 1) for case in right]
    second = [record(0, case, True) for case in right]
    main, other = summary(tmp_path / "one", first), summary(tmp_path / "other", second)
    assert main.blocks[0].results["cache"].mean("accuracy") == 1 / 3
    text = document(main, others=[other])
    assert "over the cases that both runs have" in text
    assert "| cache | +33.3 [+0.0, +100.0] n 3 | – |" in text
    assert "records" not in main.to_json()
