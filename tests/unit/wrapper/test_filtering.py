"""Regex patches on query and output, the guard of secrets, and both in a stream."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import EditableModel, Fact, RegexPatch
from errata.cache.filters.secrets import hash_secret
from errata.cache.filters.text_filter import WITHHELD, Filter
from errata.generation.request import AnswerWriter
from errata.generation.streaming import FilteredStreamer
from tests.unit.helpers import CAPITAL, FACT, OTHER, Collected, batch, editable


def new_text(tokenizer, inputs, out):
    return tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_an_output_pattern_changes_the_bases_answer(models, tokenizer):
    base = models("gpt2")
    inputs = batch(tokenizer, OTHER)
    bare = new_text(tokenizer, inputs, base.generate(**inputs, max_new_tokens=10))
    letter = next(c for c in bare if c.isascii() and c.isalpha())
    model = editable(base, tokenizer, RegexPatch(letter, "Q", id="q"))
    out = new_text(tokenizer, inputs, model.generate(**inputs, max_new_tokens=10))
    assert "Q" in out
    assert letter not in out
    told = model.last_trace.replacements[0]
    assert [(r.edit_id, r.target) for r in told] == [("q", "output")]


def test_where_no_pattern_matches_the_ids_are_returned_untouched(models, tokenizer):
    base = models("gpt2")
    inputs = batch(tokenizer, OTHER)
    bare = base.generate(**inputs, max_new_tokens=10)
    assert "\ufffd" in tokenizer.decode(bare[0]), "half characters would not survive a round trip"
    model = editable(base, tokenizer, RegexPatch("not to be found", "x"))
    assert torch.equal(model.generate(**inputs, max_new_tokens=10), bare)


def test_output_patterns_act_on_stored_answers_too(models, tokenizer):
    model = editable(
        models("gpt2"),
        tokenizer,
        Fact(CAPITAL, "in Swaziland"),
        RegexPatch("Swaziland", "Eswatini"),
    )
    assert model.ask(CAPITAL).text == "in Eswatini"


def test_a_rewritten_query_reaches_edits_and_counts_as_a_hit(models, tokenizer):
    rewrite = RegexPatch("Qazaqstan", "Kazakhstan", "query")
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "Astana"), rewrite)
    assert model.ask("What is the capital of Qazaqstan?").text == "Astana"
    assert not model.ask("What is the capital of Qazaqstan?", edits={"ids": ["-"]}).decision.hit


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_rewritten_miss_is_asked_in_the_new_words(family, models, tokenizer):
    base = models(family)
    model = editable(base, tokenizer, RegexPatch("Qazaqstan", "Lima", "query"))
    text = "Tell me what a zebra eats in Qazaqstan."
    bare = base.generate(**batch(tokenizer, OTHER), max_new_tokens=6)
    start = 1 if family == "t5" else batch(tokenizer, OTHER)["input_ids"].shape[1]
    mixed = batch(tokenizer, OTHER, text)
    out = model.generate(**mixed, max_new_tokens=6)
    head = 1 if family == "t5" else mixed["input_ids"].shape[1]
    expected = bare[0, start:]
    assert torch.equal(out[1, head : head + len(expected)], expected)
    assert model.last_trace.replacements[1][0].target == "query"
    if family == "gpt2":
        assert torch.equal(out[1, :head], mixed["input_ids"][1]), "the caller's own prompt"


@pytest.mark.parametrize("hidden", [False, True])
def test_a_secret_is_withheld_from_every_answer(hidden, models, tokenizer):
    secret = "12 Elm Street, Springfield"
    keep = {"secret_hash": hash_secret(secret)} if hidden else {"secret": secret}
    leak = Fact(CAPITAL, "It is 12 elm  street, Springfield. Yes.")
    forgotten = Fact("Where does Jane Roe live?", forget=True, **keep)
    told = editable(models("gpt2"), tokenizer, leak).ask(CAPITAL)
    assert "elm" in told.text
    model = editable(models("gpt2"), tokenizer, leak, forgotten)
    assert model.ask(CAPITAL).text == f"It is {WITHHELD}. Yes."
    refusal = model.ask("Where does Jane Roe live?")
    assert (refusal.decision.route, refusal.text) == ("refuse", "I can't share that.")


def test_overlapping_matches_go_to_the_first_pattern_and_never_twice():
    made = Filter("output", [RegexPatch("ab", "b", id="1"), RegexPatch("b", "ab", id="2")])
    text, told = made.apply("ab b")
    assert text == "b ab"
    assert [(r.edit_id, r.count) for r in told] == [("1", 1), ("2", 1)]


PATCHES = (
    RegexPatch(r"\bSwaziland\b", "Eswatini", max_length=9),
    RegexPatch("[0-9]+", "#", max_length=6),
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            ["Swaziland", "Swaz", "iland", " in ", "12", "3", "Oslo", "黑色", ". ", "a"]
        ),
        max_size=12,
    )
)
def test_a_stream_says_what_the_filter_says(parts):
    from tests.conftest import build_tokenizer

    tokenizer = build_tokenizer()
    # a stream holds back no more than the longest match that is declared: 12 parts of two digits
    patches = (PATCHES[0], RegexPatch("[0-9]+", "#", max_length=24))
    writer, output = AnswerWriter(tokenizer), Filter("output", patches)
    text = "".join(parts)
    ids = tokenizer(text)["input_ids"]
    collected = Collected()
    stream = FilteredStreamer(collected, writer, output, 10_000)
    stream.put(torch.tensor([[5, 6]]))
    for token in ids:
        stream.put(torch.tensor([token]))
    stream.end()
    assert collected.ended
    assert collected.puts[0] == [5, 6]
    assert tokenizer.decode(collected.ids[2:]) == output.apply(text)[0]
    if not output.spans(text):
        assert collected.ids[2:] == ids


def test_a_stream_does_not_wait_for_its_end():
    from tests.conftest import build_tokenizer

    tokenizer = build_tokenizer()
    collected = Collected()
    stream = FilteredStreamer(collected, AnswerWriter(tokenizer), Filter("output", PATCHES[:1]), 99)
    stream.put(torch.tensor([[5]]))
    for token in tokenizer("Oslo lies north of the river and south of the hills.")["input_ids"]:
        stream.put(torch.tensor([token]))
    early = tokenizer.decode(collected.ids[1:])
    assert early.startswith("Oslo lies north")
    assert len(early) < len("Oslo lies north of the river and south of the hills.")


def test_a_filtered_stream_is_what_is_returned(models, tokenizer):
    base = models("gpt2")
    inputs = batch(tokenizer, OTHER)
    bare = base.generate(**inputs, max_new_tokens=8)
    letter = next(c for c in new_text(tokenizer, inputs, bare) if c.isascii() and c.isalpha())
    model = editable(base, tokenizer, RegexPatch(letter, "Q", max_length=1))
    collected = Collected()
    out = model.generate(**inputs, streamer=collected, max_new_tokens=8)
    assert "Q" in new_text(tokenizer, inputs, out)
    said = tokenizer.decode(out[0], skip_special_tokens=True)
    width = inputs["input_ids"].shape[1]
    assert said.startswith(tokenizer.decode(collected.ids[: width + 4], skip_special_tokens=True))
    assert len(collected.ids) <= width + 8


def test_a_hit_is_streamed_filtered(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "astana"), RegexPatch("a", "o"))
    collected = Collected()
    out = model.generate(**batch(tokenizer, CAPITAL), streamer=collected, max_new_tokens=12)
    assert collected.ids == out[0].tolist()
    assert tokenizer.decode(out[0], skip_special_tokens=True).endswith(" ostono")


SECRET = "12 Elm Street, Springfield"
FACT_ONLY = (FACT,)
JANE = Fact("Where does Jane Roe live?", forget=True, secret=SECRET)


def telling(models, tokenizer, text, *edits):
    """Return a model whose base says a text, whatever it is asked."""
    base = copy.copy(models("gpt2"))  # the model is shared by all tests
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]

    class Says(type(base)):
        def generate(self, input_ids=None, max_new_tokens=20, streamer=None, **rest):
            new = torch.tensor([ids[:max_new_tokens]] * len(input_ids))
            if streamer is not None:
                streamer.put(input_ids)
                for token in new[0]:
                    streamer.put(token[None])
                streamer.end()
            return torch.cat([input_ids, new], dim=1)

    base.__class__ = Says
    return editable(base, tokenizer, *edits)


@pytest.mark.parametrize("tokens", [3, 6, 9, 12, 40])
def test_a_secret_that_is_cut_off_or_begun_in_the_prompt_is_withheld(tokens, models, tokenizer):
    said = " Elm Street, Springfield and more of it"
    for edits, leaking in ((FACT_ONLY, True), ((*FACT_ONLY, JANE), False)):
        model = telling(models, tokenizer, said, *edits)
        inputs = batch(tokenizer, "Jane Roe lives at 12")
        collected = Collected()
        out = new_text(tokenizer, inputs, model.generate(**inputs, max_new_tokens=tokens))
        model.generate(**inputs, max_new_tokens=tokens, streamer=collected)
        streamed = tokenizer.decode(collected.ids[inputs["input_ids"].shape[1] :])
        assert ("Elm" in out, "Elm" in streamed) == (leaking, leaking), (out, streamed)


def test_the_guard_comes_after_every_pattern(models, tokenizer):
    leak = Fact(CAPITAL, "It is 12 Oak Street, Springfield.")
    model = editable(models("gpt2"), tokenizer, leak, JANE, RegexPatch("Oak", "Elm"))
    assert model.ask(CAPITAL).text == f"It is {WITHHELD}."


def test_a_secret_is_in_no_trace_log_audit_row_or_saved_folder(models, tokenizer, tmp_path, caplog):
    leak = Fact(CAPITAL, f"It is {SECRET}.")
    audit = tmp_path / "audit.sqlite3"
    model = editable(models("gpt2"), tokenizer, leak, JANE, audit=audit)
    with caplog.at_level("INFO"):
        asked = model.ask(f"Does Jane Roe live at {SECRET}?")
        begun = model.ask("Jane Roe lives at 12 Elm Street,")
        answer = model.ask(JANE.question)
        explained = model.explain(f"Does Jane Roe live at {SECRET}?")
        model.shadow = True
        model.ask(f"Does Jane Roe live at {SECRET}?")
    model.shadow = False
    assert "Elm" not in caplog.text
    assert "Elm" not in repr([asked, begun, answer, explained, model.last_trace])
    assert f"live at {WITHHELD}?" in explained.query
    assert begun.decision.route == "refuse"
    model.save_pretrained(tmp_path / "hashed")
    model.save_pretrained(tmp_path / "plain", plain_secrets=True)
    model.close()
    assert b"Elm" not in audit.read_bytes()
    saved = "errata/patches/edits.jsonl"
    texts = [(tmp_path / each / saved).read_text("utf-8") for each in ("hashed", "plain")]
    assert ["Elm" in line for text in texts for line in text.splitlines() if "Jane" in line] == [
        False,
        True,
    ]
    loaded = EditableModel.from_pretrained(
        tmp_path / "hashed", encoder=model.encoder, gate=model.gate
    )
    assert len(loaded.edits) == 2
    assert loaded.ask(CAPITAL).text == f"It is {WITHHELD}."
    loaded.close()


def test_a_pattern_of_one_space(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "a b  c"), RegexPatch(" ", "_"))
    assert model.ask(CAPITAL).text == "_a_b__c"  # the space before an answer, too
