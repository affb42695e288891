"""benchmarks/reload.py, fifty versions of it: nothing torn, nothing stale."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from errata.cache.patches.watch import WatchConfig
from errata.gates.cosine import CosineGate
from tests.unit.helpers import editable

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "reload.py"


def test_fifty_reloads_under_eight_threads_tear_nothing(models, tokenizer, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("reload_benchmark", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # its dataclass looks itself up
    spec.loader.exec_module(script)
    script.write(tmp_path, 0)
    encoder = script.LetterEncoder()
    watch = WatchConfig(quiet_seconds=0.01, max_wait_seconds=0.1, poll_seconds=0.5)
    with editable(
        models("gpt2"), tokenizer, patches=tmp_path, encoder=encoder, resolvers=(),
        gate=CosineGate(encoder, 0.99), reasoner="verbatim", watch=watch,
    ) as model:  # fmt: skip
        report = script.measure(model, tmp_path, reloads=50, threads=8)
    assert report.reloads == {"reload()": 25, "watch": 25} and report.broken == 5
    assert report.torn == report.stale == 0 and not report.errors
    assert report.batches >= 8, "every thread asked"
