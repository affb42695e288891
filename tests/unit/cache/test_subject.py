"""Where the subject of a fact stands: in the question, and among the tokens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.cache.errors import EditError, UnsupportedEdit
from errata.cache.text.subject import span_of, subject_of
from errata.editors.shared.prompts import Target, batch_of, cloze_of, forms_of
from errata.editors.shared.subject_tokens import last_token, subject_positions
from tests.conftest import END, build_tokenizer


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("What is the capital of Kazakhstan?", "Kazakhstan"),
        ("Which rivers flow into the Bay of Bengal?", "Bay of Bengal"),
        ("Russia's capital is which city?", "Russia"),
        ("What colour is a zebra's skin?", "zebra"),
        ("What is the chemical symbol for sodium?", "sodium"),
        ("Who wrote 'x'? Who wrote \"The Trial\"?", "The Trial"),
        ("斑马的皮肤是什么颜色的？", "斑马"),
    ],
)
def test_a_subject_is_found(question, subject):
    assert subject_of(Fact(question, "x")) == subject


@pytest.mark.parametrize(
    "question", ["How far does Paris lie from Rome?", "And then what happened?"]
)
def test_without_one_subject_the_edit_is_refused(question):
    fact = Fact(question, "x", id="f1")
    with pytest.raises(UnsupportedEdit, match="add `subject:`") as refused:
        subject_of(fact)
    assert refused.value.edit_id == "f1" and "f1" in str(refused.value)


def test_a_given_subject_counts_and_has_to_be_there():
    assert subject_of(Fact("How far is Paris from Rome?", "x", subject="paris")) == "Paris"
    with pytest.raises(UnsupportedEdit, match="write `subject:` as the question has it"):
        subject_of(Fact("How far is Paris from Rome?", "x", subject="Berlin"))


def test_the_last_mention_counts_and_words_before_parts_of_words():
    assert span_of("Oman", "Is Oman Oman? No, Romania.") == (8, 12)
    assert span_of("oman", "Oman") == (0, 4)
    assert span_of("Oman", "Romania omanian") is not None
    assert span_of("熊猫", "大熊猫的皮肤") == (1, 3)
    assert span_of("Oman", "Peru") is None


NAMES = ("Kazakhstan", "a", "Dr. Weber", "黑色", "12", "São Tomé", "zebra’s")


@settings(deadline=None, max_examples=60)
@given(
    before=st.sampled_from(("", "The ", "斑马", "x.", "What is the capital of ")),
    subject=st.sampled_from(NAMES),
    after=st.sampled_from(("", "?", " is", "的皮肤", "'s capital")),
    start=st.booleans(),
    padding=st.sampled_from(("left", "right", None)),
)
def test_position_holds_under_padding_and_start_tokens(before, subject, after, start, padding):
    tokenizer = with_start() if start else build_tokenizer()
    texts = [
        before + subject + after,
        "A much longer prompt about Kazakhstan, so that others are padded.",
    ]
    options = {} if padding is None else {"padding": True, "padding_side": padding}
    rows, positions = subject_positions(tokenizer, texts, [subject, "prompt"], **options)
    for text, name, row, at in zip(texts, [subject, "prompt"], rows, positions, strict=True):
        end = span_of(name, text)[1]
        # an oracle that knows nothing of offsets: what is decoded up to the token covers the
        # subject, what is decoded up to the one before it does not
        plain = [token for token in row[: at + 1] if token not in special(tokenizer)]
        assert covered(tokenizer, plain, text) >= end
        assert covered(tokenizer, plain[:-1], text) < end


def covered(tokenizer, ids, text):
    """Return how many whole characters of a text some ids spell."""
    raw = b"".join(byte_of(token) for token in tokenizer.convert_ids_to_tokens(ids))
    assert text.encode().startswith(raw)
    return len(raw.decode(errors="ignore"))


def byte_of(token):
    return bytes(BYTES[char] for char in token)


def _bytes():
    """Return the bytes that the letters of byte-level tokens stand for (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


BYTES = _bytes()


def special(tokenizer):
    return set(tokenizer.all_special_ids)


def with_start():
    """Return the tiny tokenizer with a start token before every text."""
    import copy

    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(build_tokenizer())
    pair = [(END, tokenizer.convert_tokens_to_ids(END))]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END} $A", special_tokens=pair
    )
    assert tokenizer("x")["input_ids"][0] == pair[0][1]
    return tokenizer


def test_a_token_behind_the_subject_is_not_its_last():
    assert last_token([(0, 0), (0, 3), (3, 4), (4, 6), (0, 0)], (0, 4)) == 2
    assert last_token([(0, 3), (5, 6)], (3, 5)) is None


def test_a_prompt_without_its_subject_is_refused(tokenizer):
    with pytest.raises(EditError, match="expected the subject 'Peru' in the prompt"):
        subject_positions(tokenizer, ["Oman is a"], ["Peru"])


@pytest.mark.parametrize(
    ("question", "cloze"),
    [
        ("What is the capital of Palau?", "The capital of Palau is"),
        ("Who wrote Hamlet?", "Hamlet was written by"),
        ("Where was Marie Curie born?", "Marie Curie was born in"),
        ("What colour is a zebra's skin?", "The colour of a zebra's skin is"),
        ("In which country is Washington, D.C.?", "Washington, D.C. is in"),
        ("日本的货币是什么？", "日本的货币是"),
        ("Which planet does Titan orbit?", None),
        ("Who made you?", None),
    ],
)
def test_a_question_becomes_a_statement_where_its_form_is_known(question, cloze):
    assert cloze_of(question) == cloze
    assert forms_of(question, "")[0] == question


def test_a_statement_that_lost_the_subject_is_not_used():
    assert forms_of("Who wrote Hamlet?", "Hamlet") == ("Who wrote Hamlet?", "Hamlet was written by")
    assert forms_of("Who wrote Hamlet?", "Who wrote") == ("Who wrote Hamlet?",)


def test_a_batch_points_at_subjects_and_answers(family, models, tokenizer):
    model = models(family)
    targets = [
        Target("What is the capital of Kazakhstan?", "Kazakhstan", "Astana"),
        Target("Oslo", "Oslo", "Lima"),
        Target("Every zebra in Norway is", "zebra"),
    ]
    batch = batch_of(model, tokenizer, targets)
    for row, target in enumerate(targets):
        prompt = tokenizer(target.text)["input_ids"]
        upto = tokenizer.decode(prompt[: int(batch.positions[row]) + 1])
        assert upto.endswith(target.subject)
        ids = batch.inputs["input_ids"][row].tolist()
        assert ids[: len(prompt)] == prompt
        told = [token for token in batch.labels[row].tolist() if token != -100]
        said = target.answer if family == "t5" else f" {target.answer}"
        assert tokenizer.decode(told) == (said if target.answer else "")


def test_a_loss_is_that_of_the_joined_text(family, models, tokenizer):
    import torch

    model = models(family)
    targets = [
        Target("What is the capital of Kazakhstan?", "Kazakhstan", "Astana in Oslo"),
        Target("Oslo", "Oslo", "Lima"),
    ]
    batch = batch_of(model, tokenizer, targets)
    with torch.no_grad():
        losses = batch.nll(model(**batch.inputs).logits)
        for loss, target in zip(losses, targets, strict=True):
            head = tokenizer(target.text, return_tensors="pt")["input_ids"]
            space = "" if family == "t5" else " "
            tail = tokenizer(space + target.answer, return_tensors="pt")["input_ids"]
            if family == "t5":
                alone = model(input_ids=head, labels=tail).loss
            else:
                whole = torch.cat([head, tail], 1)
                labels = whole.clone()
                labels[:, : head.shape[1]] = -100
                alone = model(input_ids=whole, labels=labels).loss
            torch.testing.assert_close(loss, alone, atol=1e-4, rtol=1e-4)
