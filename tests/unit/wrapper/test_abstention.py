"""A reader that no edit concerns says nothing, and the base answers in its place."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from errata.cache.records import Fact
from errata.cache.text.answer_match import same_answer
from errata.generation.request import AnswerWriter
from errata.reasoners.abstention import AbstentionLogitsProcessor, AbstentionPenalties
from errata.reasoners.base_answers import (
    DEFAULT_CONFIG,
    base_answers,
    complete_answers,
    greedy,
    mean_token_probability,
)
from errata.reasoners.base_consistency import DEFAULT_CONSISTENCY, BaseConsistency, Consistency
from errata.reasoners.data.examples import (
    EDIT_QUESTION,
    LOCALITY,
    SAME_ANSWER_LOCALITY,
    YES_NO,
    ReasonerExample,
)
from errata.reasoners.evaluation.evaluate import Evaluator, greedy_answers
from errata.reasoners.prompts import Prompter
from errata.reasoners.reader import ContextReasoner, base_fallback
from errata.reasoners.training.thresholds import GRID, _best, fit_abstention_penalties

EDIT = Fact("What is the capital of Peru?", "Oslo")
QUERY = "Who wrote Faust?"


def silent(base, family, word=None):
    """A copy whose every logit says the end, and then a word: an untied head that knows no more."""
    model = copy.deepcopy(base)
    head = model.get_output_embeddings()
    weight = torch.zeros_like(head.weight)
    head.weight = torch.nn.Parameter(weight)
    end = model.generation_config.eos_token_id
    bias = torch.zeros(weight.shape[0])
    bias[end[0] if isinstance(end, list) else end] = 1.0
    if word is not None:
        bias[word] = 0.5
    head.register_forward_hook(lambda _, __, out: out + bias)
    return model


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_where_the_reader_says_nothing_the_base_answers(family, models, tokenizer):
    base = models(family)
    mute = silent(base, family)
    config = GenerationConfig(max_new_tokens=6, do_sample=False)
    config.eos_token_id = base.generation_config.eos_token_id
    config.pad_token_id = base.generation_config.pad_token_id
    config.decoder_start_token_id = base.generation_config.decoder_start_token_id
    prompter = Prompter(tokenizer)
    alone = base_fallback(base, tokenizer)([QUERY], config)[0]
    unsaid = ContextReasoner(mute, tokenizer, prompter).answer([QUERY], [[EDIT]], config)
    assert unsaid == [[""]]
    said = ContextReasoner(
        mute, tokenizer, prompter, fallback=base_fallback(base, tokenizer)
    ).answer([QUERY, EDIT.question], [[EDIT], [EDIT]], config)  # fmt: skip
    assert said[0] == alone
    assert said[0] != [""]


def test_a_reader_that_speaks_is_not_interrupted(models, tokenizer):
    base = models("gpt2")
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)

    def never(queries, generation):
        raise AssertionError(queries)

    with_aside = ContextReasoner(base, tokenizer, Prompter(tokenizer), fallback=never)
    plain = ContextReasoner(base, tokenizer, Prompter(tokenizer))
    asked = ([QUERY], [[EDIT]], config)
    assert plain.answer(*asked)[0][0]
    assert with_aside.answer(*asked) == plain.answer(*asked)


def test_options_of_errata_0_1_warn_and_still_work(models, tokenizer):
    base, prompter = models("gpt2"), Prompter(tokenizer)
    fallback = base_fallback(base, tokenizer)
    penalties, beliefs = AbstentionPenalties(1.0), BaseConsistency(base, tokenizer)
    with pytest.warns(DeprecationWarning, match="the old name goes with") as warned:
        old = ContextReasoner(
            base, tokenizer, prompter, foreign=True, aside=fallback, reluctance=penalties,
            beliefs=beliefs,
        )  # fmt: skip
    new = ContextReasoner(
        base, tokenizer, prompter, separate_vocabulary=True, fallback=fallback,
        abstention=penalties, consistency=beliefs,
    )  # fmt: skip
    assert "'aside' is 'fallback' since version 0.2" in {
        str(one.message).partition(";")[0] for one in warned
    }
    assert vars(old) == vars(new)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        ContextReasoner(base, tokenizer, prompter, colour="red")


def test_the_penalty_applies_to_the_first_token_only():
    scores = torch.zeros(2, 5)
    shift = AbstentionLogitsProcessor([3], 4, 2.5)
    first = shift(torch.zeros(2, 4, dtype=torch.long), scores)
    assert first[:, 3].tolist() == [-2.5, -2.5]
    assert first[:, :3].abs().sum() == 0
    assert torch.equal(shift(torch.zeros(2, 5, dtype=torch.long), scores), scores)
    assert scores.abs().sum() == 0


def test_a_large_enough_penalty_makes_a_silent_reader_speak(models, tokenizer):
    mute = silent(models("gpt2"), "gpt2")
    prompts = [Prompter(tokenizer).ids(["A fact."], QUERY, DEFAULT_CONFIG.max_new_tokens)]
    end = mute.generation_config.eos_token_id
    assert end is not None
    quiet, loud = (
        mute.generate(
            input_ids=torch.tensor(prompts), max_new_tokens=1, do_sample=False,
            logits_processor=[AbstentionLogitsProcessor([end], len(prompts[0]), shift)],
        )[0, -1].item()
        for shift in (0.5, 1.5)
    )  # fmt: skip
    assert quiet == end
    assert loud != end
    assert greedy(mute, tokenizer, prompts, single_line=True) == [""]


def best(examples, margins, spoken, alone, groups=None):
    return _best(examples, margins, spoken, alone, groups or ["default"] * len(examples))


def test_the_fitted_penalty_divides_what_matters_from_what_does_not():
    matters = [ReasonerExample(EDIT_QUESTION, (EDIT,), f"own {n}", "x") for n in range(4)]
    not_ = [ReasonerExample(LOCALITY, (EDIT,), f"other {n}", None) for n in range(4)]
    examples = [*matters, *not_]
    margins = {"true": np.array([-3.0, -2.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0]), "false": np.array([])}
    spoken = {EDIT_QUESTION: [True] * 4, LOCALITY: [False] * 4}
    alone = {EDIT_QUESTION: [False] * 4, LOCALITY: [True] * 4}
    assert 1.0 <= best(examples, margins, spoken, alone)["default"] < 2.0
    # where speaking is never right, silence costs nothing
    mute = best(examples, margins, {EDIT_QUESTION: [False] * 4, LOCALITY: [False] * 4}, alone)
    assert mute["default"] < 2.0


def test_where_the_base_agrees_a_penalty_of_its_own_is_fitted():
    matters = [ReasonerExample(EDIT_QUESTION, (EDIT,), f"own {n}", "x") for n in range(4)]
    not_ = [ReasonerExample(LOCALITY, (EDIT,), f"other {n}", None) for n in range(4)]
    twins = [ReasonerExample(SAME_ANSWER_LOCALITY, (EDIT,), f"twin {n}", None) for n in range(4)]
    margins = {"true": np.array([-3.0, 0.5, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0, *[4.5] * 4])}
    margins["false"] = np.array([])
    right = {EDIT_QUESTION: [True] * 4, LOCALITY: [False] * 4, SAME_ANSWER_LOCALITY: [False] * 4}
    alone = {EDIT_QUESTION: [False] * 4, LOCALITY: [True] * 4, SAME_ANSWER_LOCALITY: [True] * 4}
    for group in ("base_agrees", "base_uncertain"):
        both = ["default", "default", group, group]
        found = best([*matters, *not_, *twins], margins, right, alone, [*both, *both, *[group] * 4])
        assert 0.5 <= found["default"] < 2.0
        assert 5.0 <= found[group] < 6.0  # twins do not count


def test_a_yes_or_no_example_is_lost_with_either_form():
    example = ReasonerExample(YES_NO, (EDIT,), "Is it?", "Yes", false_query="Is it not?")
    other = ReasonerExample(LOCALITY, (EDIT,), "Who?", None)
    margins = {"true": np.array([-2.0, 3.0]), "false": np.array([2.0])}
    found = best(
        [example, other], margins, {YES_NO: [True], LOCALITY: [False]},
        {YES_NO: [False], LOCALITY: [True]},
    )  # fmt: skip
    assert 2.0 <= found["default"] < 3.0


QUERIES = ["Who wrote Faust?", "Where is Oslo?", "What is tin?", "How old is Rome?"]


def test_what_is_fitted_holds_in_free_generation(models, tokenizer):
    """Whatever is fitted, a reader as silent as can be leaves every answer to the base."""
    base = models("gpt2")
    prompter = Prompter(tokenizer)
    evaluator = Evaluator(
        base, tokenizer, [ReasonerExample(LOCALITY, (EDIT,), q, None) for q in QUERIES]
    )

    def made(penalties, **others):
        return ContextReasoner(base, tokenizer, prompter, abstention=penalties, **others)

    end = base.generation_config.eos_token_id
    fitted = fit_abstention_penalties(evaluator, made, base, tokenizer, end)
    assert {fitted.default, fitted.base_agrees, fitted.base_uncertain} <= set(GRID)
    fallback = base_fallback(base, tokenizer)
    outcomes = evaluator.outcomes(greedy_answers(made(fitted, fallback=fallback), base))
    quiet = evaluator.outcomes(
        greedy_answers(made(AbstentionPenalties(-1e4), fallback=fallback), base)
    )
    assert quiet == {LOCALITY: [True] * 4}
    assert len(outcomes[LOCALITY]) == 4


class Said(BaseConsistency):
    """Beliefs that are told, and not asked of a model."""

    def __init__(self, answers, unsure=()):
        self.answers, self.unsure = answers, unsure

    def compare(self, query, questions):
        alike = tuple(same_answer(self.answers[query], self.answers[text]) for text in questions)
        return Consistency(alike, query not in self.unsure)


def test_a_silent_reader_speaks_where_the_base_takes_the_query_for_the_edits_question(
    models, tokenizer
):
    base = models("gpt2")
    mute = silent(base, "gpt2", tokenizer("Oslo")["input_ids"][-1])
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    config.eos_token_id = base.generation_config.eos_token_id
    answers = {EDIT.question: "Lima.", "alias?": "lima", "other?": "Quito", "is it?": "Yes"}
    beliefs = Said(answers | {"odd?": "pib"}, unsure={"odd?", "alias?"})

    def asked(query, agreeing, unsure=0.0):
        reasoner = ContextReasoner(
            mute, tokenizer, Prompter(tokenizer), fallback=lambda q, _: [["the base's"]] * len(q),
            abstention=AbstentionPenalties(base_agrees=agreeing, base_uncertain=unsure),
            consistency=beliefs,
        )  # fmt: skip
        return reasoner.answer([query, "other?"], [[EDIT], [EDIT]], config)

    assert asked("other?", 9.0) == [["the base's"], ["the base's"]]
    assert asked("is it?", 9.0) == [["the base's"], ["the base's"]]
    loud, other = asked("alias?", 9.0)
    assert loud != ["the base's"] and loud[0]
    assert other == ["the base's"]
    assert asked("alias?", 0.5) == [["the base's"], ["the base's"]]  # too small a penalty
    # and where the base has no answer that it is sure of
    assert asked("odd?", 9.0) == [["the base's"], ["the base's"]]
    odd, other = asked("odd?", 0.0, unsure=9.0)
    assert odd == loud and other == ["the base's"]
    assert asked("alias?", 0.0, unsure=9.0) == [["the base's"], ["the base's"]]


def test_the_base_is_asked_by_itself_and_answers_alike(models, tokenizer, monkeypatch):
    beliefs = BaseConsistency(models("gpt2"), tokenizer)
    # a model of random weights never ends; beginnings of answers are told of nothing
    assert complete_answers(models("gpt2"), tokenizer, QUERIES) == dict.fromkeys(QUERIES, "")
    assert beliefs.agrees(QUERIES[0], QUERIES) == (False,) * 4
    monkeypatch.setattr("errata.reasoners.base_consistency.complete_answers", base_answers)
    before = {k: v.clone() for k, v in models("gpt2").state_dict().items()}
    said = base_answers(models("gpt2"), tokenizer, QUERIES)
    told = beliefs.compare(QUERIES[0], QUERIES).agrees
    agreed = beliefs.agrees(QUERIES[0], QUERIES)
    assert agreed[0] and all(same for same, yes in zip(told, agreed, strict=True) if yes)
    assert told == tuple(same_answer(said[QUERIES[0]], said[text]) for text in QUERIES)
    assert told[0] and not all(told)
    assert beliefs.agrees("", QUERIES) == beliefs.agrees("word " * 5000, QUERIES) == (False,) * 4
    assert beliefs.agrees(QUERIES[0], []) == ()
    sure = mean_token_probability(models("gpt2"), tokenizer, said)[QUERIES[0]]
    assert beliefs.compare(QUERIES[0], QUERIES) == Consistency(
        told, sure >= DEFAULT_CONSISTENCY.confidence
    )
    assert beliefs.compare("word " * 5000, QUERIES) == Consistency((False,) * 4, False)
    after = models("gpt2").state_dict()
    assert all(before[name].equal(value) for name, value in after.items())


def test_of_several_answers_only_the_silent_ones_are_said_anew(models, tokenizer, monkeypatch):
    base = models("gpt2")
    both = Said(dict.fromkeys(("q?", EDIT.question), "Lima"))
    reader = ContextReasoner(
        base, tokenizer, Prompter(tokenizer), fallback=lambda q, _: [["the base's"] * 2] * len(q),
        abstention=AbstentionPenalties(base_agrees=9.0), consistency=both,
    )  # fmt: skip
    asked = []

    def decoded(prompts, generation, penalty):
        asked.append(penalty)
        return [["spoken", ""]] if penalty == 0.0 else [["again", "again"]]

    monkeypatch.setattr(reader, "_decode", decoded)
    config = GenerationConfig(max_new_tokens=6, num_return_sequences=2, do_sample=True)
    assert reader.answer(["q?"], [[EDIT]], config) == [["spoken", "again"]]
    assert asked == [0.0, 9.0]


def test_the_base_is_not_asked_for_nothing(models, tokenizer):
    mute = silent(models("gpt2"), "gpt2")
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    config.eos_token_id = mute.generation_config.eos_token_id
    reader = ContextReasoner(
        mute, tokenizer, Prompter(tokenizer), fallback=lambda q, _: [["alone"]] * len(q),
        abstention=AbstentionPenalties(), consistency=Said({}),  # which fails if it is asked
    )  # fmt: skip
    assert reader.answer(["q?"], [[EDIT]], config) == [["alone"]]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_sureness_is_the_mean_probability_of_the_answers_tokens(family, models, tokenizer):
    base = models(family)
    said = {"Who wrote Faust?": "Goethe", "Where is Oslo?": "in the north of Norway", "What?": ""}
    found = mean_token_probability(base, tokenizer, said)
    assert found["What?"] == 0.0
    for query, answer in list(said.items())[:2]:
        ids = tokenizer(query)["input_ids"]
        wanted = AnswerWriter(tokenizer).encode(f" {answer}")
        logs = []
        for at, token in enumerate(wanted):
            with torch.no_grad():
                if family == "t5":
                    start = [base.config.decoder_start_token_id, *wanted[:at]]
                    out = base(torch.tensor([ids]), decoder_input_ids=torch.tensor([start]))
                else:
                    out = base(torch.tensor([[*ids, *wanted[:at]]]))
            logs.append(out.logits[0, -1].double().log_softmax(-1)[token].item())
        assert found[query] == pytest.approx(np.exp(np.mean(logs)), rel=1e-3)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("New York City", " new york  city.", True), ("巴黎。", "巴黎", True), ("a", "b", False),
        ("", "", False), ("Yes", "yes.", False),
        ("I don't know.", "i don't know", False), ("不是", "不是", False), ("No", "no", False),
    ],
)  # fmt: skip
def test_answers_agree_if_they_are_the_same_and_say_something(one, other, same):
    assert same_answer(one, other) is same_answer(other, one) is same
