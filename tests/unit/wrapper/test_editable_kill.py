"""The same as the cache's kill test, through EditableModel."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from errata.cache.store import EditCache
from tests.fakes import StubEncoder
from tests.unit.cache.test_durability import ROOT, acknowledged

EDITING = """
import sys
from errata import Fact
from tests.conftest import build_model, build_tokenizer
from tests.unit.helpers import editable
first = Fact("Is grass blue?", "Yes")
model = editable(build_model("gpt2"), build_tokenizer(), first, cache=sys.argv[1])
print("ready", flush=True)
for number in range(10_000):
    name = f"{sys.argv[2]}-{number}"
    model.edit(Fact(f"What is {name}?", f"answer {name}", id=name))
    print("added", name, flush=True)
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_every_acknowledged_edit_of_an_editable_model_survives_a_kill(tmp_path):
    chance = random.Random(11)
    there = set()
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    for kill in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", EDITING, str(tmp_path), f"k{kill}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            ready = process.stdout.readline()
            time.sleep(chance.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
        assert ready == "ready\n"
        there |= acknowledged(output)[0]
        with EditCache(StubEncoder(), tmp_path) as cache:
            assert there <= set(cache.view().by_id)
    assert there
