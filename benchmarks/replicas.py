"""Replicas of one cache in PostgreSQL under kill -9: no acknowledged edit may be lost.

    python benchmarks/replicas.py [--rounds 200] [--replicas 3] [--seed 1] [--json FILE]

A server of its own and some processes, each with an ``EditCache`` on it, that add and retract edits
without a pause. In each round, at a moment that is drawn, one process or the whole server (every
process of it) is killed by signal 9 and started again. Then the processes pause, and all of them
must come to hold the same edits in the same order: every edit whose ``add`` returned, and none
whose ``retract`` returned. What was under way when the kill came may be there or not. A call that
failed is made again until it returns.

After that, without kills: the time from the return of ``add`` in one replica to the edit's being
found in another. The encoder costs nothing. Needs ``pip install 'errata[dev]'``, and a system that
forks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.letter_encoder import LetterEncoder
from benchmarks.postgres_server import NoServer, PostgresServer
from errata.cache.encoder import encode_query
from errata.cache.errors import ErrataError, UnknownEdit
from errata.cache.records import Fact
from errata.cache.store import EditCache

for late in ("index.faiss_index", "storage.postgres_encodings", "storage.replica"):
    importlib.import_module(f"errata.cache.{late}")  # once, and not by every fork

FORK = multiprocessing.get_context("fork")
CONVERGE_SECONDS = 60.0
"""How long replicas may take to agree before it is a failure."""
OPEN_SECONDS = 60.0


def fact(key: str) -> Fact:
    """Return the edit of an id."""
    return Fact(f"What is {key}?", f"answer {key}", id=key)


# -- a replica, in a process of its own ----------------------------------------------------------


def work(pipe: Connection, url: str, prefix: str) -> None:
    """Add and retract edits until told otherwise; say what was done after it was done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable(logging.WARNING)  # of lost connections, of which there are many
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            cache = EditCache(LetterEncoder(), url)
            break
        except ErrataError:  # the server was killed at this moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    number = 0
    while True:
        while pipe.poll():
            command = pipe.recv()
            if command == "stop":
                cache.close()
                pipe.send(("stopped",))
                return
            if command == "pause":
                pipe.send(("paused",))
                _wait(pipe, cache)
        number += 1
        keys = [f"{prefix}-{number}-{part}" for part in range(1 + number % 3)]
        failures = _until_done(lambda keys=keys: cache.add(map(fact, keys)))
        pipe.send(("added", keys, failures))
        if number % 2:
            pipe.send(("retracting", keys[:1], 0))
            failures = _until_done(lambda key=keys[0]: cache.retract(key))
            pipe.send(("retracted", keys[:1], failures))


def _until_done(call: Any) -> int:
    """Make a call until it returns; return how often it failed."""
    failures = 0
    while True:
        try:
            call()
            return failures
        except UnknownEdit:
            if failures:  # it was retracted by the call that said that nobody knows
                return failures
            raise
        except ErrataError:
            failures += 1
            time.sleep(0.1)


def _wait(pipe: Connection, cache: EditCache) -> None:
    """Say which edits are in force whenever asked, until told to go on."""
    while True:
        command = pipe.recv()
        if command == "go":
            return
        pipe.send(("state", [edit.id for edit in cache.edits]))


# -- the trial -----------------------------------------------------------------------------------


@dataclass
class Report:
    """What was seen.

    :param rounds: kills, by what was killed.
    :param amid_writes: kills before which something was acknowledged since the last agreement.
    :param failed_calls: calls that failed because of a kill, and were made again.
    :param added: edits whose ``add`` returned.
    :param retracted: edits whose ``retract`` returned.
    :param lost: edits that were added and not there after all replicas agreed.
    :param risen: edits that were retracted and there.
    :param not_converged: rounds in which the replicas did not agree in time.
    :param converge_seconds: median, 95th percentile and maximum of the time from the pause to that.
    :param visible_ms: median, 95th percentile and maximum of the time from the return of ``add`` in
        one replica to the edit's being found in another, and their number.
    :param add_ms: the same of ``add`` itself, without kills, with ``fsync``.
    :param seconds: of the rounds.
    """

    rounds: dict[str, int] = field(default_factory=lambda: {"replica": 0, "server": 0})
    amid_writes: int = 0
    failed_calls: int = 0
    added: int = 0
    retracted: int = 0
    lost: list[str] = field(default_factory=list)
    risen: list[str] = field(default_factory=list)
    not_converged: int = 0
    converge_seconds: dict[str, float] = field(default_factory=dict)
    visible_ms: dict[str, float] = field(default_factory=dict)
    add_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost, and all agreed each time."""
        return not (self.lost or self.risen or self.not_converged)


class Replica:
    """A process, and what is known of its edits.

    :param url: of the database.
    :param prefix: of the ids of its edits.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.pipe, there = FORK.Pipe()
        self.process = FORK.Process(target=work, args=(there, url, prefix), daemon=True)
        self.process.start()
        there.close()


class Trial:
    """The replicas, and which edits must and must not be there.

    :param server: the server.
    :param replicas: how many.
    :param seed: of the moments and the victims.
    """

    def __init__(self, server: PostgresServer, replicas: int, seed: int) -> None:
        self.server = server
        self.report = Report()
        self._chance = random.Random(seed)
        self._started = 0
        self._there: set[str] = set()
        self._gone: set[str] = set()
        self._acknowledged = 0
        self._agreed: list[float] = []
        self.replicas = [self._start() for _ in range(replicas)]

    def _start(self) -> Replica:
        self._started += 1
        return Replica(self.server.url(), f"r{self._started}")

    def round(self, number: int) -> None:
        """Let them write, kill one process or the server, and see that they agree."""
        before = self._acknowledged
        deadline = time.monotonic() + OPEN_SECONDS
        while self._acknowledged == before and time.monotonic() < deadline:
            self._listen(0.02)
        self._listen(self._chance.uniform(0, 0.3))
        self.report.amid_writes += self._acknowledged > before
        if number % 2:
            self.report.rounds["server"] += 1
            self.server.kill()
            self._listen(self._chance.uniform(0, 0.1))
            self.server.start()
        else:
            self.report.rounds["replica"] += 1
            at = self._chance.randrange(len(self.replicas))
            victim = self.replicas[at]
            victim.process.kill()  # signal 9
            victim.process.join()
            self._drain(victim)
            self.replicas[at] = self._start()
        self._listen(self._chance.uniform(0.05, 0.2))
        self._agree()

    def stop(self) -> Report:
        """End all replicas; return what was seen."""
        for replica in self.replicas:
            replica.pipe.send("stop")
            while replica.pipe.recv()[0] != "stopped":
                pass
            replica.process.join()
        with EditCache(LetterEncoder(), self.server.url()) as cache:
            self._judge([edit.id for edit in cache.edits])
        self.report.added = len(self._there) + len(self._gone)
        self.report.retracted = len(self._gone)
        self.report.converge_seconds = summary(self._agreed, 3)
        return self.report

    def _listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        pipes = {replica.pipe: replica for replica in self.replicas}
        while (left := deadline - time.monotonic()) > 0:
            for pipe in wait(list(pipes), left):
                self._note(pipe.recv())  # type: ignore[union-attr]

    def _drain(self, victim: Replica) -> None:
        """Read what a killed process said before."""
        with contextlib.suppress(EOFError, OSError):
            while victim.pipe.poll():
                self._note(victim.pipe.recv())

    def _note(self, message: tuple[Any, ...]) -> None:
        kind, keys, failures = message
        self.report.failed_calls += failures
        self._acknowledged += 1
        if kind == "added":
            self._there.update(keys)
        elif kind == "retracting":
            self._there.difference_update(keys)  # may be there or not, from now on
        elif kind == "retracted":
            self._gone.update(keys)

    def _agree(self) -> None:
        started = time.monotonic()
        for replica in self.replicas:
            replica.pipe.send("pause")
        for replica in self.replicas:
            while (message := replica.pipe.recv())[0] != "paused":
                self._note(message)
        while True:
            states = []
            for replica in self.replicas:
                replica.pipe.send("state")
                states.append(replica.pipe.recv()[1])
            if all(state == states[0] for state in states):
                self._agreed.append(time.monotonic() - started)
                self._judge(states[0])
                break
            if time.monotonic() - started > CONVERGE_SECONDS:
                self.report.not_converged += 1
                break
            time.sleep(0.01)
        for replica in self.replicas:
            replica.pipe.send("go")

    def _judge(self, state: Sequence[str]) -> None:
        held = set(state)
        self.report.lost += sorted(self._there - held)
        self.report.risen += sorted(self._gone & held)


def summary(values: Sequence[float], digits: int) -> dict[str, float]:
    """Return median, 95th percentile, maximum and number."""
    if not values:
        return {"n": 0}
    p50, p95 = np.quantile(values, [0.5, 0.95])
    found = {"p50": p50, "p95": p95, "max": max(values)}
    return {"n": len(values), **{name: round(float(v), digits) for name, v in found.items()}}


def latency(url: str, edits: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return milliseconds until an edit is found in another replica, and those of ``add``."""
    visible, adding = [], []
    encoder = LetterEncoder()
    with EditCache(encoder, url) as one, EditCache(encoder, url) as two:
        for number in range(edits):
            made = fact(f"latency-{number}")
            query = encode_query(encoder, made.question)
            begun = time.perf_counter()
            one.add([made])
            added = time.perf_counter()
            while not any(hit.edit.id == made.id for hit in two.view().search([query], 4)[0]):
                time.sleep(0.001)
            visible.append(1000 * (time.perf_counter() - added))
            adding.append(1000 * (added - begun))
    return summary(visible, 1), summary(adding, 1)


def main() -> None:
    """Run the trial; exit with 1 where an edit was lost or replicas did not agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--latencies", type=int, default=200, help="edits of the second part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-fsync", dest="fsync", action="store_false", help="quicker, where nothing is timed"
    )
    parser.add_argument(
        "--optional", action="store_true", help="exit with 0 where no server can be started"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is stopped, too
    options_of_server = [] if options.fsync else ["fsync=off"]
    try:
        server = PostgresServer(*options_of_server)
    except NoServer as error:
        print(f"no PostgreSQL server can be started here: {error}")
        sys.exit(not options.optional)
    with tempfile.TemporaryDirectory() as folder, server:
        tempfile.tempdir = folder  # replicas that are killed leave their copies
        trial = Trial(server, options.replicas, options.seed)
        begun = time.monotonic()
        for number in range(options.rounds):
            trial.round(number)
            if number % 20 == 19:
                print(number + 1, "rounds,", len(trial._there), "edits", flush=True)
        report = trial.stop()
        report.seconds = round(time.monotonic() - begun, 1)
        report.visible_ms, report.add_ms = latency(server.url(), options.latencies)
    text = json.dumps(
        {"replicas": options.replicas, "seed": options.seed, **asdict(report)}, indent=2
    )
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(not report.good)


if __name__ == "__main__":
    main()
