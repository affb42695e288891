"""The encoder's contract: the stub's and, with the packaged weights, the real one's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.encoder import SentenceEncoder
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


@pytest.fixture(params=["stub", "sentence"])
def encoder(request):
    return StubEncoder() if request.param == "stub" else request.getfixturevalue("sentence_encoder")


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
