"""Training the cross-encoder: its losses, its pairs, runs that stop and go on, what is stored."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import ErrataError, ModelError
from errata.cache.records import Fact
from errata.gates import artifact as stored
from errata.gates.artifact import CARD, CROSS, WEIGHTS, GateArtifact, read_cross
from errata.gates.classifier import ScopeClassifier
from errata.gates.cross_encoder import CrossEncoder, CrossEncoderDelta
from errata.gates.data.cross_encoder_pairs import (
    MIN_DRAW,
    Pair,
    PairSource,
    _sample_rounds,
    nearest_questions,
)
from errata.gates.data.pairs import QuestionPair
from errata.gates.evaluation.ablation import without_part
from errata.gates.features import NAMES
from errata.gates.load import load_gate
from errata.gates.training import cross_encoder as cross_train
from errata.gates.training.cards import data_card, pairs_card
from errata.gates.training.cross_encoder import (
    BEST,
    CrossEncoderConfig,
    CrossEncoderTrainer,
    balanced_cross_entropy,
    info_nce,
)
from errata.gates.training.train import TrainingConfig, train
from tests.fakes import StubEncoder
from tests.small_cross import (
    RERANK_THRESHOLD,
    ReadingEncoder,
    bert_tokenizer,
    random_cross,
    tiny_bert,
    two_stage_gate,
)
from tests.small_gate import small_gate, small_gate_folder

ENCODER = ReadingEncoder()
PLACES = "Kazakhstan France Norway Peru Egypt Japan".split()
CHECKPOINT = "cross.checkpoint"


class Drill:
    """A source of pairs that are easily told apart: the same place, or another."""

    digest = "drill"

    def draw(self, count, rng):
        found = []
        for _ in range(count):
            one, other = rng.sample(PLACES, 2)
            label = rng.randrange(3)
            asked = (f"capital of {other}", f"capital of {one}", f"Astana in {one}")[label]
            found.append(Pair(f"What is the capital of {one}?", asked, label, "drill"))
        return found


class Others(Drill):
    digest = "others"


SETTINGS = CrossEncoderConfig(steps=18, batch=8, rate=2e-3, warmup=4, rank=4, every=6, tune=40)


def run_in(folder, start=None, **changes) -> CrossEncoderTrainer:
    return CrossEncoderTrainer(
        ENCODER, Drill(), Drill(), folder, replace(SETTINGS, **changes), start
    )


def same_arrays(one: CrossEncoderDelta, other: CrossEncoderDelta) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


def same_changes(one: CrossEncoderDelta, other: CrossEncoderDelta) -> bool:
    """Tell whether two change the encoder alike, as far as a byte a number tells."""
    return one.matrix_names() == other.matrix_names() and all(
        np.linalg.norm(one.delta(name) - other.delta(name)) < 0.01 * np.linalg.norm(one.delta(name))
        for name in one.matrix_names()
    )


# losses

ROWS = st.lists(st.tuples(*[st.floats(-30, 30)] * 3, st.integers(0, 2)), min_size=1, max_size=8)


def log_softmax(row):
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


@given(ROWS)
@settings(deadline=None)
def test_balanced_cross_entropy(rows):
    import torch

    logits, labels = np.array([row[:3] for row in rows]), [row[3] for row in rows]
    sides = {True: [], False: []}
    for row, label in zip(logits, labels, strict=True):
        sides[label > 0].append(-log_softmax(row)[label])
    expected = np.mean([np.mean(side) for side in sides.values() if side])
    found = balanced_cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(ROWS)
@settings(deadline=None)
def test_noise_contrast(rows):
    import torch

    logits, labels = np.array([row[:3] for row in rows]), np.array([row[3] for row in rows])
    given_to = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)
    found = float(info_nce(*given_to))
    if not (labels > 0).any() or not (labels == 0).any():
        assert found == float(balanced_cross_entropy(*given_to))
        return
    score = [np.logaddexp(row[1], row[2]) - row[0] for row in logits]
    out = [score[i] for i in range(len(rows)) if labels[i] == 0]
    losses, told = [], []
    for i in np.flatnonzero(labels > 0):
        losses.append(-log_softmax(np.array([score[i], *out]))[0])
        told.append(-log_softmax(logits[i, 1:])[labels[i] - 1])
    assert found == pytest.approx(np.mean(losses) + np.mean(told), rel=1e-9, abs=1e-12)


# pairs

OPEN = [f"who {verb} the {thing}" for verb in ("sang", "wrote") for thing in ("song", "book")]


@pytest.fixture(scope="module")
def source():
    pairs = [QuestionPair("How old are you?", "What is your age?", True)]
    return PairSource("tune", pairs, OPEN, ENCODER)


def test_pairs_of_all_sorts_are_drawn(source):
    drawn = source.draw(2000, random.Random(0))
    kinds = [pair.kind for pair in drawn]
    assert {"paraphrase", "other relation", "other subject", "open, mistyped"} <= set(kinds)
    assert 0.8 < kinds.count("question pairs") / len(kinds) < 0.9
    assert {pair.label for pair in drawn} == {0, 1, 2}
    assert drawn == source.draw(2000, random.Random(0))
    assert drawn != source.draw(2000, random.Random(1))
    marked = [pair for pair in drawn if pair.edit.startswith("if ")]
    assert 20 < len(marked) < 100 and {pair.label > 0 for pair in marked} == {True, False}


def test_a_source_is_told_by_what_it_draws_from(source):
    pairs = [QuestionPair("How old are you?", "What is your age?", True)]
    assert PairSource("tune", pairs, OPEN, ENCODER).digest == source.digest
    others = [("train", pairs, OPEN), ("tune", pairs * 2, OPEN), ("tune", pairs, OPEN[1:])]
    digests = {PairSource(*other, ENCODER).digest for other in others}
    assert len(digests | {source.digest}) == 4


def test_the_card_names_the_pairs_and_those_of_the_start(tmp_path):
    file = tmp_path / "ours.jsonl"
    file.write_text("{}\n", "utf-8")
    begun, clear = ({"pairs": one} for one in ("Quora's", "none"))
    assert pairs_card([], clear) == pairs_card([], {}) == pairs_card([]) == "none"
    assert data_card("none", {}, RECIPE, {})["pairs"] == "none"
    assert pairs_card([], begun) == {"start's": "Quora's"}
    told = pairs_card([file], begun)
    (named,) = told["files"]
    assert named["file"] == "ours.jsonl" and len(named["sha256"]) == 64
    assert told["start's"] == "Quora's" and "research" in told["terms"]


def test_no_labelled_pair_comes_twice_before_all_have_come():
    pairs = [QuestionPair(f"a{i}?", f"b{i}?", i % 2 == 0) for i in range(10)]
    for count in (7, 10, 23):
        drawn = _sample_rounds(pairs, count, random.Random(0))
        often = [drawn.count(pair) for pair in pairs]
        assert len(drawn) == count and max(often) - min(often) <= 1


def test_few_pairs_are_of_both_sorts_too(source):
    drawn = source.draw(1, random.Random(0))
    assert len(drawn) >= MIN_DRAW // 2 and {pair.label > 0 for pair in drawn} == {True, False}


def test_nearest_questions_never_name_the_question_itself(monkeypatch):
    texts = ["who sang it", "WHO SANG IT", "Who Sang it", "how deep is the lake", "a far cry"]
    found = nearest_questions(texts, ENCODER)
    assert all(place not in near for place, near in enumerate(found))
    assert not {0, 1, 2} & {*found[0], *found[1], *found[2]}
    assert [len(near) for near in found] == [2] * 5
    assert nearest_questions(texts[:2], ENCODER) == [[], []]
    assert nearest_questions([], ENCODER) == []
    apart = ["how deep is the lake", "how deep is a well", "a far cry", "who wept by the lake"]
    found = nearest_questions(apart, ENCODER)
    monkeypatch.setattr("errata.gates.data.cross_encoder_pairs.BLOCK", 3)
    assert nearest_questions(apart, ENCODER) == found


# runs


def test_what_is_stored_reads_as_what_was_trained():
    import copy

    import torch

    from errata.gates.training.cross_encoder_model import PairClassifier

    torch.manual_seed(0)
    reader = PairClassifier(copy.deepcopy(tiny_bert()), 4).eval()
    fresh = reader.project()
    assert fresh.matrix_names() == random_cross().matrix_names()
    reader.load(random_cross(rank=4))
    assert same_changes(reader.project(), random_cross(rank=4))
    pairs = [("What is the capital of Peru? Lima", "perus capital"), ("if a refund", "hi")]
    with torch.no_grad():
        trained = reader(bert_tokenizer(), pairs).numpy()
    stored_ = reader.project()
    lost, learned = (
        np.abs(CrossEncoder(ENCODER, one)(pairs) - trained) for one in (stored_, fresh)
    )
    assert lost.max() < 0.1 * learned.max()  # a byte a number
    for other in (random_cross(layers=3), random_cross(hidden=64)):
        with pytest.raises(ModelError, match="same transformer"):
            reader.load(other)


def test_a_change_is_brought_to_the_nearest_of_its_rank():
    """Eckart and Young 1936: the error is what the singular values left out amount to."""
    import copy

    import torch

    from errata.gates.training.cross_encoder_model import PairClassifier

    torch.manual_seed(0)
    reader = PairClassifier(copy.deepcopy(tiny_bert()), 3)
    before = {k: v.detach().double().clone() for k, v in reader.matrices.items()}
    changes = {k: torch.randn_like(v) * 0.1 for k, v in reader.matrices.items()}
    with torch.no_grad():
        for name, weight in reader.matrices.items():
            weight.add_(changes[name])
    stored_ = reader.project()
    for name, weight in reader.matrices.items():
        made = weight.detach().double() - before[name]
        sizes = np.linalg.svd(changes[name].double().numpy(), compute_uv=False)
        assert np.linalg.matrix_rank(stored_.delta(name), tol=1e-3) == 3
        np.testing.assert_allclose(made.numpy(), stored_.delta(name), atol=1e-5)
        left = np.linalg.norm(made.numpy() - changes[name].double().numpy())
        assert left == pytest.approx(np.sqrt((sizes[3:] ** 2).sum()), rel=1e-3)
    again = reader.project()
    assert same_changes(again, stored_)


def test_only_matrices_and_the_head_are_trained():
    import copy

    from errata.gates.training.cross_encoder_model import PairClassifier

    reader = PairClassifier(copy.deepcopy(tiny_bert()), 3)
    trained = {name for name, p in reader.named_parameters() if p.requires_grad}
    assert trained == {"head.weight", "head.bias", *(f"body.{name}" for name in reader.matrices)}
    assert not any("pooler" in name or "embeddings" in name for name in trained)


@pytest.mark.parametrize("loss", ["bce", "nce"])
def test_a_run_that_was_stopped_goes_on_as_if_it_were_not(tmp_path, loss):
    whole = run_in(tmp_path / "whole", loss=loss)
    kept = whole.train(progress=False)
    assert whole.step == 18 and len(whole.history) == 3
    assert whole.best < whole.history[0]["loss"]  # it learns
    stopped = run_in(tmp_path / "stopped", loss=loss)
    steps = stopped._steps()
    for _ in range(9):  # past the first validation, into the second stretch
        next(steps)
    steps.close()
    again = run_in(tmp_path / "stopped", loss=loss)
    assert again.resume() and again.step == 6
    assert same_arrays(again.train(progress=False), kept)
    assert same_arrays(again.model.project(), whole.model.project())
    assert again.history == whole.history
    over = run_in(tmp_path / "whole", loss=loss)
    assert over.resume() and over.step == 18
    assert same_arrays(over.train(progress=False), kept) and over.step == 18
    assert not run_in(tmp_path / "new", loss=loss).resume()


def test_the_encoders_transformer_is_left_as_it_was(tmp_path):
    before = {name: value.clone() for name, value in tiny_bert().state_dict().items()}
    made = run_in(tmp_path, steps=2)
    start = made.model.project()
    assert not same_arrays(made.train(progress=False), start)
    after = tiny_bert().state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].equal(value) for name, value in after.items())


def script(monkeypatch, run, *values):
    """Let validation find these losses; return what was trained at each."""
    import torch

    real, left, seen = cross_train.balanced_cross_entropy, iter(values), []

    def scripted(logits, labels):
        if torch.is_grad_enabled():
            return real(logits, labels)
        seen.append(run.model.project())
        return torch.tensor(next(left))

    monkeypatch.setattr(cross_train, "balanced_cross_entropy", scripted)
    return seen


def test_stopping_early_keeps_the_best(monkeypatch, tmp_path):
    run = run_in(tmp_path, steps=40, every=2, patience=2)
    seen = script(monkeypatch, run, 0.9, 0.5, 0.6, 0.5)
    kept = run.train(progress=False)
    assert (run.step, run.stale, run.best) == (8, 2, 0.5)
    assert same_changes(kept, seen[1]) and not same_arrays(kept, seen[3])
    again = run_in(tmp_path, steps=40, every=2, patience=2)
    assert again.resume()
    assert same_arrays(again.train(progress=False), kept) and again.step == 8


def test_a_loss_that_is_no_number_is_told(monkeypatch, tmp_path):
    run = run_in(tmp_path, every=2, patience=2)
    script(monkeypatch, run, *[float("nan")] * 9)
    with pytest.raises(ModelError, match=r"not finite after 4 steps at a rate of 0\.002"):
        run.train(progress=False)
    assert not (tmp_path / BEST).exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run_in(tmp_path, steps=2, every=2).train(progress=False)
    for other in ({"steps": 3}, {"steps": 2, "loss": "nce"}, {"steps": 2, "seed": 1}):
        with pytest.raises(ModelError, match=r"cross\.checkpoint: expected a run of these"):
            run_in(tmp_path, **{"every": 2, **other}).resume()
    run = run_in(tmp_path, random_cross(), steps=2, every=2)
    with pytest.raises(ModelError, match=r"found another: its start differ"):
        run.resume()
    run = run_in(tmp_path, steps=2, every=2)
    run._source = Others()
    with pytest.raises(ModelError, match=r"found another: its train differ"):
        run.resume()
    (tmp_path / BEST).unlink()
    with pytest.raises(ModelError, match=r"cross\.best\.safetensors in one folder, found"):
        run_in(tmp_path, steps=2, every=2).resume()
    (tmp_path / CHECKPOINT).write_bytes(b"broken")
    with pytest.raises(ErrataError, match=r"cross\.checkpoint: expected.*delete it to start over"):
        run_in(tmp_path, steps=2, every=2).resume()


def test_weights_that_are_no_numbers_are_told_and_the_best_is_kept(tmp_path):
    import torch

    run = run_in(tmp_path, steps=40, every=2, patience=2)
    steps = run._steps()
    for _ in range(3):
        next(steps)
    best = run.best
    with torch.no_grad():
        next(iter(run.model.matrices.values())).fill_(float("nan"))
    for _ in steps:
        pass
    assert (run.stale, run.best) == (2, best)
    assert run._best_delta is not None and np.isfinite(run._best_delta.tensors["head.weight"]).all()


def test_a_run_begins_from_what_was_trained(tmp_path):
    run = run_in(tmp_path, random_cross())
    assert same_changes(run.model.project(), random_cross())
    assert not same_changes(run_in(tmp_path).model.project(), random_cross())
    assert same_changes(run_in(tmp_path, random_cross(), rank=6).model.project(), random_cross())
    with pytest.raises(ModelError, match="train from the beginning"):
        run_in(tmp_path, random_cross(hidden=64))


def test_pairs_of_one_sort_cannot_validate(tmp_path):
    class OneSort(Drill):
        def draw(self, count, rng):
            return [replace(pair, label=0) for pair in super().draw(count, rng)]

    with pytest.raises(ModelError, match="one class only"):
        CrossEncoderTrainer(ENCODER, Drill(), OneSort(), tmp_path, SETTINGS)

    class Empty(Drill):
        def draw(self, count, rng):
            return []

    with pytest.raises(ModelError, match="no pairs to learn from"):
        CrossEncoderTrainer(ENCODER, Empty(), Drill(), tmp_path, SETTINGS).train(progress=False)


# what is stored


@pytest.fixture
def folder(tmp_path):
    two_stage_gate().save(tmp_path / "gate")
    return tmp_path / "gate"


def test_a_gate_of_two_stages_comes_back(folder, tmp_path):
    from tests.unit.gates.test_cross_encoder import ASKED, EDITS, TOPIC

    first = ScopeClassifier(ENCODER, two_stage_gate()).score(ASKED, [*EDITS, TOPIC])
    again = load_gate(str(folder), ENCODER).score(ASKED, [*EDITS, TOPIC])
    np.testing.assert_allclose(again.probability, first.probability, atol=1e-4)
    np.testing.assert_allclose(again.entailed, first.entailed, atol=1e-4)
    GateArtifact.load(folder).save(tmp_path / "again")
    for name in (CARD, CROSS, WEIGHTS):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    with pytest.raises(ModelError, match="found StubEncoder"):
        load_gate(str(folder), StubEncoder())


def test_a_cross_encoder_that_is_missing_or_anothers_is_refused(folder):
    data = bytearray((folder / CROSS).read_bytes())
    data[-1] ^= 1
    (folder / CROSS).write_bytes(data)
    with pytest.raises(ModelError, match=r"other weights.*in cross\.safetensors; restore all"):
        GateArtifact.load(folder)
    (folder / CROSS).unlink()
    with pytest.raises(ModelError, match=r"No such file.*cross\.safetensors.*restore all files"):
        GateArtifact.load(folder)


@pytest.mark.parametrize("cross", [None, [], {"scale": 2.0}, {"sha256": None}])
def test_a_card_that_says_other_things_of_it_is_refused(folder, cross):
    card = json.loads((folder / CARD).read_text("utf-8"))
    if isinstance(cross, dict) and "sha256" not in cross:
        cross["sha256"] = card["cross"]["sha256"]
    (folder / CARD).write_text(json.dumps(card | {"cross": cross}), "utf-8")
    with pytest.raises(
        ModelError, match=r"expected a gate, its card|do not hold what a gate|other weights"
    ):
        GateArtifact.load(folder)


@pytest.mark.parametrize("written", [0, 1, 2])
@pytest.mark.parametrize("old", ["none", "one stage", "two stages"])
def test_a_kill_between_two_files_leaves_no_gate_that_is_half_another(
    tmp_path, monkeypatch, written, old
):
    folder = tmp_path / "gate"
    other = replace(
        two_stage_gate(), second=replace(two_stage_gate().second, cross=random_cross(seed=1))
    )
    if old == "one stage":
        shutil.copytree(small_gate_folder(), folder)
    elif old == "two stages":
        other.save(folder)
    real, calls = stored.write_atomically, []

    def killed(path, data):
        if len(calls) == written:
            raise KeyboardInterrupt
        calls.append(path.name)
        real(path, data)

    monkeypatch.setattr(stored, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        two_stage_gate().save(folder)
    assert CARD not in calls
    untouched = old != "none" and (written == 0 or (old == "one stage" and written == 1))
    if untouched:
        assert (GateArtifact.load(folder).second is None) == (old == "one stage")
    else:
        with pytest.raises(ModelError):
            GateArtifact.load(folder)
    monkeypatch.undo()
    two_stage_gate().save(folder)
    assert GateArtifact.load(folder).second is not None


def test_a_gate_of_one_stage_leaves_no_cross_encoder_of_an_earlier_one(folder):
    small_gate().save(folder)
    assert not (folder / CROSS).exists()
    assert GateArtifact.load(folder).second is None


# the whole

RECIPE = TrainingConfig(
    examples=200, trial_size=4, conditions=200,
    cross=CrossEncoderConfig(steps=4, batch=8, every=4, tune=60, rank=4),
)  # fmt: skip


def test_training_a_gate_of_two_stages(tmp_path):
    def no_constants(name):
        raise AssertionError(name)

    made = train(tmp_path / "gate", encoder=ENCODER, config=RECIPE)
    card = json.loads((tmp_path / "gate" / CARD).read_text("utf-8"), parse_constant=no_constants)
    assert card["cross-encoder"]["steps taken"] == 4
    assert card["cross-encoder"]["started from"] is None
    assert made.second is not None and 0.005 <= made.second.rerank_threshold <= 0.05
    scores = load_gate(str(tmp_path / "gate"), ENCODER).score("Who made you?", [])
    assert scores.probability.shape == (0,)
    # stopped after the last validation, the run is taken up, and the gate is the same
    again = train(tmp_path / "gate", encoder=ENCODER, config=RECIPE)
    assert same_arrays(again.second.cross, made.second.cross)
    started = train(
        tmp_path / "more", encoder=ENCODER, start=tmp_path / "gate",
        config=replace(RECIPE, cross=replace(RECIPE.cross, loss="nce")),
    )  # fmt: skip
    assert started.card["cross-encoder"]["started from"] == "gate"
    assert not same_arrays(started.second.cross, made.second.cross)


def as_of_format_1(folder):
    """Make the gate in a folder one of version 0.1: other arrays, and a card of the old format."""
    card = json.loads((folder / CARD).read_text("utf-8"))
    del card["features"]
    card |= {"format": 1, "common_words": "a b", "pairs": "Quora's", "threshold": "gone"}
    card["cross"]["band"] = card["cross"].pop("rerank_threshold")
    (folder / CARD).write_text(json.dumps(card), "utf-8")
    (folder / WEIGHTS).write_bytes(b"networks")


def test_a_gate_of_the_old_format_is_refused_and_its_cross_encoder_is_kept(tmp_path):
    old = tmp_path / "old"
    trained = {"loss": "nce", "steps taken": 5}
    replace(two_stage_gate(), card=two_stage_gate().card | {"cross-encoder": trained}).save(old)
    as_of_format_1(old)
    with pytest.raises(
        ModelError,
        match=r"old/card\.json: expected a gate card of format 3, found 1; .*fit the rest again "
        r"with `errata gate train --start \S+old --steps 0 --out DIR`",
    ):
        GateArtifact.load(old)
    cross, card = read_cross(old)
    assert same_arrays(cross, random_cross()) and cross.scale == 2.0
    assert card["cross"]["rerank_threshold"] == RERANK_THRESHOLD and card["pairs"] == "Quora's"
    # what the message says to do
    made = train(tmp_path / "new", encoder=ENCODER, start=old, config=replace(RECIPE, cross=None))
    assert (tmp_path / "new" / CROSS).read_bytes() == (old / CROSS).read_bytes()
    stored_ = GateArtifact.load(tmp_path / "new")
    assert stored_.second is not None and stored_.second.cross.scale == 2.0
    assert stored_.card["cross-encoder"] == trained and stored_.card["pairs"] == {
        "start's": "Quora's"
    }
    assert stored_.threshold == made.threshold and 0.02 <= stored_.second.rerank_threshold <= 0.05
    for stage in (stored_.second.scope, stored_.second.condition):
        ((weights, _),) = stage.members[0]
        assert np.abs(weights[len(NAMES) : len(NAMES) + 2]).min() > 0  # the logits count
    alone = ScopeClassifier(ENCODER, without_part(stored_, "cross"))
    text, edits = "which city is kazakhstans capital", [Fact("What is the capital of Peru?", "x")]
    reading = load_gate(str(tmp_path / "new"), ENCODER).score(text, edits).probability
    assert reading != alone.score(text, edits).probability


def test_a_card_of_the_old_format_does_not_excuse_other_weights(folder):
    as_of_format_1(folder)
    (folder / CROSS).write_bytes(b"another")
    with pytest.raises(ModelError, match=r"gate/cross\.safetensors: .*other weights"):
        read_cross(folder)
    (folder / CARD).write_text("[]", "utf-8")
    with pytest.raises(ModelError, match=r"gate: expected a gate.*restore all files"):
        read_cross(folder)
    small_gate().save(folder)
    cross, card = read_cross(folder)
    assert cross is None and card["encoder"] == ENCODER.fingerprint


@pytest.mark.parametrize(
    ("encoder", "recipe", "start", "message"),
    [
        (StubEncoder(), RECIPE, None, "found StubEncoder"),
        (ENCODER, RECIPE, "one", "found one of one stage"),
        (ENCODER, replace(RECIPE, cross=None), "one", "found one of one stage"),
        (StubEncoder(), replace(RECIPE, cross=None), "two", "found StubEncoder"),
        (ReadingEncoder(fingerprint="new"), RECIPE, "two", "a gate of the encoder new"),
        (ENCODER, RECIPE, "nowhere", "expected a gate"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(tmp_path, encoder, recipe, start, message):
    small_gate().save(tmp_path / "one")
    two_stage_gate().save(tmp_path / "two")
    with pytest.raises(ModelError, match=message):
        train(
            tmp_path / "out", encoder=encoder, config=recipe,
            start=None if start is None else tmp_path / start,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
