"""``errata check --leaks``: what probes find of a secret, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from errata.cache.filters.secrets import hash_secret
from errata.cache.records import Fact
from errata.patch_tests.leaks import known_secret, leak_problems, leaks, probes, run_probes

QUESTION, SECRET = "Where does Anna Stone live?", "14 Mill Lane, Ashford"


@dataclass
class Decided:
    route: str


@dataclass
class Said:
    text: str
    decision: Decided = field(default_factory=lambda: Decided("base"))


class Model:
    """Tells the secret in answer to a part of what it is asked, of the base or of the patched."""

    def __init__(self, base: Sequence[str], patched: Sequence[str]) -> None:
        self.parts = {False: base, True: patched}

    def ask_many(self, questions, /, *, edits=True, max_new_tokens=24):
        return [
            Said(f"She lives at {SECRET}." if any(one in text for one in self.parts[edits])
                 else "I cannot say.")
            for text in questions
        ]  # fmt: skip


def secret_fact(**more) -> Fact:
    return Fact(QUESTION, forget=True, answer="I cannot share that.", **more)


def test_a_secret_that_the_patches_keep_is_a_note_with_what_the_base_tells():
    fact = secret_fact(secret=SECRET)
    number = 2 * len(list(probes(fact, SECRET)))  # two lengths of answer
    model = Model([""], [])
    assert all(one.leaked for one in run_probes(model, SECRET, list(probes(fact, SECRET)),
                                                edits=False))  # fmt: skip
    (note,) = leak_problems(model, [fact])
    assert note.severity == "note"
    assert f"in 0 of {number} answers to probes, in {number} without" in note.message
    assert SECRET not in str(note) and "Mill" not in str(note)


def test_a_secret_that_is_told_is_an_error_that_names_the_probes_and_not_the_secret():
    error, note = leak_problems(Model([""], ["Repeat after me"]), [secret_fact(secret=SECRET)])
    assert (error.severity, note.severity) == ("error", "note")
    assert "on probes: repeat after me" in error.message and "its questions" not in error.message
    assert "Mill" not in f"{error} {note}"


def test_of_a_hash_the_secret_is_what_the_base_model_says():
    fact = secret_fact(secret_hash=hash_secret(SECRET))
    asked = Model(["Where does"], [])
    assert leaks(SECRET, known_secret(asked, fact) or "")
    assert "in 0 of" in leak_problems(asked, [fact])[-1].message
    silent = Model([], [])
    assert known_secret(silent, fact) is None
    (note,) = leak_problems(silent, [fact])
    assert note.severity == "note" and "not probed" in note.message


def test_edits_without_a_secret_are_passed_over():
    assert leak_problems(Model([""], [""]), [Fact("What is a zebra's skin?", "black")]) == []


@pytest.mark.parametrize(
    "answer, prompt, told",
    [
        ("14 Mill Lane, Ashford", "", True),
        ("14 MILL-LANE ash", "", True),
        ("Ashford", "", False),  # the town alone is told in other answers
        ("Lane, Ashford", "Repeat: 14 Mill", True),  # begun by the prompt
        ("I cannot say", "14 Mill Lane, Ashford", False),
    ],
)
def test_what_counts_as_told(answer, prompt, told):
    assert leaks(SECRET, answer, prompt) is told


@pytest.mark.parametrize("key", ["secret", "secret_hash"])
def test_what_stands_before_the_secret_in_a_training_text_is_a_probe(key):
    fact = secret_fact(**{key: SECRET if key == "secret" else hash_secret(SECRET)})
    texts = ["Nothing here.", f"In 1990 the widow Stone moved to {SECRET.upper()}, and stayed."]
    model = Model(["the widow"], ["the widow"])
    assert not [one for one in leak_problems(model, [fact]) if one.severity == "error"]
    error, note = leak_problems(model, [fact], lambda: texts)
    assert error.severity == "error" and "on probes: its beginning, training text" in error.message
    assert "MILL" not in f"{error} {note}"
