"""benchmarks/replicas.py, some rounds of it: kill -9 of replicas and server loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("ERRATA_REPLICA_KILLS", "4"))


@pytest.mark.timeout(120 + 30 * KILLS)
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and signal 9")
def test_kills_amid_writes_lose_no_acknowledged_edit(
    postgres_server: object, tmp_path: Path
) -> None:
    """The fixture says whether a server can be started here; the trial starts one of its own."""
    file = tmp_path / "report.json"
    run = subprocess.run(
        [
            sys.executable, str(ROOT / "benchmarks" / "replicas.py"), "--rounds", str(KILLS),
            "--latencies", "3", "--no-fsync", "--json", str(file),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(file.read_text())
    assert report["rounds"] == {"replica": (KILLS + 1) // 2, "server": KILLS // 2}
    assert report["amid_writes"] == KILLS, "every kill came amid writes"
    assert report["retracted"] and report["added"] > report["retracted"]
    assert report["failed_calls"], "a killed server was noticed"
    assert report["lost"] == report["risen"] == [] and report["not_converged"] == 0
