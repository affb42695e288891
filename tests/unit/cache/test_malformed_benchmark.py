"""Malformed files by the thousand; ``benchmarks/malformed.py`` reads a hundred thousand."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = int(os.environ.get("ERRATA_MALFORMED", "2000"))


@pytest.fixture(scope="module")
def malformed():
    path = ROOT / "benchmarks" / "malformed.py"
    spec = importlib.util.spec_from_file_location("malformed_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_no_malformed_file_does_harm(malformed, tmp_path):
    outcomes, faults = malformed.run(FILES, 1_000_000, tmp_path, lambda numbers: numbers)
    assert not faults
    assert outcomes["refused"] > FILES // 2 and outcomes["read"] > 0


def test_the_judge_finds_faults(malformed, tmp_path, monkeypatch):
    def crash(folder):
        raise KeyError("lost")

    monkeypatch.setattr(malformed, "load_folder", crash)
    assert malformed.judge(tmp_path, tmp_path / "x", ()).startswith("crash: KeyError")
    monkeypatch.setattr(malformed, "load_folder", lambda folder: ())
    good = [object()]
    assert malformed.judge(tmp_path, tmp_path / "x", good) == "the good file is lost"
