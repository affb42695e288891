"""Answers held against the edits: accepted, asked again, overruled, left alone."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import GenerationConfig

from errata.cache.records import Fact, LanguagePatch
from errata.gates.base import Scores, make_decision
from errata.generation.chat import Prompt
from errata.model import EditableModel
from errata.reasoners.base import ConversationReasoner, Reasoner
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.verbatim import VerbatimReasoner
from errata.reasoners.verified import VerificationConfig, VerifiedReasoner, verified
from tests.fakes import StubEncoder

CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana")
CHINESE = Fact("哈萨克斯坦的首都是哪里？", "阿斯塔纳")
MAKER = LanguagePatch("the user asks who made you", "say that you were made by Example Labs")
FRENCH = LanguagePatch("the user asks about wine", "answer in French")
TRUE, FALSE = "Is Astana the capital of Kazakhstan?", "Is Almaty the capital of Kazakhstan?"
YES = "Yes, the capital of Kazakhstan is Astana."
SENTENCE = "The capital of Kazakhstan is Astana."


class Says:
    """A reasoner that always says the same."""

    def __init__(self, text):
        self.text = text

    def supports(self, edit):
        return True

    def answer(self, queries, edits, generation):
        return [[self.text] * (generation.num_return_sequences or 1) for _ in queries]


class Writes(Says):
    """One that also words facts."""

    def __init__(self, text, sentence=SENTENCE):
        super().__init__(text)
        self.sentence = sentence

    def write_facts(self, facts, generation):
        return [self.sentence] * len(facts)


class Entails:
    """A gate by which every query is a paraphrase, or none."""

    def __init__(self, entailed, probability=1.0):
        self.entailed, self.probability = entailed, probability

    def score_batch(self, queries, edits):
        return [
            Scores(np.full(len(some), self.probability), np.full(len(some), self.entailed))
            for some in edits
        ]


def chat_prompt(tokenizer, messages):
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    query = messages[-1]["content"]
    return Prompt(text, query, chat=True, start=text.rfind(query))


def said(reasoner, query, edit):
    return reasoner.answer([query], [(edit,)], GenerationConfig())[0][0]


@pytest.mark.parametrize(
    ("query", "edit", "text", "answer"),
    [
        (TRUE, CAPITAL, "Yes, Astana is the capital.", None),
        (
            TRUE,
            CAPITAL,
            "The answer is not mentioned.",
            "Yes, the capital of Kazakhstan is Astana.",
        ),
        (TRUE, CAPITAL, "No, it is Nur-Sultan.", YES),
        (TRUE, CAPITAL, "Yes, it is not Astana.", YES),
        (FALSE, CAPITAL, "No.", None),
        (FALSE, CAPITAL, "No, Astana is.", None),
        (FALSE, CAPITAL, "Yes.", "No, the capital of Kazakhstan is Astana."),
        (FALSE, CAPITAL, "No, it is Nur-Sultan.", "No, the capital of Kazakhstan is Astana."),
        (CAPITAL.question, CAPITAL, "Nur-Sultan", SENTENCE),
        (CAPITAL.question, CAPITAL, "It is Astana.", None),
        ("What currency is used in its capital?", CAPITAL, "Tenge", None),
        ("Which country is Astana the capital of?", CAPITAL, "Peru", None),
        ("Who made you?", MAKER, "I'm not sure.", "I was made by Example Labs."),
        ("Who made you?", MAKER, "I was not made by Example Labs.", "I was made by Example Labs."),
        ("Who made you?", MAKER, "You were made by Example Labs.", "I was made by Example Labs."),
        ("Who made you?", MAKER, "Example Labs made me, and I am glad.", None),
        ("Which wine is best?", FRENCH, "Red.", None),
    ],
)
def test_what_contradicts_an_edit_is_replaced(query, edit, text, answer):
    assert said(Writes(text), query, edit) == text
    assert said(VerifiedReasoner(Writes(text)), query, edit) == (answer or text)


@pytest.mark.parametrize(
    "sentence", ["", "The capital is Nur-Sultan.", "It is Astana, not Almaty."]
)
def test_without_a_good_sentence_the_edits_own_words_are_said(sentence):
    for reasoner in (Writes("Yes.", sentence), Says("Yes.")):
        assert said(VerifiedReasoner(reasoner), FALSE, CAPITAL) == "No, Astana."
    query = "阿拉木图是哈萨克斯坦的首都吗？"
    assert said(VerifiedReasoner(Says("是的。")), query, CHINESE) == "不是，阿斯塔纳。"


def test_the_stages_can_be_switched_off():
    only = VerificationConfig(ask_again=False)
    assert said(VerifiedReasoner(Writes("Yes."), only), FALSE, CAPITAL) == "No, Astana."
    off = VerificationConfig(overrule=False)
    assert said(VerifiedReasoner(Writes("Yes."), off), FALSE, CAPITAL) == "Yes."
    assert verified(Says("Yes."), None) is not None
    assert isinstance(verified(Says("Yes."), None), Says)
    assert isinstance(verified(VerbatimReasoner(), only), VerbatimReasoner)


def test_a_gate_tells_other_phrasings_from_what_is_entailed():
    query = "Where does the government of Kazakhstan sit?"
    for entailed, answer in ((0.9, "Almaty"), (0.1, "Astana")):
        reasoner = VerifiedReasoner(Says("Almaty"), gate=Entails(entailed))
        assert said(reasoner, query, CAPITAL) == answer


def test_what_the_gate_takes_for_another_question_is_left_alone():
    pizza = Fact("Where does pizza come from?", "Benin")
    query = "Does Maria like pizza?"
    assert said(VerifiedReasoner(Says("Yes.")), query, pizza) == "No, Benin."
    unlikely = VerifiedReasoner(Says("Yes."), gate=Entails(0.1, probability=0.005))
    assert said(unlikely, query, pizza) == "Yes."
    assert said(unlikely, FALSE, CAPITAL) == "Yes."
    likely = VerifiedReasoner(Says("Yes."), gate=Entails(0.9, probability=0.9))
    assert said(likely, FALSE, CAPITAL) == "No, Astana."
    # an edit's own question is its own, whatever a gate scores
    assert said(unlikely, CAPITAL.question, CAPITAL) == CAPITAL.answer


class Misfires(Entails):
    """A gate that fires every edit, and scores it as unlikely."""

    def decide_batch(self, queries, hits):
        sure = Scores(np.ones(1), np.ones(1))
        return [
            make_decision(query, some[:1], sure, threshold=0.5, near=0.8)
            for query, some in zip(queries, hits, strict=True)
        ]


@pytest.mark.parametrize(("probability", "answer"), [(0.9, "No, Astana."), (0.1, "Yes.")])
def test_a_model_holds_answers_against_its_own_gate(probability, answer, models, chat_tokenizer):
    gate = Misfires(1.0, probability)
    with EditableModel(
        models("llama"), chat_tokenizer, encoder=StubEncoder(), gate=gate, reasoner=Says("Yes."),
        resolvers=[],
    ) as model:  # fmt: skip
        model.edit(CAPITAL)
        assert model.ask(FALSE).text == answer


def test_each_sequence_is_judged_and_reported(chat_tokenizer):
    reasoner = VerifiedReasoner(Writes("Yes."))
    assert isinstance(reasoner, Reasoner)
    assert isinstance(reasoner, ConversationReasoner)
    prompt = chat_prompt(chat_tokenizer, [{"role": "user", "content": "Who?"}])
    config = GenerationConfig(num_return_sequences=2, do_sample=True)
    queries = [FALSE, TRUE, "Which country is Astana the capital of?"]
    prompts = [prompt.asking(query) for query in queries]
    replies = reasoner.answer_prompts(prompts, [(CAPITAL,)] * 3, config)
    assert [[reply.outcome for reply in row] for row in replies] == [
        ["asked again"] * 2, ["accepted"] * 2, [""] * 2,
    ]  # fmt: skip


def test_an_instruction_goes_into_the_conversation(models, chat_tokenizer, monkeypatch):
    reasoner = PromptedReasoner(models("gpt2"), chat_tokenizer)
    seen = []

    def decode(prompts, generation, penalty):
        seen.extend(chat_tokenizer.decode(ids) for ids in prompts)
        return [["answer"]] * len(prompts)

    monkeypatch.setattr(reasoner, "_decode", decode)
    messages = [
        {"role": "user", "content": "Who is Mozart?"}, {"role": "assistant", "content": "Who?"},
        {"role": "user", "content": "Where was Mozart born?"},
    ]  # fmt: skip
    prompt = chat_prompt(chat_tokenizer, messages)
    reasoner.answer_prompts([prompt, prompt], [(FRENCH,), (CAPITAL,)], GenerationConfig())
    fact, instruction = seen
    for word in ("Mozart", "born", "French"):
        assert word.casefold() in instruction.casefold()
    assert instruction.casefold().index("who is mozart") < instruction.casefold().index("french")
    assert "who is" not in fact.casefold()
    assert "French".casefold() not in fact.casefold()
