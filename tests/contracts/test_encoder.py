"""The encoder's contract: the stub's and, with the packaged weights, the real one's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import errata.multilingual
from errata.cache.encoder import Encoder, RoutedEncoder
from errata.cache.errors import ModelError
from errata.encoder import SentenceEncoder, load_encoder
from errata.multilingual import MultilingualEncoder, check_weights, is_installed
from tests.fakes import StubEncoder

TEXTS = (
    "What is the capital of Kazakhstan?",
    "zebra",
    "",
    "A far longer text, " + "which goes on and on, " * 20 + "and ends here.",
    "斑马的皮肤是什么颜色的？",
)
LONG = "The first sentence is about Kazakhstan. " * 60


@pytest.fixture(scope="module")
def sentence_encoder():
    return SentenceEncoder(device="cpu")


@pytest.fixture(scope="module")
def multilingual_encoder():
    if not is_installed():
        pytest.skip("needs the extra multilingual")
    return MultilingualEncoder()


@pytest.fixture(params=["stub", "sentence_encoder", "multilingual_encoder", "routed"])
def encoder(request):
    if request.param == "stub":
        return StubEncoder()
    if request.param == "routed":
        return RoutedEncoder(StubEncoder(), StubEncoder(32))
    return request.getfixturevalue(request.param)


def test_is_an_encoder(encoder):
    assert isinstance(encoder, Encoder)


def test_rows_are_float32_and_of_unit_length(encoder):
    rows = encoder.encode(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_the_same_alone_and_in_any_batch(encoder):
    together = encoder.encode(TEXTS)
    if isinstance(encoder, SentenceEncoder):
        encoder = SentenceEncoder(device="cpu", memo_size=0)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_windows(encoder):
    assert encoder.windows("Who made you?") == ("Who made you?",)
    windows = encoder.windows(LONG)
    assert len(windows) > 1
    assert " ".join(" ".join(windows).split()) == " ".join(LONG.split())


def test_meaning_is_near(sentence_encoder):
    rows = sentence_encoder.encode(["a car", "an automobile", "a bowl of soup"])
    assert rows[0] @ rows[1] > 0.6 > rows[0] @ rows[2]


def test_unknown_tokens(sentence_encoder):
    shares = sentence_encoder.unknown_share(["What colour is a zebra's skin?", TEXTS[4], ""])
    assert shares.dtype == np.float64
    assert shares[0] == 0.0 == shares[2]
    assert shares[1] > 0.2


def test_windows_hold_at_most_256_tokens(sentence_encoder):
    words = "unbroken " * 900
    for text in (LONG, words, f"Short. {words} Short again."):
        windows = sentence_encoder.windows(text)
        for window in windows:
            assert sentence_encoder.windows(window) == (window,)
        assert "".join("".join(windows).split()) == "".join(text.split())


def test_remembers_recent_texts(sentence_encoder, monkeypatch):
    encoder = SentenceEncoder(device="cpu", memo_size=2)
    monkeypatch.setattr(encoder, "_loaded", sentence_encoder._model())
    encoded = []
    original = encoder._encode_new
    monkeypatch.setattr(
        encoder, "_encode_new", lambda texts: (encoded.extend(texts), original(texts))[1]
    )
    first = encoder.encode(["a", "b", "a"])
    again = encoder.encode(["b", "a"])
    assert encoded == ["a", "b"]
    np.testing.assert_array_equal(first[1::-1], again)
    encoder.encode(["c"])
    encoder.encode(["b"])
    assert encoded == ["a", "b", "c", "b"]


def test_forgets_when_told(sentence_encoder, monkeypatch):
    first = sentence_encoder.encode(["zebra"])
    made = []
    real = sentence_encoder._encode_new
    monkeypatch.setattr(
        sentence_encoder, "_encode_new", lambda texts: made.append(texts) or real(texts)
    )
    sentence_encoder.encode(["zebra"])
    assert made == []
    sentence_encoder.forget()
    np.testing.assert_allclose(sentence_encoder.encode(["zebra"]), first, atol=1e-5)
    assert made == [["zebra"]]


def test_changing_a_row_does_not_change_what_is_remembered(sentence_encoder):
    rows = sentence_encoder.encode(["zebra"])
    rows[:] = 0.0
    assert np.linalg.norm(sentence_encoder.encode(["zebra"])) == pytest.approx(1.0, abs=1e-5)


def test_one_text_is_no_sequence_of_texts(sentence_encoder):
    with pytest.raises(TypeError, match="sequence of texts"):
        sentence_encoder.encode("zebra")


def test_fingerprint_is_of_the_weights(sentence_encoder, tmp_path):
    assert sentence_encoder.fingerprint == SentenceEncoder().fingerprint
    for name in ("one", "two", "three"):
        (tmp_path / name / "1_Pooling").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_bytes(b"two" if name == "two" else b"one")
        (tmp_path / name / "1_Pooling" / "config.json").write_text('{"mean": true}')
    (tmp_path / "three" / "1_Pooling" / "config.json").write_text('{"mean": false}')
    found = {SentenceEncoder(tmp_path / name).fingerprint for name in ("one", "two", "three")}
    assert len(found) == 3
    assert not any(SentenceEncoder(tmp_path / name)._loaded for name in ("one", "two"))


def test_a_model_that_is_none(tmp_path):
    with pytest.raises(ModelError, match=r"modules\.json"):
        SentenceEncoder(tmp_path, device="cpu").encode(["a"])


def test_importing_it_is_light():
    script = "import sys, errata.encoder, errata.gates; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_meaning_is_near_across_languages(multilingual_encoder):
    rows = multilingual_encoder.encode(
        [
            "斑马的皮肤是什么颜色的？",
            "Welche Farbe hat die Haut eines Zebras?",
            "Wann fährt der Zug?",
        ]
    )
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.02
    assert multilingual_encoder.unknown_share(["斑马"]).tolist() == [0.0]


def test_windows_of_other_languages(multilingual_encoder):
    for text in ("这是一个关于斑马皮肤的句子。" * 60, "斑马" * 400, "Zebrahaut " * 300):
        windows = multilingual_encoder.windows(text)
        assert len(windows) > 1
        assert "".join("".join(windows).split()) == "".join(text.split())
        assert all(multilingual_encoder.windows(window) == (window,) for window in windows)


def test_text_that_c_would_cut_or_refuse(multilingual_encoder):
    rows = multilingual_encoder.encode(["zebra\0 skin", "zebra", "\ud800 half"])
    assert np.isfinite(rows).all()
    assert rows[0] @ rows[1] < 0.999


def test_the_default_encoder_reads_other_languages_where_the_extra_is_installed(monkeypatch):
    monkeypatch.setattr("errata.encoder.is_installed", lambda: True)
    assert isinstance(load_encoder(None, None), RoutedEncoder)
    assert isinstance(load_encoder("a/folder", None), SentenceEncoder)
    monkeypatch.setattr("errata.encoder.is_installed", lambda: False)
    assert isinstance(load_encoder(None, None), SentenceEncoder)


def test_a_missing_or_damaged_multilingual_encoder_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr("errata.multilingual.PACKAGE", "no_such_package")
    monkeypatch.setattr("errata.multilingual._load", errata.multilingual._load.__wrapped__)
    assert not is_installed()
    with pytest.raises(ModelError, match=r"errata\[multilingual\]"):
        MultilingualEncoder().encode(["a"])
    weights = tmp_path / "weights.bin"
    with pytest.raises(ModelError, match="cannot be read"):
        check_weights(weights)
    weights.write_bytes(b"other")
    with pytest.raises(ModelError, match="expected weights of SHA-256 1571fc98"):
        check_weights(weights)
