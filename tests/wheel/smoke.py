"""Install the built wheel into an empty environment and use it from another directory.

Plain Python, run by ``make wheel-test``: it must not need anything that the wheel does not bring.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ATLAS = ("card.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
QUESTION = "What colour is a zebra's skin?"
RIGHT = "black"


def main(dist: Path) -> None:
    """Install and try the one wheel in a folder."""
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    print(f"built: {wheel.name}, {sdist.name}")
    check_contents(wheel)
    with tempfile.TemporaryDirectory(prefix="errata-wheel-") as name:
        place = Path(name).resolve()
        venv.create(place / "venv", with_pip=True)
        environment = Installed(place)
        environment.pip("install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel))
        environment.pip("check")
        try_commands(environment)
        environment.python(ROOT / "tests" / "wheel" / "dropin.py", QUESTION, RIGHT)
    print("the wheel works")


def check_contents(wheel: Path) -> None:
    """Leave with a message unless the wheel holds errata, with atlas' weights, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    folders = sorted({name.split("/")[0] for name in names})
    expect(len(folders) == 2 and folders[0] == "errata", True, f"folders of the wheel ({folders})")
    expect(folders[1].endswith(".dist-info"), True, f"the wheel's second folder ({folders[1]})")
    stray = [name for name in names if {"tools", "tests", "benchmarks"} & set(name.split("/"))]
    expect(stray, [], "what only a checkout needs")
    copies = sorted(name for name in names if name.endswith("/tokenizer.json"))
    expect(copies, ["errata/models/atlas/weights/tokenizer.json"], "copies of atlas' tokenizer")
    missing = [f for f in ATLAS if f"errata/models/atlas/weights/{f}" not in names]
    expect(missing, [], "files of atlas that are missing")


class Installed:
    """An environment with the wheel, and an empty directory to stand in.

    :param place: holds both.
    """

    def __init__(self, place: Path) -> None:
        self.bin = place / "venv" / "bin"
        self.here = place / "elsewhere"
        self.here.mkdir()
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.environment = {**kept, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub")}

    def run(self, *words: str | Path) -> str:
        """Run a program of the environment; return what it prints."""
        shown = " ".join(str(word) for word in words)
        print(f"$ {shown}", flush=True)
        command = [str(self.bin / words[0]), *(str(word) for word in words[1:])]
        done = subprocess.run(
            command, cwd=self.here, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"{done.stdout}\nexit code {done.returncode}: {shown}")
        return done.stdout

    def pip(self, *words: str) -> None:
        """Run pip."""
        self.run("python", "-m", "pip", "--disable-pip-version-check", *words)

    def python(self, *words: str | Path) -> str:
        """Run a script of the checkout."""
        return self.run("python", *words)

    def errata(self, *words: str) -> str:
        """Run the command line."""
        return self.run("errata", *words)


def expect(found: object, wanted: object, what: str) -> None:
    """Leave with a message unless the two are equal."""
    if found != wanted:
        sys.exit(f"{what}: expected {wanted!r}, found {found!r}")


def try_commands(environment: Installed) -> None:
    """Use the command line, without a checkout in sight."""
    version = environment.errata("--version").split()[1]
    expect(bool(version), True, "errata --version")
    demo = json.loads(environment.errata("demo", "--model", "atlas", "--json"))
    expect(demo["questions"] >= 20, True, f"questions of the demo ({demo['questions']})")
    expect(demo["patched"], demo["questions"], "questions that a patch had a part in")
    expect(demo["changed"], demo["questions"], "questions answered otherwise than before")
    asked = json.loads(environment.errata("ask", QUESTION, "--json"))
    expect(asked["answer"], RIGHT, QUESTION)
    where = Path(asked["fired"][0]["location"].rpartition(":")[0])
    expect(environment.bin.parent in where.parents, True, f"{where} lies in the environment")
    alone = json.loads(environment.errata("ask", QUESTION, "--no-edits", "--json"))
    expect(alone["answer"] != RIGHT, True, "atlas alone is wrong")
    made = environment.errata("edit", "What is the capital of Palau?", "Ngerulmud").strip()
    again = json.loads(environment.errata("ask", "What is the capital of Palau?", "--json"))
    expect((again["answer"], again["fired"][0]["id"]), ("Ngerulmud", made), "an edit")
    environment.errata("retract", made)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
