"""errata assess: the contrast, its relations, and the patches that it writes."""

from __future__ import annotations

import json
import math

import pytest
import torch
from typer.testing import CliRunner

from errata import Fact
from errata.cache.errors import EditError
from errata.cache.patches.files import load_file
from errata.cache.records import PatchTests
from errata.cli import app
from errata.editors.assess import AssessConfig, _log_mean, _relations, assess, table_facts
from errata.editors.shared.examples import Example, padded, prompt_ids, target_ids
from errata.facts import FactSource
from tests.conftest import build_model, build_tokenizer

CAPITAL = Fact("What is the capital of Peru?", "Lima", subject="Peru")
FOOD = Fact("Tell me what a zebra eats in Peru.", "Oslo", subject="Peru")
LIST = (
    CAPITAL,
    Fact("What is the capital of Norway?", "Oslo", subject="Norway"),
    FOOD,
    Fact("Who wrote that?", "nobody"),
    Fact("Where is Peru?", forget=True, secret="far"),
)


def chance(model, tokenizer, question, answer):
    target = target_ids(model, tokenizer, question, answer)
    batch = padded(model, [Example(prompt_ids(tokenizer, question), target)])
    with torch.no_grad():
        return math.exp(-len(target) * float(batch.losses(model(**batch.inputs).logits)[0]))


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_the_score_is_the_contrast_of_the_paper(family, tokenizer):
    model = build_model(family)
    found, others = assess(model, tokenizer, LIST)
    assert {edit.id for edit in others} == {LIST[3].id, LIST[4].id}
    score = next(each.score for each in found if each.fact == CAPITAL)
    own = chance(model, tokenizer, CAPITAL.question, "Lima")
    other = chance(model, tokenizer, "Tell me what a zebra eats in Peru.", "Lima")
    assert score == pytest.approx(math.log(own / other), abs=1e-3)
    assert [each.score for each in found] == sorted(each.score for each in found)
    for each in found:
        assert each.wrong == (each.score < 0) and bool(each.answer) == each.wrong
    strict, _ = assess(model, tokenizer, LIST, AssessConfig(threshold=1e30))
    assert all(each.wrong for each in strict)


def test_facts_that_share_a_wording_share_a_relation():
    fires = PatchTests(fires=("Peru's capital?", "no subject here"))
    one = Fact("What is the capital of Peru?", "Lima", subject="Peru", tests=fires)
    two = Fact("Norway's capital?", "Oslo", subject="Norway")
    groups = _relations([one, two, FOOD])
    assert len({id(group) for group in groups.values()}) == 2
    with pytest.raises(EditError, match="two relations"):
        assess(build_model("gpt2"), build_tokenizer(), [one, two])


def test_a_mean_of_tiny_chances_does_not_underflow():
    assert _log_mean([-2000.0, -2000.0]) == -2000.0
    assert _log_mean([0.0, -2000.0]) == pytest.approx(math.log(0.5))


def test_the_shipped_table_is_a_list_of_facts():
    source = FactSource.load()
    facts = table_facts(source, wordings=2, without=("address",))
    assert len(facts) > 1000 and all(len(fact.tests.fires) <= 1 for fact in facts)
    assert not any("Elm Street" in fact.answer for fact in facts)
    chinese = table_facts(source, wordings=1, chinese=True)
    assert chinese and not {fact.question for fact in chinese} & {fact.question for fact in facts}


def test_patches_are_written_for_what_is_wrong(tmp_path):
    table = tmp_path / "facts.csv"
    table.write_text(
        "question;answer;subject\n"
        "What is the capital of Kazakhstan?;Oslo Bergen Stavanger;Kazakhstan\n"
        "What is the capital of Norway?;Oslo;Norway\n"
        "What is the currency of Norway?;Norwegian krone;Norway\n"
        "What is the currency of Kazakhstan?;tenge;Kazakhstan\n"
    )
    out = tmp_path / "assessed.yaml"
    call = ["assess", str(table), "--threshold", "1e300", "--out", str(out)]
    told = CliRunner().invoke(app, [*call, "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert report["wrong"] == report["facts"] == 4
    made = load_file(out)
    assert {fact.answer for fact in made} >= {"tenge", "Oslo"}
    assert all(fact.source == "errata assess --model atlas" for fact in made)
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 1 and "new file" in again.output + again.stderr
    right = CliRunner().invoke(app, ["assess", str(table), "--json"])
    ratios = {row["question"]: row["ratio"] for row in json.loads(right.stdout)["assessed"]}
    assert ratios["What is the capital of Norway?"] > 1
    assert ratios["What is the capital of Kazakhstan?"] == min(ratios.values())
