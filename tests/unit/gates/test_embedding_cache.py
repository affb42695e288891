"""What the gate remembers: encodings of edits, whatever was asked since."""

from __future__ import annotations

from collections import Counter

from errata.cache.encoder import EmbeddingCache
from errata.cache.records import Fact
from errata.gates import classifier
from errata.gates.classifier import ScopeClassifier
from tests.fakes import StubEncoder
from tests.small_gate import small_gate


def test_an_edits_texts_are_encoded_once_however_much_is_asked_in_between(monkeypatch):
    monkeypatch.setattr(
        classifier, "EmbeddingCache", lambda encoder, size=4: EmbeddingCache(encoder, size)
    )
    encoder = StubEncoder()
    gate = ScopeClassifier(encoder, small_gate())
    edit = Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan")
    other = Fact("Who wrote Hamlet?", "Marlowe", subject="Hamlet")
    first = gate.score("Which town is the seat of Kazakhstan?", [edit]).probability
    gate.score_batch([f"Who painted picture {i}?" for i in range(20)], [[edit, other]] * 20)
    again = gate.score("Which town is the seat of Kazakhstan?", [edit]).probability
    times = Counter(encoder.encoded)
    assert times[edit.question] == times[other.question] == 1
    assert times["Which town is the seat of Kazakhstan?"] == 2  # a query's is let go
    assert first == again
