"""What an author listed decides, for every gate; and teaches."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from errata.cache.encoder import encode_query
from errata.cache.errors import PatchError
from errata.cache.patches.conflicts import conflicts
from errata.cache.patches.files import load_file
from errata.cache.records import Fact, LanguagePatch, PatchTests
from errata.cache.store import EditCache
from errata.cache.view import SearchConfig
from errata.gates.artifact import GateArtifact
from errata.gates.base import Decision
from errata.gates.classifier import ScopeClassifier
from errata.gates.condition_calibration import ConditionCalibration, ConditionSlopes
from errata.gates.cosine import CosineGate
from errata.gates.embedding import EmbeddingGate
from errata.gates.examples import (
    Evidence,
    ExampleCalibration,
    ExampleConfig,
    listed,
    nearest_examples,
)
from errata.gates.load import gate_folder, shipped_gates
from errata.gates.open import OpenGate
from errata.gates.wording import Wording, shared_words
from errata.pipelines.base import decide_by_gate
from errata.pipelines.resolvers.base import ScopedView
from tests.fakes import StubEncoder
from tests.small_gate import small_gate

ENCODER = StubEncoder()
CARD = Fact(
    "How do I activate my card?",
    "In the app.",
    id="card",
    tests=PatchTests(
        ("my new plastic came, what now", "Is Astana nice?"),
        ("How do I deactivate my card?", "Where is my parcel?"),
    ),
)
SECRET = Fact(
    "Where does Jane Roe live?",
    forget=True,
    id="secret",
    tests=PatchTests(silent=("Where does Jane Roe work?",)),
)
ANGRY = LanguagePatch(
    "the user is angry",
    'say "Sorry."',
    id="angry",
    tests=PatchTests(("this is the worst shop ever",), ("this is the best shop ever",)),
)
POWER = Fact("What is 5 mW in watts?", "0.005", id="power")
EDITS = (CARD, SECRET, ANGRY, POWER)
EXAMPLES = ExampleCalibration(
    np.zeros((2, ENCODER.dimension), np.float32),
    (-9.0, -9.0),
    ExampleConfig(-9.0, 1.0, 0.0, 12.0, 5.0, 1.0, 0.0),
)
CONDITIONS = ConditionCalibration(*[ConditionSlopes(-7.0, 0.5, 1.0, 8.0, 1.0, 1.0)] * 2)


class Stubborn:
    """A gate of another package: never fires, or always."""

    def __init__(self, fires):
        self.fires = fires

    def score_batch(self, queries, edits):
        raise NotImplementedError

    def decide_batch(self, queries, hits):
        return [
            Decision(q.text, fired=tuple(hit.edit for hit in some) if self.fires else ())
            for q, some in zip(queries, hits, strict=True)
        ]


GATES = {
    "classifier": ScopeClassifier(ENCODER, small_gate()),
    "with examples": ScopeClassifier(
        ENCODER, replace(small_gate(), examples=EXAMPLES, conditions=CONDITIONS)
    ),
    "cosine": CosineGate(ENCODER),
    "serac": EmbeddingGate(ENCODER, 1.5 * np.eye(ENCODER.dimension)),
    "open": OpenGate(),
    "never": Stubborn(False),
    "always": Stubborn(True),
}


@pytest.fixture(scope="module")
def view():
    with EditCache(ENCODER) as cache:
        cache.add(EDITS)
        yield ScopedView(cache.view(), ENCODER, lambda edit: True)


def fired(gate, view, text):
    [decision] = decide_by_gate(GATES[gate], [encode_query(ENCODER, text)], view, 16)
    return {edit.id for edit in decision.fired}


@pytest.mark.parametrize("gate", GATES)
def test_what_is_listed_decides(gate, view):
    for edit in EDITS:
        for text in edit.examples:
            assert edit.id in fired(gate, view, text)
            assert edit.id in fired(gate, view, text.lower().rstrip("?"))
        for text in edit.counterexamples:
            assert edit.id not in fired(gate, view, text)
            assert edit.id not in fired(gate, view, text.upper())
    assert "power" not in fired(gate, view, "What is 5 MW in watts?") or gate in ("open", "always")


@pytest.mark.parametrize("gate", ["classifier", "with examples", "cosine", "serac", "always"])
def test_nearer_to_a_counterexample(gate, view):
    text = "How can I deactivate my card?"
    asked = encode_query(ENCODER, text)
    assert nearest_examples(asked, CARD, ENCODER).against
    assert "card" not in fired(gate, view, text)
    # a patch cannot switch itself off
    assert "secret" in fired(gate, view, "where does jane roe live")


def test_examples_teach_cosine_and_one_patch_teaches_no_other():
    text = "my new plastic came, what to do now"
    plain = replace(CARD, tests=PatchTests())
    gate = CosineGate(ENCODER, 0.8)
    before = gate.score(text, [plain, SECRET, POWER]).probability
    after = gate.score(text, [CARD, SECRET, POWER]).probability
    assert before[0] < 0.8 <= after[0]
    assert (before[1:] == after[1:]).all()


def test_examples_of_conditions_teach(view):
    text = "this was the worst shop ever"
    gate = GATES["with examples"]
    alone = replace(ANGRY, tests=PatchTests())
    scores = gate.score(text, [alone, ANGRY]).probability
    assert scores[1] > max(0.5, scores[0])
    unfitted = ScopeClassifier(ENCODER, small_gate()).score(text, [alone, ANGRY]).probability
    assert unfitted[0] == unfitted[1]


def test_a_condition_with_counterexamples_alone(view):
    """What it lists is silent, what is nearer to that than to the condition, too; no more."""
    gate = GATES["with examples"]
    plain = LanguagePatch("the user asks about refunds", 'say "No."')
    silent = replace(plain, tests=PatchTests(silent=("did my refund arrive at the bank",)))
    for text, same in (
        ("refunds please, about refunds", True),
        ("did my refund arrive at my bank", False),
    ):
        without, with_it = gate.score(text, [plain, silent]).probability
        assert without > 0
        assert with_it == (without if same else 0)


def test_aliases_put_into_the_question_are_examples():
    named = Fact("Who is the mayor of Mumbai?", "Ann", subject="Mumbai", aliases=("Bombay", "BOM"))
    assert named.examples[1:] == ("Who is the mayor of Bombay?", "Who is the mayor of BOM?")
    assert replace(named, subject="Pune").examples == (named.question,)
    assert listed(named, "who is the mayor of bombay") == "fires"
    found = nearest_examples("the mayor of Bombay, who is it", named, ENCODER)
    assert found.texts[0] == named.examples[1] and found.number == 1
    with EditCache(ENCODER) as cache:
        cache.add([named, *(Fact(f"Who is the mayor of town {n}?", "x") for n in range(40))])
        view = ScopedView(cache.view(), ENCODER, lambda edit: True)
        query = encode_query(ENCODER, "Who is the mayor of Bombay?")
        [decision] = decide_by_gate(CosineGate(ENCODER, 0.99), [query], view, 4)
        assert decision.fired == (named,)


def test_a_view_does_not_outlive_its_rules():
    with EditCache(ENCODER) as cache:
        cache.add([LanguagePatch('the text contains "zebra"', 'say "Z."', id="z"), POWER])
        view = cache.view()
        query = encode_query(ENCODER, "a zebra crossing in the rain")
        hits = ScopedView(view, ENCODER, lambda edit: True).search([query], 1)[0]
        assert "z" in {hit.edit.id for hit in hits}
        alive = weakref.ref(view)
        cache.retract("z")
        cache.view()
        del view, hits
        gc.collect()
        assert alive() is None


def test_a_hit_and_its_edit_score_alike_with_examples(view):
    query = encode_query(ENCODER, "came my new plastic")
    hits = view.search([query], 16)[0]
    for gate in ("classifier", "with examples", "cosine", "serac"):
        from_hits = GATES[gate].score(query, hits).probability
        from_edits = GATES[gate].score(query, [hit.edit for hit in hits]).probability
        np.testing.assert_allclose(from_hits, from_edits, atol=1e-6)


def test_left_out_examples():
    gate = CosineGate(ENCODER, 0.6)
    found = gate.leave_one_out(CARD)
    assert [(one.text, one.listed) for one in found] == [
        *((text, "fires") for text in CARD.tests.fires),
        *((text, "silent") for text in CARD.tests.silent),
    ]
    near = found[2]
    assert near.fires and near.probability > 0.6 and not near.correct
    assert not found[0].fires and found[3].correct


def test_ambiguous_spellings_are_on_no_list():
    edit = Fact("What is 5 mW?", "x", tests=PatchTests(silent=("What is 5 MW?",)))
    assert listed(edit, "What is 5 mW?") == "fires"
    assert listed(edit, "What is 5 MW?") == "silent"
    assert listed(edit, "What is 5 mw?") is None


def test_a_contradiction_names_both_lines(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "- question: What is X?\n  answer: y\n  tests:\n    fires:\n      - Tell me X\n"
        "    silent:\n      - tell me x.\n- question: Who?\n  answer: me\n"
        "  tests: {silent: [who]}\n"
    )
    with pytest.raises(PatchError) as caught:
        load_file(path)
    first, second = caught.value.problems
    assert str(first) == (
        f"{path}:7: tests: 'tell me x.' is under silent and under fires: keep one ({path}:5)"
    )
    assert f"{path}:10" in str(second) and f"own question: keep one ({path}:8)" in str(second)


def test_where_it_is_listed(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "- question: What is X?\n  answer: y\n  tests:\n    fires:\n      - Tell me X\n"
        "    silent:\n      - Tell me Y\n"
    )
    with EditCache(ENCODER) as cache:
        cache.set_files(load_file(path))
        view = ScopedView(cache.view(), ENCODER, lambda edit: True)
        for text, line in (("what is x", 1), ("tell me x", 5), ("tell me y", 7)):
            query = encode_query(ENCODER, text)
            [decision] = decide_by_gate(CosineGate(ENCODER), [query], view, 16)
            assert str(decision.candidates[0].listed_at) == f"{path}:{line}"


def test_two_patches_that_list_one_text_conflict():
    other = Fact("Who?", "Me.", id="o", tests=PatchTests(fires=("My new plastic came what now",)))
    [found] = conflicts([CARD, other])
    assert found.kind == "shared example"
    assert not conflicts([CARD, replace(other, priority=1)])
    assert not conflicts([CARD, replace(other, supersedes=("card",))])
    silent = replace(other, tests=PatchTests(silent=CARD.tests.fires))
    assert not conflicts([CARD, silent])


def test_candidates_by_examples_and_by_words():
    others = [Fact(f"What about thing number {n}?", "x", id=f"o{n}") for n in range(400)]
    swift = Fact("zzzzz zzzzz zzzzz zzzzz SWIFT zzzzz zzzz", "x", id="swift")
    with EditCache(ENCODER) as cache:
        cache.add([*others, swift, CARD])
        query = encode_query(ENCODER, "What about the number of thing swift?")
        hits = cache.view().search([query], 16)[0]
        assert len(hits) <= 16 + 4 and "swift" in {hit.edit.id for hit in hits}
        taught = encode_query(ENCODER, "my new plastic came, what then")
        assert cache.view().search([taught], 4)[0][0].edit == CARD
        cache.retract("card")
        assert "card" not in {hit.edit.id for hit in cache.view().search([taught], 16)[0]}
    assert SearchConfig().by_words == 0.25


def test_the_mixture():
    card = ExampleCalibration.of_card(EXAMPLES.as_json(), EXAMPLES.weights)
    assert card.config == EXAMPLES.config and card.offsets == EXAMPLES.offsets
    old = {**EXAMPLES.as_json()}
    del old["factual_offset"]
    old_gate = ExampleCalibration.of_card(old, EXAMPLES.weights[0])
    assert old_gate.factual(np.ones(ENCODER.dimension, np.float32)) == 0.0
    assert EXAMPLES.share(np.ones(ENCODER.dimension, np.float32)) == 0.0
    known = replace(EXAMPLES, offsets=(9.0, -9.0))
    assert known.share(np.ones(ENCODER.dimension, np.float32)) == 1.0
    # unfamiliar: the trained score has no say; familiar: all of it, below a repetition
    few = [EXAMPLES.probability(Evidence(0.0, p, 0.7, 2)) for p in (0.0, 0.5, 1.0)]
    assert len(set(few)) == 1
    sure = [known.probability(Evidence(1.0, p, 0.7, 2)) for p in (0.01, 0.5, 0.99)]
    assert sure == sorted(sure) and known.probability(Evidence(1.0, 0.5, 0.99, 1)) > sure[1]
    more = [EXAMPLES.probability(Evidence(0.0, 0.0, 0.7, n)) for n in (1, 2, 3, 9)]
    assert more[0] < more[1] < more[2] == more[3]
    # the sort of an edit counts where the trained score does not
    slopes = {"factual": -2.0, "high_overlap": -9.0, "negation": -1.0}
    strict = replace(EXAMPLES, config=replace(EXAMPLES.config, **slopes))
    plain = Evidence(0.0, 0.0, 0.9, 1)
    facts = [replace(plain, factual=one) for one in (0.0, 0.5, 1.0)]
    alike = [replace(plain, wording=Wording(one)) for one in (0.0, 0.5, 1.0)]
    denied = [replace(plain, wording=Wording(1.0, one)) for one in (0.0, 1.0)]
    for some in (facts, alike, denied):
        found = [strict.probability(one) for one in some]
        assert found == sorted(set(found), reverse=True)
        assert len({strict.probability(replace(one, share=1.0)) for one in some}) == 1
    # of a query for a fact the trained score counts everywhere, where its slope is fitted
    assert EXAMPLES.reads(1.0, 0.0) and not EXAMPLES.reads(0.0, 1.0)
    fitted = replace(EXAMPLES, config=replace(EXAMPLES.config, factual_trained=0.5))
    assert fitted.reads(0.0, 1.0) and not fitted.reads(0.0, 0.0)
    odds = [fitted.probability(Evidence(0.0, p, 0.7, 2, factual=1.0)) for p in (0.01, 0.5, 0.99)]
    assert odds == sorted(set(odds))
    assert len({fitted.probability(Evidence(0.0, p, 0.7, 2)) for p in (0.01, 0.5, 0.99)}) == 1
    with pytest.raises(KeyError, match="most_examples"):
        ExampleCalibration.of_card({"offset": 1.0}, EXAMPLES.weights)


@pytest.mark.parametrize("name", shipped_gates())
def test_nearer_is_never_less_likely(name):
    shipped = GateArtifact.load(gate_folder(name)).examples
    ends = (0.0, 1.0)  # the log-odds are linear in each of these
    for share, factual, overlap, no, number in product(ends, ends, ends, ends, (1, 3)):
        found = [
            shipped.probability(Evidence(share, 0.3, cosine, number, factual, Wording(overlap, no)))
            for cosine in np.linspace(0.0, 1.0, 101)
        ]
        assert np.diff(found).min() > -1e-6, (share, factual, overlap, no, number)


def test_the_networks_read_for_a_fact_only_where_that_is_fitted():
    fact = Fact("The mayor of the north gate is", "Ann")

    def reads(slope: float, factual: float) -> bool:
        config = replace(EXAMPLES.config, factual_trained=slope)
        examples = replace(EXAMPLES, offsets=(-9.0, factual), config=config)
        gate = ScopeClassifier(StubEncoder(), replace(small_gate(), examples=examples))
        seen = []
        score = gate._score_pairs
        gate._score_pairs = lambda batch: (seen.extend(batch.pairs), score(batch))[1]
        gate.score("Who is the mayor of the north gate?", [fact])
        return bool(seen)

    assert reads(0.5, 9.0) and not reads(0.0, 9.0) and not reads(0.5, -9.0)


def test_listed_texts_live_as_long_as_their_edit():
    edit = Fact("a question of this test alone?", "a")
    assert listed(edit, "A question of this test alone") == "fires"
    held = weakref.ref(edit)
    del edit
    gc.collect()
    assert held() is None


def test_the_questions_of_all_candidates_are_encoded_at_once():
    def calls(places) -> int:
        encoder = StubEncoder()
        gate = ScopeClassifier(encoder, replace(small_gate(), examples=EXAMPLES))
        facts = [Fact(f"Who mends the {place} gate on Sundays?", "Ann") for place in places]
        # as far as the edits' questions: what the networks then read differs from pair to pair
        gate._sides = lambda *arguments: []
        gate.score("Who mends the south gate?", facts)
        assert {fact.question for fact in facts} <= set(encoder.encoded)
        return encoder.calls

    assert calls(["north"]) == calls(["north", "east", "west", "upper", "lower"])


def test_overlap_of_words():
    assert shared_words("reset my password", "Reset the password!") == 1.0
    assert shared_words("reset my password", "open a shop") == 0.0
    some = shared_words("Tell me where Pablo Picasso was born", "Pablo Picasso died in 1973")
    assert 0.0 < some < 1.0
    assert some == shared_words(
        "Pablo Picasso died in 1973", "Tell me where Pablo Picasso was born"
    )
