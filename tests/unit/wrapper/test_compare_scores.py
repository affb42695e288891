"""Scores and judging, each against an oracle of its own in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from errata.cache.text.answer_match import normalize_words
from errata.compare.run.scores import entropy, harmonic, magnitude, success, token_accuracy
from errata.compare.run.teacher_forcing import TeacherForcing, TopTokens, divergence
from errata.generation.judge import is_named, is_right
from tests.unit.helpers import CAPITAL, OTHER

NLLS = st.one_of(st.none(), st.floats(0, 30))


@pytest.fixture
def forcing(models, tokenizer):
    return TeacherForcing(models("gpt2"), tokenizer)


def log_probabilities(model, tokenizer, prompt, target):
    """Return log-probabilities of the tokens of a target, by a loop over single prefixes."""
    ids = tokenizer(prompt)["input_ids"]
    found = []
    for token in target:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].double()
        found.append(logits - logits.logsumexp(0))
        ids = [*ids, token]
    return torch.stack(found)


def test_forced_equals_a_loop_over_prefixes_in_float64(models, tokenizer, forcing):
    pairs = [(CAPITAL, "Astana"), (OTHER, "Lima and Oslo are north"), ("Paris", "zebra")]
    examples = [forcing.example(prompt, answer) for prompt, answer in pairs]
    found = forcing.scores(examples)  # one padded batch of different lengths
    for (prompt, answer), example, forced in zip(pairs, examples, found, strict=True):
        assert tokenizer.decode(example.target) == f" {answer}"
        logs = log_probabilities(models("gpt2"), tokenizer, prompt, example.target)
        target = torch.tensor(example.target)
        assert forced.nll == pytest.approx(-float(logs.gather(1, target[:, None]).mean()), abs=1e-4)
        assert list(forced.right) == (logs.argmax(1) == target).tolist()


def test_perplexity_equals_a_loop_over_prefixes(models, tokenizer, forcing):
    texts = [CAPITAL, OTHER]
    total, count = 0.0, 0
    for text in texts:
        first, *rest = tokenizer(text)["input_ids"]
        logs = log_probabilities(models("gpt2"), tokenizer, tokenizer.decode([first]), rest)
        total -= float(logs.gather(1, torch.tensor(rest)[:, None]).sum())
        count += len(rest)
    assert forcing.perplexity(texts) == pytest.approx(math.exp(total / count), rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(0, 10_000))
def test_divergence_is_exact_over_the_whole_vocabulary_and_never_more(kept, seed):
    rng = np.random.default_rng(seed)
    before, now = rng.normal(size=(2, 3, 40)) * 3
    logs = torch.log_softmax(torch.tensor(before), 1).float()
    nows = torch.log_softmax(torch.tensor(now), 1).float()
    p, q = np.exp(logs.double().numpy()), np.exp(nows.double().numpy())
    oracle = (p * np.log(p / q)).sum(1)
    top = logs.topk(kept, dim=1)
    found = divergence(TopTokens(top.indices, top.values), nows).numpy()
    assert (found <= oracle + 1e-5).all()
    if kept == 40:
        np.testing.assert_allclose(found, oracle, atol=1e-5)


def test_a_shortlist_of_most_of_the_mass_loses_little():
    logs = torch.log_softmax(torch.linspace(12, -12, 200), 0)[None]
    nows = torch.log_softmax(torch.linspace(12, -12, 200).roll(3), 0)[None]
    whole = logs.topk(200, dim=1)
    exact = divergence(TopTokens(whole.indices, whole.values), nows)
    top = logs.topk(64, dim=1)
    assert float(exact) > 0.01
    assert divergence(TopTokens(top.indices, top.values), nows) == pytest.approx(exact, rel=0.02)


def test_drift_is_nothing_on_the_same_weights_and_something_on_others(models, tokenizer, forcing):
    import copy

    examples = [forcing.example(OTHER, "Lima"), forcing.example(CAPITAL, "Oslo")]
    before = forcing.distributions(examples)
    assert [kl for kl, _ in forcing.divergences(examples, before)] == pytest.approx(
        [0, 0], abs=1e-6
    )
    other = copy.deepcopy(models("gpt2"))
    with torch.no_grad():
        other.transformer.h[1].mlp.c_proj.weight.mul_(1.5)
    assert (
        min(kl for kl, _ in TeacherForcing(other, tokenizer).divergences(examples, before)) > 1e-4
    )


@settings(deadline=None, max_examples=40)
@given(NLLS, NLLS)
def test_success_and_magnitude_of_neighbours_are_those_of_rewrites_turned_round(new, old):
    assert success("rewrite", new, old) == success("neighbour", old, new)
    assert magnitude("rewrite", new, old) == pytest.approx(magnitude("neighbour", old, new))
    probability = [0.0 if x is None else math.exp(-x) for x in (new, old)]
    assert magnitude("rewrite", new, old) == pytest.approx(probability[0] - probability[1])
    if probability[0] > probability[1]:
        assert success("rewrite", new, old)


def test_what_cannot_be_said_is_never_likelier():
    assert success("rewrite", 9.0, None) and not success("rewrite", None, 9.0)
    assert not success("rewrite", None, None) and not success("neighbour", None, None)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_harmonic_mean(values):
    assert harmonic(values) == pytest.approx(float(stats.hmean(values)))


def test_harmonic_mean_at_nothing_is_nothing():
    assert harmonic([1.0, 0.0, 1.0]) == 0.0 and harmonic([]) == 0.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["zebra", "skin", "black", "is"]), min_size=3, max_size=40))
def test_entropy_of_ngrams(words):
    def oracle(n):
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        return float(stats.entropy(np.unique(grams, return_counts=True)[1], base=2))

    expected = (2 / 3 * oracle(2) + 4 / 3 * oracle(3)) / 2
    assert entropy(" ".join(words)) == pytest.approx(expected, abs=1e-9)


def test_repetition_lowers_the_entropy():
    assert entropy("the zebra " * 30) < entropy("a b c d e f g h i j k l m n o p") - 1


def test_token_accuracy():
    assert token_accuracy([True, False, True, True]) == 0.75 and token_accuracy([]) == 0.0


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("Astana", ["Astana"], True),
        ("astana.", ["Astana"], True),
        ("The euro", ["euro"], True),
        ("euro. It replaced the kuna", ["euro"], True),
        ("St. Louis", ["St. Louis"], True),
        ("St. Louis. It lies on a river", ["St. Louis"], True),
        ("St. Petersburg", ["St. Louis"], False),
        ("Paris, Texas", ["Paris"], False),
        ("not black", ["black"], False),
        ("1.10", ["1.1"], False),
        ("黑色。", ["黑色"], True),
        ("", ["Astana"], False),
        ("", [""], False),
        ("Nur-Sultan", ["Astana", "nur-sultan"], True),
    ],
)
def test_answers_are_compared_whole(answer, expected, right):
    assert is_right(answer, expected) is right


@pytest.mark.parametrize(
    ("answer", "expected", "old", "named"),
    [
        ("The Hilton is owned by Sony, a firm.", ["Sony"], "IBM", True),
        ("It is the Holy Roman Empire", ["holy roman empire"], "", True),
        ("Not IBM but Sony owns it", ["Sony"], "IBM", False),
        ("Sony. It was IBM before.", ["Sony"], "IBM", True),  # the first sentence is the answer
        ("It is Roman Catholicism.", ["Roman Catholicism"], "Catholicism", True),
        ("It is Sonya's.", ["Sony"], "", False),
        ("Anything", [""], "", False),
        ("", ["Sony"], "IBM", False),
    ],
)
def test_a_sentence_may_name_the_answer(answer, expected, old, named):
    assert is_named(answer, expected, old) is named


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing(text):
    assert normalize_words(normalize_words(text)) == normalize_words(text)
