"""Batch work over a Ray cluster of this machine: the results are those of one process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from errata.cache.errors import MissingExtra

ROOT = Path(__file__).parents[3]

# In a process of its own: Ray starts threads and processes that would outlive the test.
SCRIPT = """
import json, sys
from functools import partial
import numpy as np
from errata.audit.records import LoggedDecision
from errata.audit.replay import replay
from errata.cache.errors import ErrataError
from errata.cache.known_encoder import KnownEncoder
from errata.cache.records import Fact
from errata.cache.store import EditCache
from errata.decider import Decider
from errata.distributed import RayDecider, RayPool, encode_texts
from errata.gates.cosine import CosineGate
from tests.fakes import StubEncoder

class Both:
    # decides and encodes: one pool, as a cluster takes long to start
    def __init__(self, folder):
        encoder = StubEncoder()
        gate = CosineGate(encoder, 0.999)
        self.decide = Decider(folder, encoder=encoder, gate=gate, resolvers=()).router.decide
        self.encode = encoder.encode

def fail(held, item):
    raise ErrataError(f"expected nothing, found {item}")

report = {}
logged = [
    LoggedDecision(float(n), f"What is the capital of country {n % 70}?", "base")
    for n in range(150)
]
make = partial(Both, sys.argv[1])
alone = list(replay(logged, make(), by_conversation=True))
texts = [f"What is text {n % 90}?" for n in range(100)]
with RayPool(make, 2) as pool:
    decider = RayDecider(pool, 8)
    both = list(replay(logged, decider, by_conversation=True, batch=decider.batch))
    vectors = encode_texts(texts, pool, part=20)
    report["nothing"] = encode_texts([], pool)
    try:
        list(pool.map(fail, [1]))
    except ErrataError as error:
        report["error"] = str(error).splitlines()[-1]
report["replayed"] = len(both)
report["different"] = sum(one.differs for one in both)
report["same"] = both == alone
report["encoded"] = len(vectors)
own = StubEncoder().encode(list(vectors))
report["distance"] = float(np.abs(np.stack(list(vectors.values())) - own).max())
encoder = StubEncoder()
with EditCache(KnownEncoder(encoder, vectors)) as cache:
    cache.add([Fact(text, "x") for text in dict.fromkeys(texts)])
    report["edits"], report["again"] = len(cache.edits), len(encoder.encoded)
print(json.dumps(report))
"""


@pytest.mark.timeout(240)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_two_processes_return_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "- question: What is the capital of country 7?\n  answer: Seven\n"
        "- question: What is the capital of country 33?\n  answer: Thirty-three\n"
    )
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["same"] and report["replayed"] == 70
    assert 0 < report["different"] < 70
    assert (report["encoded"], report["edits"], report["again"]) == (90, 90, 0)
    assert report["distance"] < 1e-5 and report["nothing"] == {}
    assert "expected nothing, found 1" in report["error"]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from errata.distributed import RayPool

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'errata\[ray\]'"):
        RayPool(dict, 1)
