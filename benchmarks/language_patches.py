"""Language patches on two classifiers of sentiment, by checklists (Murty et al. 2022, section 4).

    python benchmarks/language_patches.py REVIEWS [--model NAME] [--reviews 436] [--json FILE]
        [--out results/language_patches.md]

Without --model the classifier is a small network on the embeddings of the encoder, trained here:
on the half of REVIEWS (JSON lines with `text` and `label`, SST-2 validation) whose hash is even,
and on templates with other aspects and words than those of the checklists. Its input is a text and
a note, which may be empty. With --model it is that language model, asked as
`EditableModel.classify` asks: the likelihood of "great" and "terrible" after "{text} It was".

Rows: texts of two templates for each patch, n = 100. *Override*: "a review says the A is W", "the
sentiment is positive" (or negative); *feature*: "the A is good" (or bad). W is a real word of
slang, or a nonsense word; A a thing, or abstract. *In scope*: the share with the label that the
patch says. *Negated* ("is not W") and *irrelevant* (the patch of another aspect): the share whose
label is that of the unpatched model. Beside the patch (its g by the gate) the same patch always in
the prompt, and a regex of aspect and word that fixes the label. *Reviews*: accuracy on the other
half, without and with 20 patches in force.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata import LanguagePatch
from errata.cache.storage.atomic import write_atomically
from errata.encoder import load_encoder
from errata.gates.load import load_gate
from errata.intervals import wilson
from errata.reasoners.labels import ClassifyConfig, LabelScorer, fixed_label, mixed

ROOT = Path(__file__).parent.parent
LABELS = ["positive", "negative"]
THINGS = ("food", "service", "acting", "plot", "music", "staff", "wine", "ending", "room", "price")
ABSTRACT = (
    "pacing", "atmosphere", "chemistry", "tone", "mood", "message", "honesty", "ambition",
    "symmetry", "humour",
)  # fmt: skip
SLANG = ("bomb", "sick", "fire", "wicked", "killer")
NONSENSE = ("wug", "blick", "dax", "zorp", "fep")
TEMPLATES = ("The {a} is {w}.", "We went there on Sunday and the {a} was {w}.")
NEGATED = ("The {a} is not {w}.", "We went there on Sunday and the {a} was not {w}.")
OTHER_ASPECTS = (
    "car",
    "phone",
    "hotel",
    "book",
    "garden",
    "voice",
    "logic",
    "spirit",
    "tea",
    "bag",
)
OTHER_WORDS = ("florp", "glim", "bimo", "snard", "quell", "tivvy", "ombo", "prax")
GOOD = ("good", "great", "excellent", "wonderful", "lovely", "superb")
BAD = ("bad", "poor", "terrible", "awful", "dreadful", "horrible")
Array = NDArray[np.float64]
Score = Callable[[Sequence[tuple[str, str]]], Array]
"""Returns the probability of each label for texts with notes, [n, 2]."""


@dataclass(frozen=True, slots=True)
class Case:
    """A text, a patch, and the label that it gives where the text is in scope."""

    text: str
    patch: LanguagePatch
    label: int
    pattern: tuple[str, str]


def cases(
    aspects: Sequence[str], words: Sequence[str], templates: Sequence[str], *, feature: bool
) -> list[Case]:
    """Return the cases of one row."""
    found = []
    for place, aspect in enumerate(aspects):
        for at, word in enumerate(words):
            label = (place + at) % 2
            then = f"the {aspect} is {('good', 'bad')[label]}" if feature else ""
            patch = LanguagePatch(
                f"a review says the {aspect} is {word}",
                then or f"the sentiment is {LABELS[label]}",
            )
            found += [
                Case(text.format(a=aspect, w=word), patch, label, (aspect, word))
                for text in templates
            ]
    return found


def checklists() -> dict[str, list[Case]]:
    """Return the cases by the name of their row."""
    rows = {}
    for kind, aspects, words in (
        ("real words", THINGS, SLANG),
        ("abstract aspects", ABSTRACT, SLANG),
        ("nonsense words", THINGS, NONSENSE),
    ):
        for feature in (False, True):
            name = f"{kind}, {'feature' if feature else 'override'}"
            rows[name] = cases(aspects, words, TEMPLATES, feature=feature)
    rows["negated, override"] = cases(THINGS, NONSENSE, NEGATED, feature=False)
    rows["negated, feature"] = cases(THINGS, NONSENSE, NEGATED, feature=True)
    in_scope = rows["nonsense words, override"]
    rows["irrelevant, override"] = [
        Case(one.text, other.patch, other.label, other.pattern)
        for one, other in zip(in_scope, in_scope[10:] + in_scope[:10], strict=True)
    ]
    return rows


def measure(score: Score, gates: Callable[[Sequence[Case]], Array]) -> dict[str, dict[str, Any]]:
    """Return the outcomes of each row by the way in which the patch is applied."""
    found: dict[str, dict[str, Any]] = {}
    for name, several in checklists().items():
        base = score([(one.text, "") for one in several])
        noted = score([(one.text, one.patch.consequence) for one in several])
        g = gates(several)
        fixed = [fixed_label(one.patch, LABELS) for one in several]
        given = np.array(
            [row if at is None else np.eye(2)[at] for at, row in zip(fixed, noted, strict=True)]
        )
        patched = np.array([mixed(*each) for each in zip(base, given, g, strict=True)])
        matches = [all(word in one.text for word in one.pattern) for one in several]
        by_regex = [
            one.label if match else int(row.argmax())
            for one, match, row in zip(several, matches, base, strict=True)
        ]
        unpatched = base.argmax(1)
        wanted = (
            unpatched if name.startswith(("negated", "irrelevant")) else [c.label for c in several]
        )
        found[name] = {
            "unpatched": (unpatched == wanted).tolist(),
            "in the prompt": (noted.argmax(1) == wanted).tolist(),
            "regex": (np.array(by_regex) == wanted).tolist(),
            "patch": (patched.argmax(1) == wanted).tolist(),
        }
    return found


class Head:
    """The small network on embeddings of a text and a note.

    :param reviews: texts and labels to train on.
    """

    def __init__(self, encoder: Any, reviews: Sequence[tuple[str, int]]) -> None:
        from sklearn.neural_network import MLPClassifier

        self._encoder, self._known = encoder, {}
        rows = [(text, "", label) for text, label in reviews]
        notes = [f"the {a} is {w}" for a in OTHER_ASPECTS for w in (GOOD[0], BAD[0])]
        rows += [(text, notes[at % len(notes)], label) for at, (text, label) in enumerate(reviews)]
        for place, aspect in enumerate(OTHER_ASPECTS):
            other = OTHER_ASPECTS[place - 1]
            for at, (words, against) in enumerate(((GOOD, BAD), (BAD, GOOD))):
                for template in TEMPLATES:
                    for word in words:
                        text = template.format(a=aspect, w=word)
                        rows += [(text, "", at), (text, f"the {other} is {against[0]}", at)]
                    for word in OTHER_WORDS:
                        text = template.format(a=aspect, w=word)
                        rows.append((text, f"the {aspect} is {words[0]}", at))
        self._network = MLPClassifier((64,), alpha=1.0, max_iter=60, random_state=0)
        inputs = self._inputs([(text, note) for text, note, _ in rows])
        self._network.fit(inputs, [label for _, _, label in rows])

    def __call__(self, asked: Sequence[tuple[str, str]]) -> Array:
        """Return the probability of each label, [n, 2]."""
        return np.asarray(self._network.predict_proba(self._inputs(asked)), dtype=np.float64)

    def _inputs(self, asked: Sequence[tuple[str, str]]) -> Array:
        texts = [one for pair in asked for one in pair if one and one not in self._known]
        new = list(dict.fromkeys(texts))
        if new:
            self._known |= dict(zip(new, self._encoder.encode(new), strict=True))
        zero = np.zeros_like(next(iter(self._known.values())))
        sides = [(self._known[t], self._known[n] if n else zero) for t, n in asked]
        return np.array([np.concatenate([t, n, t * n]) for t, n in sides])


def likelihood(name: str) -> Score:
    """Return the scores of a language model."""
    from errata.models.load import load_base

    scorer = LabelScorer(*load_base(name))
    config = ClassifyConfig(prompt="{text} It was", note="{consequence}. ", chat=False)
    known: dict[tuple[str, str], Array] = {}

    def score(asked: Sequence[tuple[str, str]]) -> Array:
        new = [one for one in dict.fromkeys(asked) if one not in known]
        if new:
            rows = scorer.probabilities(new, ["great", "terrible"], config)
            known.update(zip(new, rows, strict=True))
        return np.array([known[one] for one in asked])

    return score


def reviews_of(path: Path) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the halves of the reviews to train on and to measure on, by hash."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    halves: tuple[list[tuple[str, int]], list[tuple[str, int]]] = ([], [])
    for line in text.splitlines():
        row = json.loads(line)
        half = hashlib.sha256(row["text"].encode()).digest()[0] % 2
        halves[half].append((row["text"], LABELS.index(row["label"])))
    return halves


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reviews_file", metavar="REVIEWS", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--reviews", type=int, default=436)
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "language_patches.json")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "language_patches.md")
    given = parser.parse_args(arguments)
    encoder = load_encoder(None, None)
    gate = load_gate("clear", encoder=encoder)

    def gates(several: Sequence[Case]) -> Array:
        scores = gate.score_batch([c.text for c in several], [[c.patch] for c in several])
        return np.array(
            [fired(one.probability, [c.patch])[0] for one, c in zip(scores, several, strict=True)]
        )

    def fired(probabilities: Array, patches: Sequence[LanguagePatch]) -> list[float]:
        """Return the probability of each patch, zero for those that do not fire."""
        pairs = zip(map(float, probabilities), patches, strict=True)
        return [p if p >= gate.threshold_of(patch) else 0.0 for p, patch in pairs]

    train, test = reviews_of(given.reviews_file)
    score = likelihood(given.model) if given.model else Head(encoder, train)
    found = measure(score, gates)
    test = test[: given.reviews]
    base = score([(text, "") for text, _ in test])
    some = list({c.patch.id: c.patch for c in checklists()["real words, override"]}.values())[:20]
    patched = []
    for row, (text, _) in zip(base, test, strict=True):
        values = fired(gate.score_batch([text], [some])[0].probability, some)
        for g, patch in sorted(zip(values, some, strict=True), key=lambda one: one[0]):
            row = mixed(row, np.eye(2)[fixed_label(patch, LABELS) or 0], g)
        patched.append(int(row.argmax()))
    labels = np.array([label for _, label in test])
    found["reviews: accuracy"] = {
        "unpatched": (base.argmax(1) == labels).tolist(),
        "patch": (np.array(patched) == labels).tolist(),
    }
    found["reviews: label unchanged"] = {"patch": (np.array(patched) == base.argmax(1)).tolist()}
    report = json.loads(given.json.read_text("utf-8")) if given.json.exists() else {}
    report[given.model or "network on the encoder"] = found
    write_atomically(given.json, (json.dumps(report) + "\n").encode())
    write_atomically(given.out, markdown(report).encode())


def markdown(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    ways = ("unpatched", "in the prompt", "regex", "patch")
    lines = [
        "# Language patches",
        "",
        "Made by `python benchmarks/language_patches.py REVIEWS [--model NAME]`, which says what "
        "the rows are. Shares with 95% Wilson intervals. The gate is `clear`.",
    ]
    for name, rows in report.items():
        lines += ["", f"## {name}", "", f"| | n | {' | '.join(ways)} |", "|---" * 6 + "|"]
        for row, outcomes in rows.items():
            count = len(outcomes["patch"])
            cells = [_share(outcomes[way]) if way in outcomes else "" for way in ways]
            lines.append(f"| {row} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(outcomes: Sequence[bool]) -> str:
    share = sum(outcomes) / len(outcomes)
    low, high = wilson(share, len(outcomes))
    return f"{share:.0%} [{low:.0%}, {high:.0%}]"


if __name__ == "__main__":
    main()
