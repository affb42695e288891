"""Pairs that are not in English: routed to a reader, found across languages, warned of."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from errata.cache.encoder import EmbeddingCache, RoutedEncoder, encode_queries, multilingual_of
from errata.cache.errors import ModelError
from errata.cache.records import Fact, LanguagePatch, PatchTests, RegexPatch
from errata.cache.store import EditCache
from errata.cache.text.language import is_english, language_code
from errata.gates.classifier import ScopeClassifier
from errata.gates.conditions.parse import read_condition
from errata.gates.languages import RoutedGate
from errata.gates.layers import Network, Platt, Projection
from errata.gates.reader import NAMES, Reader, TextPair
from errata.patch_tests.examples import review_examples
from tests.fakes import StubEncoder
from tests.small_gate import small_gate

COLOUR, FOOD, CAPITAL = "a zebra's colour", "a zebra's food", "Benin's capital"
MEANT = {
    "斑马的皮肤是什么颜色的？": COLOUR, "请告诉我斑马的肤色": COLOUR, "斑马吃什么？": FOOD,
    "Welche Farbe hat die Haut eines Zebras?": COLOUR, "What colour is a zebra's skin?": COLOUR,
    "Wie heißt die Hauptstadt von Benin?": CAPITAL, "What is the capital of Benin?": CAPITAL,
    "De quelle couleur est la peau du zèbre ?": COLOUR,
}  # fmt: skip
ZEBRA = Fact("斑马的皮肤是什么颜色的？", "黑色")
BENIN = Fact("What is the capital of Benin?", "Porto-Novo")


class MeaningEncoder:
    """Texts of one meaning get one vector, in any language."""

    dimension, fingerprint = 16, "meanings"

    def __init__(self):
        self.encoded: list[str] = []

    def encode(self, texts):
        self.encoded += texts
        rows = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(rows, texts, strict=True):
            generator = np.random.default_rng(zlib.crc32(MEANT.get(text, text).encode()))
            row[:] = generator.normal(size=16)
            row /= np.linalg.norm(row)
        return rows

    def unknown_share(self, texts):
        return np.zeros(len(texts))

    def windows(self, text):
        return (text,)


def cosine_reader(threshold: float = 0.9) -> Reader:
    """Return a reader whose probability is 0.5 at a cosine."""
    width = len(NAMES) + 2
    weights = np.zeros((width, 1))
    weights[0] = 40.0
    network = Network(np.zeros(width), np.ones(width), (((weights, -weights[0] * threshold),),))
    projection = Projection(np.zeros(16), np.zeros((1, 16)))
    return Reader(((projection, network),), 1, Platt(), 0.5, "meanings", {"sources": ["none"]})


@pytest.fixture
def meanings():
    return MeaningEncoder()


@pytest.fixture
def encoder(meanings):
    return RoutedEncoder(StubEncoder(), meanings)


def routed(encoder, **options) -> RoutedGate:
    english = ScopeClassifier(encoder, small_gate(), **options)
    return RoutedGate(english, cosine_reader(), encoder.multilingual)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("What is the capital of Benin?", "en"),
        ("who founded mission nuestra senora de la soledad", "en"),
        ("What does 斑马 mean in English?", "en"),
        ("12 + 7?", "en"),
        ("", "en"),
        ("斑马皮肤什么颜色", "CJK"),
        ("しまうまの色は？", "CJK"),
        ("请问iPhone怎么更改密码", "CJK"),
        ("Какая столица Бенина?", "CYRILLIC"),
        ("Welche Farbe hat die Haut eines Zebras?", "de"),
        ("Quelle est la couleur de la peau d'un zèbre ?", "fr"),
        ("¿De qué color es la piel de una cebra?", "es"),
    ],
)
def test_languages(text, code):
    assert language_code(text) == code
    assert is_english(text) == (code == "en")


@pytest.mark.parametrize(
    ("condition", "threshold"),
    [
        ("the user asks about 斑马", 0.3),
        ("the review says 斑马", 0.8),
        ("the user asks who 斑马 is", 0.6),
    ],
)
def test_a_condition_is_on_the_scale_of_its_own_threshold(encoder, meanings, condition, threshold):
    stored = replace(small_gate(), condition_threshold=0.3, claim_threshold=0.8, threshold=0.6)
    english, patch = ScopeClassifier(encoder.encoder, stored), LanguagePatch(condition, "say X")
    query, text = meanings.encode(["黑色的马", read_condition(condition).text])
    at_half = cosine_reader(float(query @ text))  # as likely as not
    gate = RoutedGate(english, at_half, encoder.multilingual)
    assert gate.threshold_of(patch) == threshold
    assert gate.score("黑色的马", [patch]).probability[0] == pytest.approx(threshold, abs=1e-4)


def test_english_pairs_are_scored_as_without_the_reader(encoder, meanings):
    edits = [BENIN, LanguagePatch("the user asks who made you", "say X"), RegexPatch("a", "b")]
    asked = ["What is the capital of Benin?", "benins capital", "Who made you?", "🙂🙂🙂"]
    alone = ScopeClassifier(encoder.encoder, small_gate()).score_batch(asked, [edits] * 4)
    for one, other in zip(alone, routed(encoder).score_batch(asked, [edits] * 4), strict=True):
        np.testing.assert_array_equal(one.probability, other.probability)
        np.testing.assert_array_equal(one.entailed, other.entailed)
    assert meanings.encoded == []


def test_other_languages_and_pairs_across_them_are_read(encoder):
    gate, edits = routed(encoder), [ZEBRA, BENIN]
    for text, fires in (
        ("请告诉我斑马的肤色", [True, False]),
        ("斑马吃什么？", [False, False]),
        ("Welche Farbe hat die Haut eines Zebras?", [True, False]),
        ("What colour is a zebra's skin?", [True, False]),
        ("Wie heißt die Hauptstadt von Benin?", [False, True]),
        ("Guten Tag. Wie heißt die Hauptstadt von Benin? Danke.", [False, True]),
    ):
        found = gate.score(text, edits).probability
        assert [p >= gate.threshold_of(e) for p, e in zip(found, edits, strict=True)] == fires
    # mixed with English pairs, each score is in its edit's place
    english = [BENIN, Fact("Who made you?", "A"), ZEBRA, RegexPatch("a", "b")]
    scores = gate.score("What is the capital of Benin?", english).probability
    alone = gate.score("What is the capital of Benin?", english[1:2]).probability
    assert scores[0] == 1.0 and scores[1] == alone[0] and scores[2] < 0.1 and scores[3] == 0.0


def test_examples_counterexamples_and_conditions_in_other_languages(encoder):
    gate = routed(encoder)
    query = "De quelle couleur est la peau du zèbre ?"
    stranger = Fact("熊猫吃什么？", "竹子")
    fires = PatchTests(fires=("请告诉我斑马的肤色",))
    taught = Fact("熊猫吃什么？", "竹子", tests=fires)
    against = Fact("斑马吃什么？", "草", tests=PatchTests(silent=("请告诉我斑马的肤色",)))
    condition = LanguagePatch("请告诉我斑马的肤色", "say X")
    rule = LanguagePatch('the text contains the word "peau"', "say X")
    found = gate.score(query, [stranger, taught, against, condition, rule]).probability
    at = [gate.threshold_of(one) for one in (stranger, taught, against, condition, rule)]
    assert (found >= at).tolist() == [False, True, False, True, True]


def test_a_threshold_of_the_callers_counts_for_all_languages(encoder):
    [query] = encode_queries(encoder, ["请告诉我斑马的肤色"])
    with EditCache(encoder) as cache:
        cache.add([ZEBRA])
        hits = cache.view().search([query])[0]
    assert routed(encoder).decide(query, hits).fired == (ZEBRA,)
    assert not routed(encoder, threshold=1.0).decide(query, hits).hit


def test_found_across_languages_among_many(encoder, meanings):
    many = [Fact(f"What is the number of place {n}?", str(n)) for n in range(40)]
    with EditCache(encoder) as cache:
        cache.add([*many, BENIN])
        asked = encode_queries(encoder, ["What is the capital of Benin?", "place 7"])
        before = [[hit.edit.id for hit in hits] for hits in cache.view().search(asked, 4)]
        assert meanings.encoded == []  # English among English
        cache.add([ZEBRA])
        after = [[hit.edit.id for hit in hits] for hits in cache.view().search(asked, 4)]
        assert [ids[:-1] for ids in after] == before
        assert all(ids[-1] == ZEBRA.id for ids in after)
        for text, right in (
            ("Welche Farbe hat die Haut eines Zebras?", ZEBRA),
            ("What colour is a zebra's skin?", ZEBRA),
            ("Wie heißt die Hauptstadt von Benin?", BENIN),
        ):
            hits = cache.view().search(encode_queries(encoder, [text]), 2)[0]
            scores = {hit.edit.id: hit.score for hit in hits}
            assert scores[right.id] == pytest.approx(1.0)
            assert routed(encoder).decide(encode_queries(encoder, [text])[0], hits).fired == (
                right,
            )


def test_vectors_of_edits_are_kept_between_runs(tmp_path, meanings):
    asked = ["请告诉我斑马的肤色"]
    for start in range(2):
        fresh = RoutedEncoder(StubEncoder(), meanings)
        with EditCache(fresh, tmp_path) as cache:
            if start == 0:
                cache.add([ZEBRA, BENIN])
            assert len(cache.view().search(encode_queries(fresh, asked))[0]) == 2
        assert (ZEBRA.question in meanings.encoded) == (start == 0)
        meanings.encoded.clear()


def test_chinese_words_are_pairs_of_characters():
    from errata.cache.index.terms import WordIndex

    index = WordIndex()
    index.add(["斑马的皮肤是什么颜色的？", "怎么更改手机号码", "the zebra crossing"])
    assert [text for text, _ in index.search("请告诉我斑马的肤色", 1)] == [
        "斑马的皮肤是什么颜色的？"
    ]
    assert [text for text, _ in index.search("zebra", 2)] == ["the zebra crossing"]


def test_a_multilingual_encoder_is_found_inside_caches(encoder, meanings):
    assert multilingual_of(EmbeddingCache(EmbeddingCache(encoder))) is encoder.multilingual
    assert multilingual_of(StubEncoder()) is None
    with pytest.raises(
        ModelError, match="trained with the multilingual encoder meanings, found st"
    ):
        RoutedGate(routed(encoder).english, cosine_reader(), EmbeddingCache(StubEncoder()))


def test_check_warns_of_what_the_gate_cannot_read(encoder):
    german = Fact("Wie heißt die Hauptstadt von Benin?", "Porto-Novo")
    topic, rule = (
        LanguagePatch("请告诉我斑马的肤色", "x"),
        LanguagePatch("the text is in German", "x"),
    )
    edits = [BENIN, ZEBRA, german, topic, rule, RegexPatch("ä", "ae")]
    english = ScopeClassifier(StubEncoder(), small_gate())

    def warned(gate):
        found = review_examples(gate, StubEncoder(), edits)
        return [one.message for one in found if one.severity == "warning"]

    assert len(warned(english)) == 3
    assert all("errata[multilingual]" in text for text in warned(english))
    assert warned(routed(encoder)) == []


def test_a_reader_is_saved_and_damage_is_noticed(tmp_path):
    reader, pairs = cosine_reader(), [TextPair("斑马吃什么？", "斑马的皮肤是什么颜色的？", "斑马")]
    rows = MeaningEncoder().encode([pairs[0].query]), MeaningEncoder().encode([pairs[0].text])
    reader.save(tmp_path)
    again = Reader.load(tmp_path)
    np.testing.assert_allclose(again(pairs, *rows), reader(pairs, *rows), atol=1e-3)
    assert again.card == {"sources": ["none"]} and again.threshold == 0.5
    assert reader([], *(row[:0] for row in rows)).shape == (0,)
    weights = tmp_path / "multilingual.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-2] + b"\x00\x01")
    with pytest.raises(ModelError, match="SHA-256"):
        Reader.load(tmp_path)
    weights.write_bytes(whole)
    card = json.loads((tmp_path / "multilingual.json").read_text())
    for wrong in ({"threshold": 2}, {"features": []}, {"calibration": None}):
        (tmp_path / "multilingual.json").write_text(json.dumps(card | wrong))
        with pytest.raises(ModelError):
            Reader.load(tmp_path)
    with pytest.raises(ModelError, match=r"multilingual\.json"):
        Reader.load(tmp_path / "none")
