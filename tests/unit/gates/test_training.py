"""Training a gate, what is stored of it, and the files it is trained on."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil

import numpy as np
import pytest
from safetensors.numpy import save as save_arrays
from sklearn.linear_model import LogisticRegression

from errata.cache.errors import ModelError
from errata.facts import load_facts
from errata.gates.artifact import CARD, CROSS, WEIGHTS, GateArtifact
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.augment import namesake
from errata.gates.data.pairs import (
    QuestionPair,
    open_split,
    pair_examples,
    read_open_questions,
    read_pairs,
    split_pairs,
    table_examples,
)
from errata.gates.data.phrasings import extra_relations
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.trials import build_trial, run_trial
from errata.gates.layers import Network, Platt
from errata.gates.load import load_gate, shipped_gates
from errata.gates.training.fit import (
    INVERSE_PENALTY,
    fit_logistic,
    fit_platt,
    least_threshold,
    pick_threshold,
)
from errata.gates.training.train import TrainingConfig, train
from tests.fakes import DAMAGED, StubEncoder
from tests.small_cross import two_stage_gate
from tests.small_gate import RECIPE, small_gate, small_gate_folder


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(small_gate_folder(), tmp_path / "gate")


def blobs(classes, seed=0, n=240, width=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return rng.normal(size=(n, width)) + 2 * labels[:, None], labels


@pytest.mark.parametrize("classes", [2, 3])
def test_a_regression_says_what_scikit_learn_says(classes):
    inputs, labels = blobs(classes)
    network = fit_logistic(inputs, labels, seed=0)
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=3000).fit(scaled, labels)
    expected = fitted.predict_proba(scaled)
    assert expected.std(axis=0).min() > 0.03
    np.testing.assert_allclose(network(inputs), expected, atol=1e-9)
    stored = Network.from_tensors(network.tensors("a"), "a")
    np.testing.assert_allclose(stored(inputs), expected, atol=1e-5)


def test_pairs_of_one_class_only_are_refused():
    inputs, labels = blobs(2)
    with pytest.raises(ModelError, match="found 240 of one sort"):
        fit_logistic(inputs, np.minimum(labels, 0), seed=0)


def test_calibration_makes_probabilities_true():
    rng = np.random.default_rng(0)
    honest = rng.uniform(0.02, 0.98, 6000)
    truth = rng.uniform(size=6000) < honest
    boastful = Platt(3.0, 1.0)(honest)
    assert abs(boastful[boastful > 0.9].mean() - truth[boastful > 0.9].mean()) > 0.05
    mended = fit_platt(boastful, truth)(boastful)
    for low in (0.1, 0.4, 0.7):
        chosen = (mended > low) & (mended < low + 0.2)
        assert mended[chosen].mean() == pytest.approx(truth[chosen].mean(), abs=0.05)


def test_phrasings_to_tune_on_are_never_trained_on():
    seen, kept = QuestionBook("train"), QuestionBook("tune", held_out=True)
    for name, relation in kept.relations.items():
        for part in ("questions", "statements", "yes_no", "reversed"):
            trained = set(getattr(seen.relations[name], part))
            tuned = set(getattr(relation, f"{part}_held_out"))
            assert not trained & tuned, (name, part)
            assert bool(tuned) or len(trained) < 4, (name, part)
    said = {
        one.text for item in kept.items[:300] for one in kept.paraphrases(item, random.Random(0))
    }
    plain = {item.render(form) for item in kept.items[:300] for form in item.topic.forms}
    assert said and not said & plain


def test_what_is_asked_beyond_the_table_is_dealt_out_to_the_splits():
    many = [one for one in extra_relations() if one.tune]
    assert len(many) > 40 and all(one.forms for one in many)
    for one in many:
        parts = [set(one.forms), set(one.tune), set(one.test)]
        assert sum(map(len, parts)) == len(set().union(*parts))
    kept = {form for one in many for form in (*one.tune, *one.test)}
    trained = QuestionBook("train").extra.values()
    assert not kept & {form for some in trained for topic in some for form in topic.forms}
    tested, rng = QuestionBook("test", held_out=True), random.Random(0)
    item = next(item for item in tested.items if item.kind == "book")
    said = {one.text for _ in range(40) for one in tested.other_relations(item, rng, 3)}
    assert said & {item.render(form) for form in kept}


@pytest.mark.parametrize(
    ("name", "other", "kind"),
    [("Ann Lee", "Bo Orr", "person"), ("Riga", "Oslo", "city"), ("Etna", "Fuji", "nature")],
)
def test_a_namesake_shares_a_part_of_the_name(name, other, kind):
    found = {namesake(name, other, kind, random.Random(seed)) for seed in range(30)}
    assert len(found) > 1 and name not in found and other not in found
    assert all(set(name.split()) & set(one.split()) for one in found)


@pytest.mark.parametrize(
    ("name", "other", "kind"),
    [("Plato", "Bo Orr", "person"), ("Ann Lee", "Bo Lee", "person"),
     ("Ann Lee", "Ann Orr", "person"),
     ("the Moon", "the Sun", "nature"), ("zebra", "horse", "animal")],
)  # fmt: skip
def test_not_every_name_has_one(name, other, kind):
    assert namesake(name, other, kind, random.Random(0)) is None


def test_a_threshold_lets_through_no_more_than_allowed():
    values = list(np.linspace(0, 0.999, 201))
    for rate in (0.0, 0.01, 0.1):
        threshold = pick_threshold(values, rate)
        assert sum(value >= threshold for value in values) <= rate * len(values)
    assert pick_threshold([], 0.01) == pick_threshold([0.1], 0.01) == 0.5


def test_the_least_threshold_keeps_to_the_mean_rate_or_lets_nothing_through():
    rng = np.random.default_rng(0)
    sorts = [rng.random(400), rng.random(100) / 2]
    found = least_threshold(sorts, 0.05)
    assert np.mean([(one >= found).mean() for one in sorts]) <= 0.05
    assert np.mean([(one >= found - 0.005).mean() for one in sorts]) > 0.04
    assert least_threshold([np.full(3, 0.999)], 0.5) == 1.0


def test_training_learns_something_with_so_little():
    gate = ScopeClassifier(StubEncoder(), small_gate())
    trial = build_trial(QuestionBook("test"), ["who sang the first song on the radio"], size=15)
    outcomes = run_trial(gate, StubEncoder(), trial)
    same = [one.probability for one in outcomes if one.query.label == "paraphrase"]
    none = [one.probability for one in outcomes if one.query.label == "none"]
    assert len(same) > 50 and len(none) > 50
    assert np.mean(same) > np.mean(none) + 0.2


def test_training_again_gives_the_same_gate(tmp_path):
    recipe = TrainingConfig(examples=200, trial_size=4, conditions=200)
    for name in ("one", "two"):
        train(tmp_path / name, encoder=StubEncoder(), config=recipe)
    one, two = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("one", "two"))
    assert one == two


def test_what_is_stored_comes_back(folder):
    stored = GateArtifact.load(folder)
    stored.save(folder.parent / "again")
    again = GateArtifact.load(folder.parent / "again")
    assert again.card == stored.card
    assert (folder / WEIGHTS).read_bytes() == (folder.parent / "again" / WEIGHTS).read_bytes()
    assert again.card["seed"] == RECIPE.seed and again.card["pairs"] == "none"
    assert not list(folder.rglob("*.tmp"))


def test_a_gate_for_another_encoder_is_refused(folder):
    other = StubEncoder(fingerprint="another")
    with pytest.raises(ModelError, match=r"gate .*gate: .*encoder stub-trigrams-64.*another"):
        load_gate(str(folder), other)
    assert load_gate(str(folder), StubEncoder()).score("Who?", []).probability.shape == (0,)


def test_a_card_of_other_weights_is_refused(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="other weights"):
        GateArtifact.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 3, found 99"),
        ({"features": ["a"]}, "other features"),
        ({"calibration": {}}, "do not hold what a gate"),
        ({"weights_sha256": None}, "other weights"),
        ({"threshold": float("nan")}, r"card\.json: expected threshold .* from 0 to 1, found nan"),
        ({"condition_threshold": 1.5}, r"card\.json: expected condition_threshold .* found 1\.5"),
        ({"near": "0.5"}, r"card\.json: expected near .* found '0\.5'"),
        ({"agreement_threshold": float("inf")}, r"card\.json: expected agreement_threshold .* inf"),
        ({"condition_examples": []}, "do not hold what a gate"),
        ({"threshold": None}, r"card\.json: expected threshold .* found None"),
    ],
)
def test_a_changed_card_is_refused(folder, change, message):
    card = json.loads((folder / CARD).read_text("utf-8"))
    (folder / CARD).write_text(json.dumps(card | change), "utf-8")
    with pytest.raises(ModelError, match=message):
        GateArtifact.load(folder)


def test_arrays_that_are_no_cross_encoders_name_their_file(folder):
    two_stage_gate().save(folder)
    data = save_arrays({"head.bias": np.zeros(3, np.float32)})
    (folder / CROSS).write_bytes(data)
    card = json.loads((folder / CARD).read_text("utf-8"))
    card["cross"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / CARD).write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match=r"gate/cross\.safetensors: expected the arrays"):
        GateArtifact.load(folder)


def test_a_gate_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="no gate 'nonsense'"):
        load_gate("nonsense", StubEncoder())
    with pytest.raises(ModelError, match=r"expected a gate"):
        load_gate(str(tmp_path), StubEncoder())


def test_the_shipped_gate_is_small_and_belongs_to_its_card():
    assert "default" in shipped_gates()
    from errata.gates.load import _WEIGHTS

    stored = GateArtifact.load(_WEIGHTS / "default")
    assert 0.4 <= stored.threshold <= 1.0
    size = sum(path.stat().st_size for path in (_WEIGHTS / "default").iterdir())
    assert size < 4_500_000


def test_splits_share_no_subject():
    books = {split: QuestionBook(split) for split in ("train", "tune", "test")}
    subjects = {
        split: {key for key in book.by_subject if key[0] != "model"}
        for split, book in books.items()
    }
    assert all(subjects.values())
    assert not subjects["train"] & (subjects["tune"] | subjects["test"])
    assert not subjects["tune"] & subjects["test"]


def test_training_pairs_name_no_test_subject_as_the_edits():
    import random

    test = {row.subject for row in load_facts() if row.split == "test" and row.kind == "country"}
    found = table_examples(QuestionBook("train"), random.Random(0), 3000)
    assert len(found) == 3000
    assert not {one.scope.subject for one in found} & test
    assert {one.label for one in found} == {"none", "paraphrase", "entailed"}


def test_held_out_phrasings_are_only_for_measuring():
    import random

    rng = random.Random(0)
    for held_out in (False, True):
        book = QuestionBook("test", held_out=held_out)
        item = next(item for item in book.items if item.topic.held_out and item.kind == "country")
        said = {
            asking.text for asking in book.paraphrases(item, rng, 20) if asking.kind == "paraphrase"
        }
        held = {item.render(form) for form in item.topic.held_out}
        assert said & held if held_out else not said & held


def test_a_trial_never_asks_what_another_edit_answers_and_calls_it_wrong():
    trial = build_trial(QuestionBook("test", held_out=True), [], size=60)
    own = {one.scope.casefold().rstrip("?. ") for one in trial.edits}
    wrong = [q for q in trial.queries if q.label == "none"]
    assert len(wrong) > 200
    assert not {q.text.casefold().rstrip("?. ") for q in wrong} & own


def write(path, *rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    return path


GOOD = {"a": "How old are you?", "b": "What is your age?", "same": 1}


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_pairs_are_read(tmp_path, name):
    path = write(tmp_path / name, GOOD, GOOD | {"b": "Where?", "same": 0})
    assert [pair.same for pair in read_pairs(path)] == [True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": "x", "b": "y"}, r"p\.jsonl:2: expected the keys a, b, same, found a, b; add 'same'"),
        (GOOD | {"extra": 1}, r"p\.jsonl:2: expected the keys.*; delete the key 'extra'"),
        ({"a": "x", "b": "y", "sme": 1}, r"p\.jsonl:2: .*; rename 'sme' to 'same'"),
        (GOOD | {"a": " "}, r"p\.jsonl:2: expected a text under 'a', found ' '; write one"),
        (GOOD | {"same": "yes"}, r"p\.jsonl:2: expected same to be 0 or 1, found 'yes'; label"),
        (GOOD | {"same": None}, r"p\.jsonl:2: expected same to be 0 or 1, found None"),
        ("[1]\n", r"p\.jsonl:2: expected a JSON object"),
        ("{broken\n", r"p\.jsonl:2: expected one JSON object a line"),
        (GOOD, r"p\.jsonl: expected pairs that are the same and pairs that are not"),
    ],
)
def test_a_malformed_pairs_file_names_its_line(tmp_path, row, message):
    with pytest.raises(ModelError, match=message):
        read_pairs(write(tmp_path / "p.jsonl", GOOD, row))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match=r"none\.jsonl: cannot be read"):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "no.gz").write_bytes(b"no gzip")
    with pytest.raises(ModelError, match="cannot be read"):
        read_open_questions(tmp_path / "no.gz")
    (tmp_path / "damaged.gz").write_bytes(DAMAGED)
    with pytest.raises(ModelError, match=r"damaged\.gz: cannot be read"):
        read_open_questions(tmp_path / "damaged.gz")
    with pytest.raises(
        ModelError, match=r"o\.jsonl:1: expected a text under 'question', found the keys"
    ):
        read_open_questions(write(tmp_path / "o.jsonl", {"q": "x"}))
    with pytest.raises(ModelError, match=r"e\.jsonl: expected JSON lines with a question each"):
        read_open_questions(write(tmp_path / "e.jsonl", "\n"))


def test_half_a_character_is_refused(tmp_path):
    path = write(tmp_path / "o.jsonl", {"question": "who? \U0001f600"}, {"question": "\ud800 who?"})
    with pytest.raises(ModelError, match=r"o\.jsonl:2: .*lone surrogate.*'\\ud800 who\?'"):
        read_open_questions(path)


def test_lists_too_deep_are_no_object(tmp_path):
    with pytest.raises(ModelError, match=r"o\.jsonl:1: expected one JSON object"):
        read_open_questions(write(tmp_path / "o.jsonl", "[" * 9999))


def test_a_bad_file_leaves_nothing_half_written(tmp_path):
    path = write(tmp_path / "p.jsonl", GOOD)
    with pytest.raises(ModelError):
        train(tmp_path / "out", pairs=[path], encoder=StubEncoder(), config=RECIPE)
    assert not (tmp_path / "out").exists()


def test_connected_questions_stay_on_one_side():
    pairs = [QuestionPair(f"q{i}", f"q{i + 1}", True) for i in range(0, 900) if i % 3]
    found = split_pairs(pairs)
    sides = {}
    for split, mine in found.items():
        for pair in mine:
            assert sides.setdefault(pair.a, split) == split == sides.setdefault(pair.b, split)
    assert set(found) == {"train", "tune", "test"}
    assert found == split_pairs(pairs)
    assert len(list(pair_examples(found["test"]))) == 2 * len(found["test"])


def test_open_questions_are_split_in_halves():
    splits = [open_split(f"question {i}") for i in range(1000)]
    assert splits.count("test") == pytest.approx(500, abs=60)
    assert splits.count("tune") == pytest.approx(100, abs=40)
