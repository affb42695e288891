"""A reader that no edit concerns says nothing, and the base answers in its place."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from errata.cache.records import Fact
from errata.reasoners.examine import NEW_TOKENS, Examiner, base_answers, greedy, reader
from errata.reasoners.lessons import NO_MATTER, OWN, YES_NO, Lesson
from errata.reasoners.prompts import Prompter
from errata.reasoners.reading import ReadingReasoner, base_aside
from errata.reasoners.reluctance import Reluctance
from errata.reasoners.settling import GRID, _best, settled_reluctance

EDIT = Fact("What is the capital of Peru?", "Oslo")
QUERY = "Who wrote Faust?"


def silent(base, family):
    """A copy whose every logit says the end: an untied head that knows no other word."""
    model = copy.deepcopy(base)
    head = model.get_output_embeddings()
    weight = torch.zeros_like(head.weight)
    head.weight = torch.nn.Parameter(weight)
    end = model.generation_config.eos_token_id
    bias = torch.zeros(weight.shape[0])
    bias[end[0] if isinstance(end, list) else end] = 1.0
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
    alone = base_aside(base, tokenizer)([QUERY], config)[0]
    unsaid = ReadingReasoner(mute, tokenizer, prompter).answer([QUERY], [[EDIT]], config)
    assert unsaid == [[""]]
    said = ReadingReasoner(
        mute, tokenizer, prompter, aside=base_aside(base, tokenizer)
    ).answer([QUERY, EDIT.question], [[EDIT], [EDIT]], config)  # fmt: skip
    assert said[0] == alone
    assert said[0] != [""]


def test_a_reader_that_speaks_is_not_interrupted(models, tokenizer):
    base = models("gpt2")
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)

    def never(queries, generation):
        raise AssertionError(queries)

    with_aside = ReadingReasoner(base, tokenizer, Prompter(tokenizer), aside=never)
    plain = ReadingReasoner(base, tokenizer, Prompter(tokenizer))
    asked = ([QUERY], [[EDIT]], config)
    assert plain.answer(*asked)[0][0]
    assert with_aside.answer(*asked) == plain.answer(*asked)


def test_reluctance_shifts_the_first_token_alone():
    scores = torch.zeros(2, 5)
    shift = Reluctance([3], 4, 2.5)
    first = shift(torch.zeros(2, 4, dtype=torch.long), scores)
    assert first[:, 3].tolist() == [-2.5, -2.5]
    assert first[:, :3].abs().sum() == 0
    assert torch.equal(shift(torch.zeros(2, 5, dtype=torch.long), scores), scores)
    assert scores.abs().sum() == 0


def test_enough_reluctance_makes_a_silent_reader_speak(models, tokenizer):
    mute = silent(models("gpt2"), "gpt2")
    prompts = [Prompter(tokenizer).ids(["A fact."], QUERY, NEW_TOKENS)]
    end = mute.generation_config.eos_token_id
    assert end is not None
    quiet, loud = (
        mute.generate(
            input_ids=torch.tensor(prompts), max_new_tokens=1, do_sample=False,
            logits_processor=[Reluctance([end], len(prompts[0]), shift)],
        )[0, -1].item()
        for shift in (0.5, 1.5)
    )  # fmt: skip
    assert quiet == end
    assert loud != end
    assert greedy(mute, tokenizer, prompts, one_line=True) == [""]


def test_the_settled_shift_divides_what_matters_from_what_does_not():
    matters = [Lesson(OWN, (EDIT,), f"own {n}", "x") for n in range(4)]
    not_ = [Lesson(NO_MATTER, (EDIT,), f"other {n}", None) for n in range(4)]
    margins = {"true": np.array([-3.0, -2.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0]), "false": np.array([])}
    spoken = {OWN: [True] * 4, NO_MATTER: [False] * 4}
    alone = {OWN: [False] * 4, NO_MATTER: [True] * 4}
    best = _best([*matters, *not_], margins, spoken, alone)
    assert 1.0 <= best < 2.0
    # where speaking is never right, silence costs nothing
    mute = _best([*matters, *not_], margins, {OWN: [False] * 4, NO_MATTER: [False] * 4}, alone)
    assert mute < 2.0


def test_a_yes_or_no_lesson_is_lost_with_either_form():
    lesson = Lesson(YES_NO, (EDIT,), "Is it?", "Yes", false_query="Is it not?")
    other = Lesson(NO_MATTER, (EDIT,), "Who?", None)
    margins = {"true": np.array([-2.0, 3.0]), "false": np.array([2.0])}
    best = _best(
        [lesson, other], margins, {YES_NO: [True], NO_MATTER: [False]},
        {YES_NO: [False], NO_MATTER: [True]},
    )  # fmt: skip
    assert 2.0 <= best < 3.0


def test_what_is_settled_holds_in_free_generation(models, tokenizer):
    """The shift's figures, predicted from first tokens, are those of generation under it."""
    base = models("gpt2")
    queries = ["Who wrote Faust?", "Where is Oslo?", "What is tin?", "How old is Rome?"]
    alone = base_answers(base, tokenizer, queries)
    prompter = Prompter(tokenizer)
    lessons = [Lesson(NO_MATTER, (EDIT,), query, None) for query in queries]
    examiner = Examiner(base, tokenizer, lessons)

    def aside(asked):
        return {query: alone[query] for query in asked}

    end = base.generation_config.eos_token_id
    best = settled_reluctance(examiner, base, tokenizer, prompter, aside, end)
    assert best in GRID
    outcomes = examiner.outcomes(reader(base, tokenizer, prompter, aside=aside, reluctance=best))
    quiet = examiner.outcomes(reader(base, tokenizer, prompter, aside=aside, reluctance=-1e4))
    assert quiet == {NO_MATTER: [True] * 4}
    assert len(outcomes[NO_MATTER]) == 4
