"""Adapters of chat models: their examples, loss, training, evaluation and command line."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from errata.cache.errors import ErrataError, ModelError
from errata.cache.patches.kinds import context
from errata.cache.records import Fact, LanguagePatch
from errata.cli import app
from errata.facts import FactSource
from errata.generation.judge import names
from errata.reasoners.adapter import AdapterReasoner
from errata.reasoners.card import read_card
from errata.reasoners.data.examples import LOCALITY, SAY_THAT, YES_NO, ReasonerExample
from errata.reasoners.data.files import load_training_data
from errata.reasoners.data.groups import GroupGenerator, SharedEditGenerator, english
from errata.reasoners.data.wikidata import split_by_hash
from errata.reasoners.evaluation.chat import AnswerFile, ChatConfig, ChatEvaluation, KeptReasoner
from errata.reasoners.evaluation.chat_examples import INSTRUCTION, ROWS, chat_examples
from errata.reasoners.evaluation.judge import follows, polarity, right
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import Prompter, PromptForm
from errata.reasoners.training import losses
from errata.reasoners.training.config import SHORT_FORM, TrainingConfig
from errata.reasoners.training.train import ReasonerTrainer
from errata.reasoners.unedited import UneditedReasoner
from errata.reasoners.verbatim import VerbatimReasoner
from tests.small_facts import write_facts

QUICK = TrainingConfig(
    steps=2, batch_size=2, eval_steps=2, eval_examples=1, rank=2, warmup=1, learning_rate=5e-2,
    chat=True,
)  # fmt: skip


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    data = gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return small files of every shape, by name."""
    folder = tmp_path_factory.mktemp("data")
    people = [f"Person {i}" for i in range(40)]
    cities = ["Astana", "Paris", "Oslo", "Lima", "Cairo", "Tokyo"]
    pairs = [
        {"a": f"What is thing {i}?", "b": f"Which thing is {i}?", "same": 1} for i in range(300)
    ] + [{"a": f"What is thing {i}?", "b": f"What is ring {i}?", "same": 0} for i in range(300)]
    return {
        "facts": write(
            folder / "facts.jsonl.gz",
            [
                {"relation": "P19", "subject": person, "object": cities[i % 6]}
                for i, person in enumerate(people)
            ] + [{"relation": "P999", "subject": "x", "object": "y"}],
        ),
        "patterns": write(
            folder / "patterns.jsonl", [
                {"relation": "P19", "pattern": "[X] first saw the light in [Y] ."},
                {"relation": "P19", "pattern": "[Y] is where [X] is from."},
            ],
        ),
        "pairs": write(folder / "pairs.jsonl", pairs),
        "open": write(
            folder / "open.jsonl",
            [{"question": f"what is it {i}", "answers": [f"Answer {i}"]} for i in range(20)],
        ),
        "intents": write(
            folder / "intents.jsonl",
            [
                {"text": f"please do {i} of {j}", "intent": f"thing {i}"}
                for i in range(30) for j in range(3)
            ],
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return FactSource.load(write_facts(tmp_path_factory.mktemp("facts")))


@pytest.fixture(scope="module")
def data(source, files):
    return load_training_data(source, list(files.values()))


# -- files ------------------------------------------------------------------------------------


def test_facts_of_files_are_split_by_subject_and_worded_by_patterns(data, source):
    merged, _ = data
    born = [fact for fact in merged.facts if fact.relation == "place_of_birth"]
    assert len(born) == 40
    assert {f.split for f in born} >= {"train", "test"}
    assert all(fact.split == split_by_hash(fact.subject) for fact in born)
    assert set(source.facts) < set(merged.facts)
    statements = merged.relations["place_of_birth"].statements
    assert "{s} first saw the light in {o}." in statements
    assert not any("is where" in text for text in statements)  # does not end in its object


def test_files_are_known_by_their_keys_in_any_order(source, files, data):
    again = load_training_data(source, list(reversed(files.values())))
    assert again[0].digest == data[0].digest
    assert again[1].digest == data[1].digest
    assert load_training_data(source, []) == (source, None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "expected a file at"),
        ("", "found no rows"),
        ('{"x": 1}\n', "expected rows with the keys of one of these"),
        ("[1]\n", "expected a JSON mapping, found"),
        ("no json\n", r"bad.jsonl:1: expected a JSON mapping"),
        ('{"a": "x", "b": "y", "same": 1}\n{"a": "x"}\n', r"bad.jsonl:2: .* found no b, same"),
        ('{"relation": "P1", "subject": "x", "object": "y"}\n', "expected facts of relations in"),
        ('{"relation": "P19", "pattern": "[X] [Y]."}\n', "expected patterns beside a file of"),
    ],
)
def test_files_of_another_shape_are_refused(content, says, source, tmp_path):
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ErrataError, match=says):
        load_training_data(source, [path])


def test_a_damaged_archive_and_a_second_file_of_one_shape_are_refused(source, files, tmp_path):
    damaged = tmp_path / "facts.jsonl.gz"
    damaged.write_bytes(files["facts"].read_bytes()[:60])
    with pytest.raises(ErrataError, match=r"expected JSON lines, found: .*restore it"):
        load_training_data(source, [damaged])
    with pytest.raises(ErrataError, match=r"expected one file of text, intent"):
        load_training_data(source, [files["intents"], files["intents"]])


# -- examples ---------------------------------------------------------------------------------


def test_the_examples_of_a_group_share_their_edits_and_ask_both_forms(data):
    merged, texts = data
    generator = GroupGenerator(merged, "train", random.Random(0), texts)
    groups = [generator.group() for _ in range(300)]
    assert all(len({one.edits for one in group}) == 1 for group in groups)
    assert all(len({one.query for one in group}) == len(group) for group in groups)
    kinds = {one.kind for group in groups for one in group}
    assert {YES_NO, LOCALITY, SAY_THAT, "one hop", "reversed", "other phrasing"} <= kinds
    forms = [one for group in groups for one in group if one.kind == YES_NO]
    yes = [one for one in forms if one.answer == "Yes"]
    assert 0.4 < len(yes) / len(forms) < 0.6
    for one in forms:
        assert one.sentence.startswith(f"{one.answer}, ")
    test = {fact.subject for fact in merged.facts if fact.split != "train"}
    shown = " ".join(context(one.edits[0]) for group in groups for one in group)
    assert not any(f" {name} " in f" {shown} " for name in test if name.startswith("Person"))


def test_what_an_assistant_is_told_to_say_is_said_in_the_first_person(data):
    generator = GroupGenerator(data[0], "train", random.Random(1), data[1])
    examples = [generator.say_that() for _ in range(60)]
    assert all(isinstance(one.edits[0], LanguagePatch) for one in examples)
    assert any(" I " in f" {one.answer} " or "My" in one.answer for one in examples)
    assert not any(" you " in f" {one.answer.lower()} " for one in examples)


def test_only_english_is_asked(data):
    table = english(FactSource.load())
    assert not any(relation.chinese for relation in table.relations.values())
    assert SharedEditGenerator(FactSource.load(), "train", random.Random(0)).group()


# -- loss and prompt --------------------------------------------------------------------------


def test_the_loss_of_a_group_is_that_of_its_examples_one_by_one(family, models):
    model = models(family)
    if model.config.is_encoder_decoder:
        pytest.skip("groups are of causal models")
    make = losses.TokenizedExample
    groups = [
        [make([5, 6, 7, 8], [8, 9]), make([5, 6, 9], [15, 16, 17]), make([5, 6, 7, 9, 3], [2])],
        [make([20, 21], [22])],
        [make([4, 4, 4], [22, 7]), make([4, 4, 4], [23])],
    ]
    with torch.no_grad():
        together = losses.group_loss(model, groups).item()
        apart = losses.answer_loss(model, [one for group in groups for one in group]).item()
    assert together == pytest.approx(apart, rel=1e-4)


def test_the_decision_that_no_edit_governs_has_a_loss_of_its_own(models):
    model, make, end = models("llama"), losses.TokenizedExample, 2
    groups = [[make([5, 6, 7, 8], [8, 9]), make([5, 6, 9], [end])], [make([20, 21], [22])]]
    with torch.no_grad():
        plain = losses.group_loss(model, groups).item()
        decided = losses.group_loss(model, groups, end, 0.5).item() - plain
        terms = []
        for one in (one for group in groups for one in group):
            first = model(torch.tensor([list(one.prompt)])).logits[0, -1].softmax(-1)[end]
            terms.append(first if list(one.answer) == [end] else 1 - first)
    expected = -torch.stack(terms).log().mean().item()
    assert decided == pytest.approx(0.5 * expected, rel=1e-3)


def test_edits_stand_in_the_system_message(chat_tokenizer):
    prompter = Prompter(chat_tokenizer, form=PromptForm(**SHORT_FORM))
    text = prompter.text(["The sky is green.", "Water is dry."], "Really?")
    assert text.index("system") < text.index("The sky is green.\nWater is dry.")
    assert text.index("Water is dry.") < text.index("user") < text.index("Really?")


# -- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(models, chat_tokenizer, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    source, texts = data
    trainer = ReasonerTrainer(models("llama"), chat_tokenizer, source, out, QUICK, texts=texts)
    trainer.store(trainer.train(progress=False), "small files")
    return out


def test_the_card_says_how_the_edits_are_shown(trained, data, models, chat_tokenizer):
    card = read_card(trained)
    assert (card.chat, card.form, card.says) == (True, SHORT_FORM, True)
    assert card.training["texts_sha256"] == data[1].digest
    assert not card.abstention.depends_on_base
    reasoner = AdapterReasoner(models("llama"), chat_tokenizer, trained)
    assert reasoner.prompter.form.system == SHORT_FORM["system"]


def test_say_that_is_answered_by_the_adapter_and_instructions_by_the_base(
    trained, models, chat_tokenizer
):
    reasoner = AdapterReasoner(models("llama"), chat_tokenizer, trained)
    asked = []
    reasoner._decode = lambda prompts, *_: asked.append(len(prompts)) or [["said"]] * len(prompts)
    config = models("llama").generation_config
    edits = [
        [LanguagePatch("asked who made you", "say that you were made by Example Labs")],
        [LanguagePatch("asked anything", "answer in French")],
        [Fact("What is the capital of Kazakhstan?", "Astana")],
    ]
    answers = reasoner.answer(["Who made you?", "What is a zebra?", "Where?"], edits, config)
    assert asked == [2]
    assert [answers[0], answers[2]] == [["said"], ["said"]]
    assert answers[1] != ["said"]


def test_another_base_and_other_texts_are_refused(trained, models, chat_tokenizer, data):
    with pytest.raises(ModelError, match="expected the base model it was trained on"):
        AdapterReasoner(models("qwen2"), chat_tokenizer, trained)
    source, texts = data
    with pytest.raises(ErrataError, match="found other texts"):
        ReasonerTrainer(models("llama"), chat_tokenizer, source, trained, QUICK).resume()
    more = replace(QUICK, eval_examples=2)  # evaluates otherwise, trains alike
    again = ReasonerTrainer(models("llama"), chat_tokenizer, source, trained, more, texts=texts)
    assert again.resume() and again.step == 2


# -- evaluation -------------------------------------------------------------------------------


def test_names_polarity_and_instructions_are_judged():
    assert names("The capital is Nur-Sultan, of course.", "nur-sultan")
    assert names("It is the euro.", "The Euro") and not names("It is European.", "euro")
    assert [polarity(t) for t in ("Yes, it is.", "no", "Maybe", "")] == [True, False, None, None]
    assert follows("C'est la capitale de la France, bien sûr.", "language:french")
    assert not follows("It is the capital of France, of course.", "language:french")
    assert follows("One. ", "sentences:1") and not follows("One. Two.", "sentences:1")
    assert follows("a b", "words:2") and not follows("a b c", "words:2")
    assert follows("YES.", "upper:") and not follows("Yes.", "upper:")
    assert follows("- a\n- b", "list:") and not follows("a and b", "list:")
    assert follows("Certainly, yes.", "uses:certainly") and not follows("", "avoids:the")
    assert follows("Dear friend, no.", "begins:dear friend") and not follows("x", "begins:y")


def test_an_answer_is_right_if_it_names_the_new_object_and_not_the_old_one():
    one = ReasonerExample("own question", (), "q", "Astana", old="Almaty")
    assert right(one, "It is Astana.", "", "")
    assert not right(one, "It is Astana, not Almaty.", "", "")
    assert not right(one, "It is Almaty.", "", "")
    assert right(replace(one, answer="New York City", old="New York"), "New York City", "", "")
    forms = ReasonerExample(YES_NO, (), "q", "Yes", false_query="f")
    assert right(forms, "Yes, so it is.", "No, it is not.", "")
    assert not right(forms, "Yes", "Yes", "") and not right(forms, "Astana", "No", "")
    local = ReasonerExample(LOCALITY, (), "q", None)
    assert right(local, "Paris.", "", "paris") and not right(local, "Paris it is", "", "Paris")


def test_examples_of_more_rows_begin_with_those_of_fewer(data):
    few, more = (chat_examples(*data, n, seed=3) for n in (2, 4))
    assert tuple(few) == tuple(row for row in ROWS if row in few)
    assert len(few) == len(ROWS)
    for row, found in few.items():
        assert more[row][: len(found)] == found


def test_kept_answers_are_not_generated_again(models, chat_tokenizer, data, tmp_path):
    base, path = models("llama"), tmp_path / "answers.jsonl"
    examples = chat_examples(*data, 2)
    config = ChatConfig(max_new_tokens=3)

    def rates(reasoner):
        kept = AnswerFile(path)
        unedited = KeptReasoner("unedited", UneditedReasoner(base, chat_tokenizer), kept)
        evaluation = ChatEvaluation(base, chat_tokenizer, unedited, examples, 2, config)
        return evaluation.rates(KeptReasoner("prompted", reasoner, kept))

    first = rates(PromptedReasoner(base, chat_tokenizer))
    lines = path.read_text("utf-8").splitlines()

    class Fails:
        def supports(self, edit):
            return True

        def answer(self, *arguments):
            raise AssertionError("asked again")

        answer_prompts = answer

    assert rates(Fails()) == first
    assert path.read_text("utf-8").splitlines() == lines
    path.write_text("broken\n")
    with pytest.raises(ErrataError, match=r"answers.jsonl:1: expected an answer of"):
        AnswerFile(path)


def test_verbatim_is_right_where_the_answer_is_stored(models, chat_tokenizer, data):
    base = models("llama")
    examples = {row: e for row, e in chat_examples(*data, 3).items() if row != INSTRUCTION}
    unedited = UneditedReasoner(base, chat_tokenizer)
    evaluation = ChatEvaluation(
        base, chat_tokenizer, unedited, examples, 3, ChatConfig(max_new_tokens=2)
    )
    found = evaluation.rates(VerbatimReasoner(), 2)
    assert found["own question"].share == found[SAY_THAT].share == 1.0
    assert found[YES_NO].share == found[LOCALITY].share == 0.0
    assert all(rate.n <= 2 for rate in found.values())


@pytest.fixture
def folder(models, chat_tokenizer, tmp_path):
    models("llama").save_pretrained(tmp_path / "model")
    chat_tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_page_has_each_reasoner_alone_and_verified(folder, files, tmp_path):
    page = tmp_path / "page.md"
    words = ["reasoner", "eval", "--model", str(folder), "--each", "2", "--document", str(page)]
    words += ["--reasoners", "verbatim:1,unedited", "--data", str(files["pairs"]), "--json"]
    words += ["--mentions", "2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert json.loads(page.with_suffix(".json").read_text("utf-8")) == found
    assert list(found["results"]) == ["verbatim", "verbatim, verified", "unedited, verified"]
    assert found["results"]["verbatim"]["own question"]["n"] == 1
    assert found["data"].keys() == {"pairs.jsonl"}
    (named,) = (value for key, value in found.items() if key.startswith("old object"))
    assert {option: rate["n"] for option, rate in named.items()} == {"off": 2, "context": 2}
    text = page.read_text("utf-8")
    assert "| own question | 100.0% [21, 100] n=1 |" in text
    assert "--data pairs.jsonl --mentions 2`; do not edit" in text
    assert "| context | " in text
    assert found["data"]["pairs.jsonl"] in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--data", "nowhere.jsonl"], "expected a file at nowhere.jsonl"),
        (["eval", "--data", "nowhere.jsonl"], "expected a file at nowhere.jsonl"),
        (["eval", "--reasoners", " , "], "expected names or folders in --reasoners"),
    ],
)
def test_mistakes_on_the_command_line_are_named(words, says, tmp_path):
    out = ["--out", str(tmp_path / "run")] if words[0] == "train" else []
    result = CliRunner().invoke(app, ["reasoner", *words, *out, "--json"])
    assert result.exit_code == 1
    assert says in json.loads(result.stdout)["error"]["message"]
