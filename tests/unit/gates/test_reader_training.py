"""Training the reader of other languages, small, and its data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from errata.cache.errors import ModelError
from errata.gates.data.encodings import StoredEncoder
from errata.gates.data.languages import (
    parallel_part,
    read_chinese_pairs,
    read_parallel,
    template_questions,
)
from errata.gates.reader import Reader, TextPair
from errata.gates.training.reader import ReaderConfig, ReaderData, train_reader
from errata.gates.training.reader_pairs import template_examples
from tests.fakes import StubEncoder

SMALL = ReaderConfig(
    heads=2, width=8, hidden=8, epochs=1, members=1, english=150, pairs={"lcqmc": 40}, tuned=20
)


@pytest.fixture
def few(monkeypatch):
    """Train on a few templates."""
    kept = {
        part: [q for q in template_questions(part) if q.wording < 2 and q.language in ("en", "de")]
        for part in ("train", "tune")
    }
    monkeypatch.setattr("errata.gates.training.reader.template_questions", kept.__getitem__)


@pytest.fixture
def files(tmp_path):
    parallel, labelled = tmp_path / "parallel.jsonl", tmp_path / "pairs.jsonl"
    rows = [{"en": f"Who owns house {n}?", "de": f"Wem gehört Haus {n}?", "pt_BR": f"Casa {n}?"}
            for n in range(60)]  # fmt: skip
    parallel.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [{"source": "lcqmc", "a": f"第{n}个问题", "b": f"问题{n}是什么", "same": n % 2}
             for n in range(200)]  # fmt: skip
    labelled.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return ReaderData(parallel, labelled)


def test_a_small_reader_is_trained_and_goes_on_where_it_was(few, files, tmp_path):
    encoder = StubEncoder()
    said: list[str] = []
    stored = StoredEncoder(encoder, tmp_path / "encodings.sqlite3", said.append)
    reader = train_reader(stored, files, SMALL, said.append)
    assert 0.5 <= reader.threshold <= 0.999
    assert set(reader.card["tune"]) >= {"facts", "facts, across", "parallel", "lcqmc"}
    assert "pairs.jsonl (SHA-256" in " ".join(reader.card["sources"])
    assert any(text.startswith("encoded") for text in said)
    calls = encoder.calls
    again = train_reader(StoredEncoder(encoder, tmp_path / "encodings.sqlite3"), files, SMALL)
    assert encoder.calls == calls  # nothing is encoded twice
    reader.save(tmp_path / "gate")
    pairs = [TextPair("第1个问题", "问题1是什么")]
    rows = encoder.encode([pairs[0].query]), encoder.encode([pairs[0].text])
    for other in (again, Reader.load(tmp_path / "gate")):
        np.testing.assert_allclose(reader(pairs, *rows), other(pairs, *rows), atol=5e-3)


def test_a_reader_free_of_labelled_pairs_names_none(few, files):
    reader = train_reader(StubEncoder(), ReaderData(files.parallel), SMALL)
    assert "lcqmc" not in reader.card["pairs"]
    assert "pairs.jsonl" not in " ".join(reader.card["sources"])


def test_parts_share_no_question(files):
    parts = {part: template_questions(part) for part in ("train", "tune", "test")}
    assert all(parts.values())
    for one, other in (("train", "test"), ("tune", "test")):
        for name in ("subject", "relation"):
            key = [{(q.kind, getattr(q, name)) for q in parts[part]} for part in (one, other)]
            assert not key[0] & key[1]
    assert not {q.fact for q in parts["train"]} & {q.fact for q in parts["tune"]}
    assert {q.language for q in parts["test"]} == {"en", "zh", "de", "fr", "es"}
    french = {q.text for q in parts["train"] + parts["tune"] + parts["test"] if q.language == "fr"}
    assert "{" not in "".join(french)
    assert any(" du " in text for text in french) and any("d'" in text for text in french)
    chinese = read_chinese_pairs(files.labelled)
    texts = {part: {p.pair.a for p in pairs} for part, pairs in chinese.items()}
    assert not texts["train"] & texts["test"]
    rows = read_parallel(files.parallel)
    assert rows[0]["pt"] == "Casa 0?"
    assert {parallel_part(row) for row in rows} == {"train", "tune", "test"}


def test_pairs_of_templates_are_labelled_by_what_they_ask():
    questions = template_questions("test")
    by_text = {one.text: one for one in questions}
    examples = template_examples(questions, 0)
    for one in examples:
        asked, edit = by_text[one.pair.query], by_text[one.pair.text]
        assert one.same == (asked.fact == edit.fact)
        assert (one.sort == "facts") == (asked.language == edit.language)
    assert {one.same for one in examples} == {True, False}


@pytest.mark.parametrize("row", [{"source": "a", "a": "x", "b": "y", "same": 2}, {"a": "x"}])
def test_malformed_lines_are_named(tmp_path, row):
    path = tmp_path / "wrong.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ModelError, match=r"wrong\.jsonl:1"):
        read_chinese_pairs(path)
    with pytest.raises(ModelError, match=r"wrong\.jsonl:1"):
        read_parallel(path)
