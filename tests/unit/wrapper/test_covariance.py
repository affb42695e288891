"""Second moments: what a direct computation gives, found again, gone on with, never mixed up."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from errata.cache.errors import EditError, MissingExtra, StoreError
from errata.editors.shared import covariance as module
from errata.editors.shared import layer_keys as batching
from errata.editors.shared.corpus import (
    TextPart,
    TextSource,
    dataset_texts,
    generated_texts,
    text_files,
    token_rows,
)
from errata.editors.shared.covariance import moment_keys, second_moments, settled_moments
from errata.editors.shared.layer_keys import layer_keys
from errata.module_paths import as_rows, module_paths_of
from tests.conftest import corpus


@pytest.fixture(autouse=True)
def forget():
    """Nothing is remembered from test to test."""
    module._recent.clear()
    module._settled.clear()


@pytest.fixture(scope="session")
def rows(tokenizer):
    """Return some rows of different lengths, of which no batch is full."""
    texts = corpus()[:: len(corpus()) // 23]
    return token_rows(tokenizer, texts, tokens=400, width=30)


def direct(model, rows, layer):
    """Return the mean of k kᵀ, row by row without padding, in float64 throughout."""
    model = copy.deepcopy(model).double()
    paths = module_paths_of(model)
    total, count = 0, 0
    for row in rows:
        seen = []
        handle = model.get_submodule(paths.down(layer)).register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(as_rows(inputs[0], 1)[0])
        )
        with torch.no_grad():
            stack = model.get_encoder() if model.config.is_encoder_decoder else model
            stack(input_ids=torch.tensor([row]))
        handle.remove()
        total, count = total + seen[0].T @ seen[0], count + len(row)
    return total / count


def test_equal_to_a_direct_computation(family, models, rows, monkeypatch):
    monkeypatch.setattr(batching, "TOKENS_PER_BATCH", 100)
    model = models(family)
    for layer, moment in enumerate(second_moments(model, rows, [0, 1])):
        expected = direct(model, rows, layer)
        scale = expected.abs().max()
        assert moment.matrix.dtype == torch.float64 and moment.tokens == sum(map(len, rows))
        assert float((moment.matrix - expected).abs().max() / scale) < 1e-5
        assert torch.equal(moment.matrix, moment.matrix.T) or torch.allclose(
            moment.matrix, moment.matrix.T, rtol=0, atol=1e-12 * float(scale)
        )


def test_keys_have_the_whole_space_as_their_mean_squared_length(models, rows):
    # mean(kᵀ C⁻¹ k) = d_mlp, exactly, on the very sample that C is the mean of
    model = models("llama")
    (moment,) = second_moments(model, rows, [1])
    keys = layer_keys(model, rows, [1], module_paths_of(model))[1]
    solved = torch.linalg.solve(moment.matrix, keys.T).T
    assert float((keys * solved).sum(1).mean()) == pytest.approx(keys.shape[1], rel=1e-9)


def test_an_interrupted_run_goes_on_to_the_same_result(models, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batching, "TOKENS_PER_BATCH", 60)
    model = models("gpt2")
    whole = second_moments(model, rows, [0, 1], folder=tmp_path / "whole")
    module._recent.clear()
    real, calls = module.layer_keys, []

    def interrupted(*arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(module, "layer_keys", interrupted)
    with pytest.raises(KeyboardInterrupt):
        second_moments(model, rows, [0, 1], folder=tmp_path / "cut", save_every=0)
    assert [path.suffixes for path in (tmp_path / "cut").iterdir()] == [
        [".partial", ".safetensors"]
    ]
    seen = []
    monkeypatch.setattr(module, "layer_keys", lambda *a: seen.append(1) or real(*a))
    resumed = second_moments(model, rows, [0, 1], folder=tmp_path / "cut", save_every=0)
    assert len(seen) == len(batching.batches_of(rows)) - 3 > 0
    assert all(moment.seconds and moment.seconds > 0 for moment in resumed)
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.matrix, other.matrix) and one.key == other.key
    assert not list((tmp_path / "cut").glob("*.partial.*"))


def test_what_is_known_is_not_computed_again(models, rows, tmp_path, monkeypatch):
    model = models("gpt2")
    (first,) = second_moments(model, rows, [1], folder=tmp_path)
    module._recent.clear()
    monkeypatch.setattr(module, "layer_keys", None)
    (again,) = second_moments(model, rows, [1], folder=tmp_path)
    assert torch.equal(first.matrix, again.matrix) and first.tokens == again.tokens
    assert first.seconds == again.seconds and again.seconds is not None
    (memory,) = second_moments(model, rows, [1])
    assert memory is again


def test_the_digest_covers_model_layer_and_text_but_no_edit(models, rows):
    model = copy.deepcopy(models("gpt2"))
    paths = module_paths_of(model)

    def keys(model=model, rows=rows):
        return moment_keys(model, TextPart.of(rows), (0, 1), paths)

    before = keys()
    assert before == keys(copy.deepcopy(model), list(rows)) and before[0] != before[1]
    assert not set(before.values()) & set(keys(rows=rows[:-1]).values())
    with torch.no_grad():
        # what editors change: the second moment is meant to be that of the unedited model
        model.get_submodule(paths.down(0)).weight[0, 0] += 1
        assert keys() == before
        model.get_submodule(paths.up(1)).weight[0, 0] += 1
        assert keys()[0] == before[0] and keys()[1] != before[1]
        model.get_submodule(paths.up(0)).weight[0, 0] += 1
        assert not set(before.values()) & set(keys().values())


def test_parts_of_a_text_join_to_the_moment_of_the_whole(models, rows):
    model = models("llama")
    one, other = (second_moments(model, part, [0])[0] for part in (rows[:5], rows[5:]))
    (whole,) = second_moments(model, rows, [0])
    joined = one.joined(other)
    assert joined.tokens == whole.tokens
    torch.testing.assert_close(joined.matrix, whole.matrix, rtol=1e-5, atol=1e-7)
    values = torch.linalg.eigvalsh(whole.regularised(1e-3))
    found = whole.condition(1e-3)
    assert found == pytest.approx(float(values[-1] / values[0]), rel=0.2)


def settled(model, tokenizer, source, limit=64, layers=(0, 1), **options):
    rows = source.rows(model, tokenizer, "model")
    return settled_moments(model, rows, layers, tokens_per_key=(2, limit), ridge=1e-9, **options)


def test_text_is_read_until_the_condition_number_has_settled(models, tokenizer):
    model = models("llama")  # d_mlp is 64
    rng = random.Random(0)
    words = [tokenizer.decode([number]) for number in range(60, 400)]
    texts = [" ".join(rng.sample(words, 6)) for _ in range(400)]
    few = settled(model, tokenizer, TextSource(texts), limit=2)
    many = settled(model, tokenizer, TextSource(texts))
    assert 128 <= few[0].tokens < 250 < many[0].tokens
    for before, after in zip(few, many, strict=True):
        assert before.condition(1e-9) > module.SETTLED * after.condition(1e-9)
    # a text that ends before is taken as it is
    short = settled(model, tokenizer, TextSource(texts[:10]))
    assert short[0].tokens < many[0].tokens


def test_second_moments_of_a_model_stay_those_of_the_unedited_one(models, tokenizer, monkeypatch):
    model, source = copy.deepcopy(models("llama")), TextSource(corpus())
    first = settled(model, tokenizer, source)
    with torch.no_grad():
        model.get_submodule(module_paths_of(model).down(0)).weight.add_(1.0)
    monkeypatch.setattr(module, "second_moments", None)
    assert settled(model, tokenizer, source) is first


def test_text_that_the_model_writes_is_not_written_again(models, tokenizer, tmp_path, monkeypatch):
    model = models("gpt2")
    first = settled(model, tokenizer, TextSource(None), limit=4, folder=tmp_path)
    module._recent.clear()
    module._settled.clear()
    monkeypatch.setattr("errata.editors.shared.corpus.generated_texts", None)
    again = settled(model, tokenizer, TextSource(None), limit=4, folder=tmp_path)
    assert all(torch.equal(a.matrix, b.matrix) for a, b in zip(first, again, strict=True))


def test_a_damaged_file_is_told(models, rows, tmp_path):
    (moment,) = second_moments(models("gpt2"), rows, [0], folder=tmp_path)
    module._recent.clear()
    (path,) = tmp_path.iterdir()
    assert path.stem == moment.key
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="delete the file"):
        second_moments(models("gpt2"), rows, [0], folder=tmp_path)


def test_no_hook_is_left_behind(models, rows):
    model = models("opt")
    down = model.get_submodule(module_paths_of(model).down(0))
    layer_keys(model, rows, [0], module_paths_of(model))
    assert not down._forward_pre_hooks


def test_text_files_are_read_by_paragraph(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n \nthree\n", "utf-8")
    (tmp_path / "b.txt").write_text("黑色", "utf-8")
    assert list(text_files([tmp_path / "a.txt", tmp_path / "b.txt"])) == [
        "one\ntwo",
        "three",
        "黑色",
    ]
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(EditError, match=r"c\.txt"):
        list(text_files([tmp_path / "c.txt"]))
    with pytest.raises(EditError, match=r"d\.txt"):
        list(text_files([tmp_path / "d.txt"]))


def test_text_is_read_no_further_than_needed(tokenizer):
    def texts():
        yield "Astana Kazakhstan Paris France"
        yield "Oslo"
        raise AssertionError("read too far")

    rows = token_rows(tokenizer, texts(), tokens=5, width=3)
    assert sum(map(len, rows)) >= 5 and max(map(len, rows)) == 3
    with pytest.raises(EditError, match="give more text"):
        token_rows(tokenizer, [], tokens=5, width=3)


def test_a_missing_package_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"errata\[datasets\]"):
        next(dataset_texts("wikitext"))


def test_a_model_writes_its_own_text_and_the_random_state_stays(family, models, tokenizer):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    texts = generated_texts(models(family), tokenizer, length=6, seed=1, rows=4)
    first = [next(texts) for _ in range(5)]
    assert torch.equal(torch.get_rng_state(), before)
    again = generated_texts(models(family), tokenizer, length=6, seed=1, rows=4)
    assert first == [next(again) for _ in range(5)] and len(set(first)) > 1
