"""The shipped gates on one patch's questions in five languages; needs the extra multilingual."""

from __future__ import annotations

import pytest

from errata.cache.encoder import encode_queries
from errata.cache.records import Fact
from errata.cache.store import EditCache
from errata.encoder import load_encoder
from errata.gates.load import load_gate, shipped_gates
from errata.multilingual import is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs the extra multilingual")

ZEBRA = {
    "zh": (
        "斑马的皮肤是什么颜色的？", "斑马",
        ("斑马的皮肤是什么颜色的？", "请告诉我斑马的肤色",
         "剃毛后的斑马是什么颜色", "斑马皮肤什么颜色"),
        ("赤兔马皮肤什么颜色", "斑马喜欢吃什么", "鸵鸟会飞吗"),
    ),
    "en": (
        "What colour is a zebra's skin?", "zebra",
        ("What colour is a zebra's skin?", "Please tell me the skin colour of a zebra.",
         "What colour is a zebra once it is shaved?", "zebra skin colour"),
        ("What colour is a red horse's skin?", "What does a zebra like to eat?",
         "Can an ostrich fly?"),
    ),
    "de": (
        "Welche Farbe hat die Haut eines Zebras?", "Zebra",
        ("Welche Farbe hat die Haut eines Zebras?", "Sag mir bitte die Hautfarbe eines Zebras.",
         "Welche Farbe hat ein rasiertes Zebra?", "Hautfarbe Zebra"),
        ("Welche Farbe hat die Haut eines roten Pferdes?", "Was frisst ein Zebra gern?",
         "Kann ein Strauß fliegen?"),
    ),
    "fr": (
        "De quelle couleur est la peau d'un zèbre ?", "zèbre",
        ("De quelle couleur est la peau d'un zèbre ?", "Dis-moi la couleur de la peau d'un zèbre.",
         "De quelle couleur est un zèbre rasé ?", "couleur de la peau du zèbre"),
        ("De quelle couleur est la peau d'un cheval roux ?", "Qu'est-ce qu'un zèbre aime manger ?",
         "Une autruche peut-elle voler ?"),
    ),
    "es": (
        "¿De qué color es la piel de una cebra?", "cebra",
        ("¿De qué color es la piel de una cebra?", "Dime el color de la piel de una cebra.",
         "¿De qué color es una cebra afeitada?", "color de la piel de la cebra"),
        ("¿De qué color es la piel de un caballo rojo?", "¿Qué le gusta comer a una cebra?",
         "¿Puede volar un avestruz?"),
    ),
}  # fmt: skip
"""By language: the patch's question and subject; what fires it; what does not."""


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(None, None)


@pytest.mark.parametrize("name", shipped_gates())
@pytest.mark.parametrize("language", ZEBRA)
def test_a_patch_in_its_own_language(encoder, name, language):
    question, subject, fires, silent = ZEBRA[language]
    gate = load_gate(name, encoder)
    with EditCache(encoder) as cache:
        cache.add([Fact(question, "an answer", subject=subject)])
        queries = encode_queries(encoder, [*fires, *silent])
        decisions = gate.decide_batch(queries, cache.view().search(queries))
    found = {one.query: one.hit for one in decisions}
    assert found == {text: text in fires for text in (*fires, *silent)}
