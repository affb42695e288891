"""Reload patches under load: torn answers, stale answers, memory.

    python benchmarks/reload.py [--reloads 1000] [--threads 8] [--json FILE]

A folder holds four facts that always have one version, and many that never change. It is rewritten
again and again; half of the versions are read by ``model.reload()``, half by ``watch=True``.
Meanwhile threads ask for all four in one batch. *Torn*: a batch with two versions. *Stale*: a batch
that began after a reload was reported and has an older version. One reload in ten is of a broken
file, which must leave the last good version in force. Decisions only; the base model never runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.letter_encoder import LetterEncoder
from errata import EditableModel
from errata.cache.errors import PatchFolderError
from errata.cache.patches.watch import WatchConfig
from errata.cache.records import Fact
from errata.cache.storage.atomic import write_atomically
from errata.gates.cosine import CosineGate

QUESTIONS = tuple(f"What is the {name} of the plant?" for name in ("code", "name", "boss", "seat"))
BALLAST = 50
BROKEN_EVERY = 10
WAIT_SECONDS = 60.0
PAUSE_SECONDS = 0.1
"""Between two batches of a thread: what is sought is a race, not a full machine."""


@dataclass
class Report:
    """What was seen.

    :param reloads: versions put in force, by ``reload()`` and by the watcher.
    :param broken: broken files that left the last good version in force.
    :param batches: batches of four decisions.
    :param torn: batches with two versions.
    :param stale: batches older than a reload that was reported before they began.
    :param errors: exceptions in a thread.
    :param rss_mb: resident memory, ten times in the course of the run.
    :param seconds: of the whole run.
    :param slowest_watch_seconds: from a file's last write to the report of its reload.
    """

    reloads: dict[str, int] = field(default_factory=lambda: {"reload()": 0, "watch": 0})
    broken: int = 0
    batches: int = 0
    torn: int = 0
    stale: int = 0
    errors: list[str] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    seconds: float = 0.0
    slowest_watch_seconds: float = 0.0


class Reported(logging.Handler):
    """Counts what the watcher reports in the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.changed = threading.Condition()
        self.good = self.bad = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a reload, or an error that kept one from happening."""
        if record.getMessage().startswith("patches: "):
            with self.changed:
                self.bad += record.levelno >= logging.WARNING
                self.good += record.levelno < logging.WARNING
                self.changed.notify_all()

    def wait(self, good: int, bad: int) -> bool:
        """Wait for so many reports."""
        with self.changed:
            return self.changed.wait_for(
                lambda: self.good >= good and self.bad >= bad, WAIT_SECONDS
            )


def write(folder: Path, version: int, broken: bool = False) -> None:
    """Write the four facts of a version, atomically."""
    key = "anser" if broken else "answer"
    text = "".join(f"- question: {q}\n  {key}: v{version}\n" for q in QUESTIONS)
    write_atomically(folder / "facts.yaml", text.encode())


def ask(model: EditableModel, report: Report, reported: list[int], stop: threading.Event) -> None:
    """Ask for all four facts until told to stop."""
    while not stop.is_set():
        known = reported[0]
        try:
            decisions = model.decide(QUESTIONS)
            versions = {int(re.sub(r"\D", "", d.fired[0].answer)) for d in decisions}  # type: ignore[attr-defined]
        except Exception as error:
            report.errors.append(repr(error))
            return
        report.batches += 1
        report.torn += len(versions) > 1
        report.stale += min(versions) < known
        time.sleep(PAUSE_SECONDS)


def measure(model: EditableModel, folder: Path, reloads: int, threads: int) -> Report:
    """Return what was seen while a folder that a model watches is rewritten.

    :param model: has the folder's patches, with ``watch``.
    :param folder: holds version 0.
    :param reloads: how many versions.
    :param threads: how many ask meanwhile.
    """
    report, reported, stop, heard = Report(), [0], threading.Event(), Reported()
    log = logging.getLogger("errata")
    level, propagated = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(heard)
    askers = [
        threading.Thread(target=ask, args=(model, report, reported, stop)) for _ in range(threads)
    ]
    start = time.perf_counter()
    try:
        for thread in askers:
            thread.start()
        for version in range(1, reloads + 1):
            if version % BROKEN_EVERY == 0:
                write(folder, version, broken=True)
                read_broken(model, report)
            good, bad, written = heard.good, heard.bad, time.perf_counter()
            write(folder, version)
            if version % 2:
                model.reload()
                report.reloads["reload()"] += 1
            else:
                assert heard.wait(good + 1, bad), "the watcher reported no reload"  # noqa: S101
                took = time.perf_counter() - written
                report.slowest_watch_seconds = max(report.slowest_watch_seconds, took)
                report.reloads["watch"] += 1
            reported[0] = version
            if version % max(1, reloads // 10) == 0:
                report.rss_mb.append(resident_mb())
                seconds = time.perf_counter() - start
                print(f"{version} of {reloads}, {seconds:.0f} s", file=sys.stderr, flush=True)
    finally:
        stop.set()
        for thread in askers:
            thread.join()
        log.removeHandler(heard)
        log.setLevel(level)
        log.propagate = propagated
    report.seconds = time.perf_counter() - start
    return report


def read_broken(model: EditableModel, report: Report) -> None:
    """Reload a broken folder: an error, and the last good version stays in force."""
    before = [edit for edit in model.edits if isinstance(edit, Fact)]
    try:
        model.reload()
    except PatchFolderError:
        same = before == [edit for edit in model.edits if isinstance(edit, Fact)]
        report.broken += same and bool(model.patch_errors)


def resident_mb() -> float:
    """Return the process's resident memory, in MB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return round(int(file.read().split()[1]) * 4096 / 1e6, 1)


def open_model(folder: Path) -> EditableModel:
    """Return a model that watches the folder; its decisions cost little."""
    write(folder, 0)
    lines = [{"question": f"Is number {n} a prime?", "answer": "no"} for n in range(BALLAST)]
    (folder / "ballast.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoder = LetterEncoder()
    watch = WatchConfig(quiet_seconds=0.02, max_wait_seconds=0.2, poll_seconds=1.0)
    return EditableModel.from_pretrained(
        "atlas", patches=folder, encoder=encoder, gate=CosineGate(encoder, 0.99), resolvers=(),
        reasoner="verbatim", watch=watch,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, open_model(Path(name)) as model:
        report = measure(model, Path(name), options.reloads, options.threads)
    for key, value in asdict(report).items():
        print(f"{key}: {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
