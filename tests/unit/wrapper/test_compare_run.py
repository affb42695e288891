"""Runs of a comparison on a tiny model: what is written, resumed, refused, and voided."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from typer.testing import CliRunner

from errata import EditableModel, Fact
from errata.cache.errors import EditError, ErrataError, UnsupportedEdit
from errata.cli import app
from errata.commands import opening
from errata.commands.config import read_settings
from errata.compare.inputs.cases import Case, Preference, Probe
from errata.compare.inputs.data import ComparisonData, deal_open_questions, held_out_text_path
from errata.compare.inputs.files import write_cases
from errata.compare.report.document import in_words, write_document
from errata.compare.report.headline import headline
from errata.compare.report.html_page import html_page
from errata.compare.report.markdown import markdown
from errata.compare.report.summary import summarise
from errata.compare.report.tables import as_csv, format_training, tables
from errata.compare.run.backend_factory import BackendFactory
from errata.compare.run.backend_names import (
    ablation,
    check_names,
    is_control,
    resolvers_of,
    with_controls,
)
from errata.compare.run.backends import EditorBackend
from errata.compare.run.batches import edit_batches
from errata.compare.run.controls import RandomUpdate, shuffled_answers
from errata.compare.run.fingerprints import backend_fingerprints
from errata.compare.run.records import RECORDS, Run
from errata.compare.run.runner import Runner
from errata.compare.run.settings import Settings
from errata.compare.run.training_time import training_seconds
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange
from errata.gates.cosine import CosineGate
from tests.fakes import StubEncoder

HEAD = "transformer.h.1.mlp.c_proj.weight"
PLACES = (("Kazakhstan", "Astana"), ("Norway", "Lima"), ("Peru", "Cairo"), ("Egypt", "Oslo"))


class Nudge:
    """Changes one matrix a little for each edit; learns nothing, but moves everything."""

    capabilities = Capabilities()
    name = "nudge"
    trained: ClassVar = {}

    def supports(self, edit):
        return "Peru" not in edit.question

    def plan(self, model, tokenizer, edits):
        weight = model.get_parameter(HEAD)
        if any("Egypt" in edit.question for edit in edits):
            raise UnsupportedEdit("too far", next(e.id for e in edits if "Egypt" in e.question))
        self.trained = {"second moment": 4.2}  # as ROME's, computed with the first edit
        drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(edits)))
        return [WeightChange(HEAD, 2 * drawn)]


class Leak(Nudge):
    """Leaves the model changed: what must void a run."""

    def supports(self, edit):
        return True

    def plan(self, model, tokenizer, edits):
        with torch.no_grad():
            model.get_parameter(HEAD).add_(1e-3)
        return []


def a_case(place, answer):
    question = f"What is the capital of {place}?"
    fact = Fact(question, answer, subject=place)
    return Case(
        f"case-{place}",
        (fact,),
        (
            Probe("own", question, (answer,)),
            Probe("phrasing", f"What is the capital of {place}", (answer,)),
            Probe("yes or no", f"Is it {answer}?", ("Yes",), f"Is it {place}?", ("No",)),
            Probe("one hop", "Where?", ("x",), known=(("Who lives there?", "nobody at all"),)),
            Probe("other subject", f"Tell me what a zebra eats in {place}."),
            Probe("other relation", f"{place} lies north of the river."),
        ),
        (
            Preference("rewrite", question, answer, "Paris"),
            Preference("neighbour", "What is the capital of Japan?", answer, "Tokyo"),
        ),
        old="Paris",
        group="capital",
    )


CASES = tuple(a_case(*place) for place in PLACES)
OPENS = tuple(f"Every {animal} in Tokyo is old" for animal in ("panda", "otter", "whale", "raven"))


@pytest.fixture
def model(models, tokenizer):
    encoder = StubEncoder()
    made = EditableModel(
        copy.deepcopy(models("gpt2")), tokenizer, encoder=encoder,
        gate=CosineGate(encoder, 0.97), reasoner="verbatim",
    )  # fmt: skip
    with made:
        yield made


class Small(BackendFactory):
    """Also makes the editors of this file."""

    def create(self, name, options):
        editors = {"nudge": Nudge(), "leak": Leak(), "random:nudge": RandomUpdate(Nudge())}
        if name in editors:
            return EditorBackend(name, self.model, editors[name])
        return super().create(name, options)


def settings(*backends, **changes):
    given_ = {"modes": ("single",), "sizes": (1, 3), "seeds": (0,), "max_new_tokens": 6}
    given_ |= {"latency_cases": 1, "controls": False}
    return Settings(backends=backends, data="unread", **{**given_, **changes})


def runner(model, run, chosen):
    joining = {name: {} for name in chosen.backends}
    run.begin({"seeds": list(chosen.seeds), "model": "tiny"}, joining)
    cases = {seed: CASES for seed in chosen.seeds}
    data = ComparisonData(
        cases, deal_open_questions(OPENS, chosen.seeds, None), ("Lima lies north of it.",)
    )
    return Runner(chosen, Small(model), data, run)


def timeless(run):
    """Return the records without what differs from one moment to the next."""
    dropped = ("seconds", "cpu_seconds", "load", "memory", "extras", "cpu_ms")
    return [{k: v for k, v in r.items() if k not in dropped} for r in run.records()]


def test_a_run_measures_every_backend_on_every_case(model, tmp_path):
    run = Run(tmp_path / "run")
    before = copy.deepcopy(model.base.state_dict())
    runner(model, run, settings("cache", "none", "shuffled:cache", "nudge")).run()
    cases = [r for r in run.records() if r["type"] == "case"]
    assert [r["backend"] for r in cases] == [
        name for name in ("cache", "none", "shuffled:cache", "nudge") for _ in CASES
    ]
    found = summarise(run)
    results = found.blocks[0].results
    assert results["cache"].mean("accuracy") == 1.0
    assert results["none"].mean("accuracy") == results["shuffled:cache"].mean("accuracy") == 0.0
    assert results["none"].mean("locality, unrelated") == 1.0
    assert results["cache"].mean("misses token-equal") == 1.0
    assert results["cache"].pipeline and results["cache"].mean("own, right if fired") == 1.0
    assert not results["nudge"].pipeline and results["nudge"].mean("own, fired") is None
    assert results["cache"].mean("ES") == 1.0 and results["shuffled:cache"].mean("ES") == 0.0
    assert results["nudge"].mean("locality, neighbours") < 1.0  # the effect is there …
    assert results["nudge"].mean("KL(before ‖ after)") > 0.0
    assert results["cache"].mean("KL(before ‖ after)") == 0.0
    after = model.base.state_dict()  # … and gone
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.edits and set(found.rollbacks.values()) == {True}


def test_without_teacher_forcing_the_answers_are_the_same_and_no_text_is_scored(model, tmp_path):
    found = {}
    for forced in (True, False):
        run = Run(tmp_path / str(forced))
        chosen = settings("cache", "nudge", teacher_forcing=forced)
        runner(model, run, chosen).run()
        found[forced] = [r for r in run.records() if "probes" in r]
        assert markdown(summarise(run))
    answers = [
        [(p.get("answer"), p.get("after")) for r in each for p in r["probes"] + r["locality"]]
        for each in found.values()
    ]
    assert answers[0] == answers[1] and len(answers[0]) > 20
    assert any(r["preferences"] for r in found[True])
    probes = [p for r in found[False] for p in r["probes"] + r["locality"]]
    assert not any({"forced", "kl", "along"} & p.keys() for p in probes)
    assert not any(r["preferences"] for r in found[False])


def test_no_control_is_tested_wherever_it_stands(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("none", "cache", "shuffled:cache", "nudge")).run()
    tests = summarise(run).blocks[0].tests
    assert tests and {(test.first, test.second) for test in tests} == {("cache", "nudge")}


def test_edits_that_cannot_be_made_are_counted_and_skipped(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("nudge")).run()
    result = summarise(run).blocks[0].results["nudge"]
    assert (result.cases, result.unsupported) == (2, 2)
    assert result.untested == {"one hop": 2}
    refused = [r for r in run.records() if r.get("unsupported")]
    assert {r["case"] for r in refused} == {"case-Peru", "case-Egypt"}
    assert not any("probes" in r for r in refused)


def test_yes_or_no_needs_both_forms(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("cache")).run()
    probes = [p for r in run.records() if r["type"] == "case" for p in r["probes"]]
    doubled = [p for p in probes if p["kind"] == "yes or no"]
    assert len(doubled) == 4 and all("denial" in p for p in doubled)
    assert not any(p["right"] for p in doubled if p["denial"].casefold() != "no")


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resuming_gives_what_an_uninterrupted_run_gives(model, tmp_path, stop):
    chosen = settings("cache", "nudge", modes=("batch", "sequential"))
    whole, broken = Run(tmp_path / "whole"), Run(tmp_path / "broken")
    first = runner(model, whole, chosen)
    everything = first.remaining()
    first.run()
    seen = []

    def interrupt(backend):
        seen.append(backend)
        if len(seen) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner(model, broken, chosen).run(interrupt)
    with open(broken.folder / RECORDS, "a") as file:
        file.write('{"type": "case", "backend": "ca')  # a kill in the middle of a line
    again = Run(tmp_path / "broken")
    going = runner(model, again, chosen)
    assert going.remaining() == everything - stop
    going.run()
    assert timeless(again) == timeless(whole)


def test_a_run_that_is_there_measures_nothing_again(model, tmp_path):
    chosen = settings("cache")
    runner(model, Run(tmp_path), chosen).run()
    size = (tmp_path / RECORDS).stat().st_size
    ticks = []
    runner(model, Run(tmp_path), chosen).run(ticks.append)
    assert not ticks and (tmp_path / RECORDS).stat().st_size == size
    runner(model, Run(tmp_path), settings("cache", "none")).run(ticks.append)  # another joins
    assert ticks == ["none"] * 4


def test_other_settings_are_refused(tmp_path):
    Run(tmp_path).begin({"seeds": [0], "n": 4}, {"rome": {"layer": 5}})
    with pytest.raises(ErrataError, match=r"n: 4 there, 5 now"):
        Run(tmp_path).begin({"seeds": [0], "n": 5}, {})
    with pytest.raises(ErrataError, match="rome with the options"):
        Run(tmp_path).begin({"seeds": [0], "n": 4}, {"rome": {"layer": 6}})
    Run(tmp_path).begin({"seeds": [0], "n": 4}, {"ft": {}})
    assert list(Run(tmp_path).about()["backends"]) == ["rome", "ft"]


def test_another_gate_concerns_only_the_backends_that_use_it(tmp_path):
    protocol, old, new = {"n": 4}, {"cache": {"gate": "old"}}, {"cache": {"gate": "new"}}
    Run(tmp_path).begin(protocol, {"cache": {}, "ft": {}}, old)
    Run(tmp_path).begin(protocol, {"ft": {}}, {})  # goes on, whatever the gate is by now
    with pytest.raises(ErrataError, match=r"cache with the gate old, found the gate new"):
        Run(tmp_path).begin(protocol, {"cache": {}}, new)
    assert Run(tmp_path).about()["parts"] == old


def test_pipelines_tell_their_gate_and_reasoner(model):
    chosen = settings("cache", "shuffled:cache", "nudge", "none")
    factory = Small(model)
    for name in chosen.backends:
        factory.create(name, {})
    told = backend_fingerprints(factory, chosen)
    assert set(told) == {"cache", "shuffled:cache"}
    assert told["cache"] == told["shuffled:cache"]
    assert told["cache"]["gate"].startswith(type(model.gate).__name__)


def test_a_backend_that_does_not_put_the_model_back_voids_the_run(model, tmp_path):
    run = Run(tmp_path)
    with pytest.raises(EditError, match="the run is void"):
        runner(model, run, settings("cache", "leak")).run()
    found = summarise(run)
    assert found.void == ("leak",)
    assert "void" in headline(found)
    assert "VOID" in html_page(found, {}) and found.rollbacks["cache"] is True


def test_a_damaged_line_is_named(tmp_path):
    run = Run(tmp_path)
    run.begin({}, {"cache": {}})
    (tmp_path / RECORDS).write_text('{"type": "case"\n')
    with pytest.raises(ErrataError, match=r"records.jsonl:1"):
        list(run.records())


def test_there_has_to_be_a_run(tmp_path):
    with pytest.raises(ErrataError, match="errata compare"):
        summarise(Run(tmp_path / "nowhere"))


def test_a_random_change_is_as_large_as_the_editors_and_another(model, tokenizer):
    edits = list(CASES[0].edits)
    own = Nudge().plan(model.base, tokenizer, edits)[0]
    drawn = RandomUpdate(Nudge()).plan(model.base, tokenizer, edits)[0]
    again = RandomUpdate(Nudge()).plan(model.base, tokenizer, edits)[0]
    assert drawn.name == own.name
    assert float(drawn.delta.norm()) == pytest.approx(float(own.delta.norm()), rel=1e-5)
    assert not torch.allclose(drawn.delta, own.delta) and torch.equal(drawn.delta, again.delta)


def test_shuffled_answers_are_never_the_right_ones():
    found = shuffled_answers(CASES, 0)
    for case in CASES:
        for edit in case.edits:
            assert found[edit.id] not in (edit.answer, case.old)
    with pytest.raises(EditError, match="controls: false"):
        shuffled_answers(CASES[:1], 0)


@limits(deadline=None, max_examples=40)
@given(st.sampled_from(["single", "batch", "sequential"]), st.integers(1, 7), st.integers(1, 9))
def test_batches_edit_before_they_evaluate_and_evaluate_every_case(mode, count, size):
    cases = [a_case(f"Place{i}", f"Answer{i}") for i in range(count)]
    judged = []
    for batch in edit_batches(mode, (size, 10**9), cases):
        made = []
        for step in batch.steps:
            made += [case.id for group in step.applied for case in group]
            assert {case.id for case in step.evaluated} <= set(made)
            assert len(made) == len(set(made)) and len(made) <= step.size
            judged += [(step.size, case.id) for case in step.evaluated]
            if mode == "sequential":
                assert made == [case.id for case in cases[: step.size]]
                assert all(len(group) == 1 for group in step.applied)
    assert len(judged) == len(set(judged))
    everyone = {case.id for case in cases}
    sizes = {size for size, _ in judged}
    assert {case for at, case in judged if at == max(sizes)} == everyone


def test_no_open_question_is_asked_under_two_seeds():
    dealt = deal_open_questions([f"q{i}" for i in range(50)] + ["q1"], (0, 1, 2), 30)
    asked = [question for share in dealt.values() for question in share]
    assert len(asked) == len(set(asked)) == 30


def test_a_report_needs_records_only_and_escapes_every_text(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("cache", "nudge", modes=("single", "sequential"))).run()
    path = tmp_path / RECORDS
    path.write_text(path.read_text().replace("zebra", "<script>alert(1)</script>|x"))
    found = summarise(Run(tmp_path))
    made = html_page(found, {"A chart": "<svg></svg>"})
    assert "&lt;script&gt;" in made and "<script>" not in made
    assert "zebra" not in made and "nudge" in made and "http" not in made.split("run.json")[0]
    text = markdown(found)
    assert "Retention" in text and "Paired tests" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all("|x" not in row.replace("\\|x", "") for row in rows)
    assert as_csv(found).count("\n") > 20
    json.dumps(found.to_json(), allow_nan=False)


def test_a_report_is_made_without_torch(model, tmp_path):
    runner(model, Run(tmp_path), settings("cache", "none")).run()
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from errata.compare.run.records import Run\n"
        "from errata.compare.report.summary import summarise\n"
        "from errata.compare.report.html_page import html_page\n"
        "from errata.compare.report.charts import charts\n"
        f"found = summarise(Run(Path({str(tmp_path)!r})))\n"
        "print(len(html_page(found, charts(found))), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    length, torch_there = done.stdout.split()
    assert int(length) > 10_000 and torch_there == "False"


def test_a_stored_answer_is_no_running_text(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("cache", "nudge", latency_cases=4)).run()
    results = summarise(run).blocks[0].results
    assert results["nudge"].estimates["fluency"].n == 2
    fired = [r for r in run.records() if r.get("backend") == "cache" and "probes" in r]
    assert all("hit" in r["extras"] and "miss" in r["extras"] for r in fired)


def test_training_time_is_what_the_cards_tell(tmp_path):
    gate = SimpleNamespace(
        artifact=SimpleNamespace(
            card={"seconds": 731, "cross-encoder": {"seconds": 2327, "started from": "clear"}}
        )
    )
    adapter = SimpleNamespace(
        card=SimpleNamespace(training={"seconds": 60, "first stretch": {"seconds": 30.5}})
    )
    told = training_seconds(gate, SimpleNamespace(chosen=adapter))
    assert told == {
        "gate": 731.0, "gate: cross-encoder, from clear": 2327.0,
        "reasoner": 60.0, "reasoner: first stretch": 30.5,
    }  # fmt: skip
    assert training_seconds(CosineGate(StubEncoder(), 0.9), object()) == {}
    assert format_training(told).startswith(
        "52 min: gate 12 min, gate: cross-encoder, from clear 39 min"
    )
    assert (format_training({}), format_training({"second moment": 4.21})) == (
        "nothing",
        "second moment 4.2 s",
    )


def test_a_report_tells_what_was_trained_beforehand(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("cache", "none", "nudge", "random:nudge")).run()
    found = summarise(Run(tmp_path))
    moment = {"second moment": 4.2}
    assert found.trained == {"cache": {}, "none": {}, "nudge": moment, "random:nudge": moment}
    table = next(t for t in tables(found, found.blocks[0]) if t.title == "Efficiency")
    assert {row[0]: row[-1] for row in table.rows} == {
        "cache": "nothing", "none (control)": "nothing", "nudge": "second moment 4.2 s",
        "random:nudge (control)": "second moment 4.2 s",
    }  # fmt: skip
    assert "second moment 4.2 s" in html_page(found, {}) and "second moment 4.2 s" in markdown(
        found
    )
    assert ",,nudge,trained beforehand: second moment,s,4.2,,,,\n" in as_csv(found)
    assert found.to_json()["trained"]["nudge"] == moment
    earlier = dataclasses.replace(found, trained={})  # a run of an errata that did not tell
    assert "trained beforehand" not in markdown(earlier)


def test_the_document_says_it_in_words_and_tells_runs_beside_one_another(model, tmp_path):
    run = Run(tmp_path / "run")
    runner(model, run, settings("cache", "none", "nudge")).run()
    found = summarise(run)
    write_document(found, tmp_path / "comparison.md", [found])
    text = (tmp_path / "comparison.md").read_text()
    line = next(row for row in text.splitlines() if row.startswith("| cache | high (100%)"))
    assert "| quick (" in line and line.endswith("| yes | yes |")
    assert any(row.startswith("| none (control) | low (0%)") for row in text.splitlines())
    assert any(row.startswith("| nudge | low (0%)") for row in text.splitlines())
    # no case differs, and four cannot show that none ever would: Wilson's bound of 0 in 4
    assert "## Another run" in text and "| cache | +0.0 [-49.0, +49.0] n 4 |" in text
    for picture in re.findall(r"\]\((comparison/[^)]+)\)", text):
        assert (tmp_path / picture).read_text().startswith("<svg")


def test_a_document_names_what_was_not_measured_and_whether_weights_changed(model, tmp_path):
    run = Run(tmp_path / "run")
    runner(model, run, settings("cache:if", "cache:regex", "nudge", controls=False)).run()
    found = summarise(run)
    assert found.touched == {"cache:if": False, "cache:regex": False, "nudge": True}
    assert set(found.rollbacks.values()) == {True}
    rows = {row[0]: row for row in in_words(found, found.blocks[0], ["mend", "nudge"]).rows}
    assert list(rows) == ["mend", "nudge", "cache:if", "cache:regex"]
    assert rows["mend"][1] == "not measured" and set(rows["mend"][2:]) == {"–"}
    assert rows["nudge"][-2:] == ("no", "yes") and rows["cache:regex"][-2:] == ("yes", "yes")
    assert rows["cache:regex"][-3] == "nothing"


@pytest.fixture
def files(model, tmp_path, monkeypatch):
    """Write cases and open questions; the command opens the tiny model."""
    write_cases(CASES, tmp_path / "cases.jsonl")
    (tmp_path / "open.txt").write_text("\n".join(OPENS))
    monkeypatch.setattr(opening, "open_model", lambda *_, **__: model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def errata(*words):
    return CliRunner().invoke(app, list(words))


def test_the_commands(files):
    (files / "config.yaml").write_text(
        "data: cases.jsonl\nopen_questions: open.txt\nmax_new_tokens: 6\nlatency_cases: 0\n"
        "backends: [cache, rome]\n"
    )
    common = ["compare", "--config", "config.yaml", "--out", "run", "--backends", "cache"]
    done = errata(*common, "--seeds", "0,1")
    assert done.exit_code == 0, done.output
    assert "100.0% of the edited questions" in done.output and "warning" not in done.output
    assert Path("run", "report.html").is_file()
    kinds = Counter(record["type"] for record in Run(Path("run")).records())
    assert kinds == {"case": 2 * 4 * 4, "rollback": 2 * 4, "training": 2 * 4}
    told = errata("report", "run", "--json")
    assert json.loads(told.output)["void"] == []
    told = errata("report", "run", "--csv")
    assert "single,1,cache,accuracy,share,1.0" in told.output
    refused = errata(*common, "--seeds", "0,1,2")
    assert refused.exit_code == 1 and "seeds: [0, 1] there, [0, 1, 2] now" in refused.output
    assert errata(*common, "--seeds", "many").exit_code == 2
    assert errata("compare", "--out", "other").exit_code == 2  # no data


def test_options_of_before_are_keys_of_the_config_and_give_the_same_run(files):
    old = ["--open", "open.txt", "--open-n", "3", "--tokens", "6", "--extras", "0", "--batch", "32",
           "--mode", "batch,single", "--sizes", "2,all", "--seed", "0", "--no-controls",
           "--options", "{}", "--format", "errata"]  # fmt: skip
    common = ["compare", "--data", "cases.jsonl", "--backends", "cache", "--out"]
    done = errata(*common, "old", *old)
    assert done.exit_code == 0, done.output
    for flag, key in (("--tokens", "max_new_tokens"), ("--controls", "controls"),
                      ("--mode", "modes"), ("--open-n", "n_open_questions")):  # fmt: skip
        assert re.search(f"warning: {flag} .*`{key}: ", done.stderr.replace("\n", " "))
    Path("new.yaml").write_text(
        "open_questions: open.txt\nn_open_questions: 3\nmax_new_tokens: 6\nlatency_cases: 0\n"
        "batch_size: 32\nmodes: [batch, single]\nsizes: [2, all]\nseeds: [0]\ncontrols: false\n"
        "options: {}\nformat: errata\n"
    )
    done = errata(*common, "new", "--config", "new.yaml")
    assert done.exit_code == 0 and "warning" not in done.stderr
    before, after = Run(Path("old")), Run(Path("new"))
    assert before.about() == after.about() and timeless(before) == timeless(after)
    shown = errata("compare", "--help").output
    assert "--config" in shown and "--extras" not in shown and shown.count(" --") <= 30
    for words in (["--backends", "rmoe"], ["--options", "{"], ["--sizes", "many"]):
        assert errata(*common, "other", *words).exit_code in (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens: 6", "config.yaml:1"),
        ("seed: [0]", "did you mean 'seeds'"),
        ("n: many", "config.yaml:1: n: "),
        ("sizes: [some]", "config.yaml:1: sizes: "),
        ("batch_size: 0", "batch_size of at least 1"),
    ],
)
def test_a_config_that_is_wrong_is_refused_by_file_and_key(files, text, message):
    Path("config.yaml").write_text(f"{text}\n")
    common = ["compare", "--data", "cases.jsonl", "--out", "run", "--config", "config.yaml"]
    refused = errata(*common)
    assert refused.exit_code == 1
    assert message in refused.output.replace("\n", "")


def documented_configs():
    """Return the YAML examples of the documentation, by the name that each is given there."""
    page = Path(__file__).parents[3] / "docs" / "compare.md"
    found = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return {re.search(r"\S+\.yaml", example)[0]: example for example in found}


def test_the_example_config_of_the_documentation_runs(files):
    Path("compare.yaml").write_text(documented_configs()["compare.yaml"])
    Path("cases.jsonl").rename("bench.jsonl")
    Path("open.txt").rename("questions.txt")
    done = errata("compare", "--config", "compare.yaml", "--backends", "cache", "--n", "2",
                  "--out", "run")  # fmt: skip
    assert done.exit_code == 0, done.output
    about = Run(Path("run")).about()
    assert about["protocol"]["seeds"] == [0, 1, 2] and "shuffled:cache" in about["backends"]


def test_the_pairs_config_of_the_documentation_is_read(tmp_path):
    examples = documented_configs()
    assert examples.keys() == {"compare.yaml", "pairs.yaml"}
    (tmp_path / "pairs.yaml").write_text(examples["pairs.yaml"])
    found = read_settings(Settings, tmp_path / "pairs.yaml")
    assert (found.split, found.n, found.n_open_questions) == ("test", 1000, 1000)


def test_a_report_says_of_which_split_its_cases_are(model, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "open_model", lambda *_, **__: model)
    config = tmp_path / "config.yaml"
    config.write_text("controls: false\nmax_new_tokens: 4\nlatency_cases: 0\n")
    for split, warned in (("tune", True), ("test", False), ("", False)):
        cases = [dataclasses.replace(case, split=split) for case in CASES]
        data, out = tmp_path / f"{split}cases.jsonl", tmp_path / f"{split}run"
        write_cases(cases, data)
        done = CliRunner().invoke(
            app, ["compare", "--data", str(data), "--out", str(out), "--backends", "cache",
                  "--config", str(config)],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        report = (out / "report.md").read_text()
        assert ("TUNE SPLIT" in done.output) == ("TUNE SPLIT" in report) == warned
        assert f"- split: {split or 'not told by the data'}" in report


def test_held_out_text_is_taken_from_beside_the_data(model, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "open_model", lambda *_, **__: model)
    data = tmp_path / "cases.jsonl"
    write_cases(CASES, data)
    config = tmp_path / "config.yaml"
    config.write_text("controls: false\nmax_new_tokens: 4\nlatency_cases: 0\n")
    common = ["compare", "--data", str(data), "--backends", "none", "--config", str(config),
              "--out"]  # fmt: skip
    assert CliRunner().invoke(app, [*common, str(tmp_path / "without")]).exit_code == 0
    held_out_text_path(data).write_text("Lima lies north of the river.\n\nOslo is old.\n")
    assert CliRunner().invoke(app, [*common, str(tmp_path / "with")]).exit_code == 0
    found = {
        name: {tuple(r["perplexity"]) for r in Run(tmp_path / name).records() if "case" in r}
        for name in ("without", "with")
    }
    assert found["without"] == {()}
    ((before, after),) = found["with"]
    assert before == after > 1
    told = Run(tmp_path / "with").about()["protocol"]["files"]["text"]
    assert told["name"] == "cases.held-out.txt"


def test_the_headline_names_the_best_first_whatever_the_order(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("nudge", "cache")).run()
    told = headline(summarise(run))
    assert "cache (" in told and told.index("cache (") < told.index("nudge (")
    assert "cache answers 100.0% of the edited questions" in told
    assert "4.2 s of training beforehand" in told


class CountingEncoder(StubEncoder):
    """An encoder that counts how often its cache is cleared."""

    forgotten = 0

    def forget(self):
        self.forgotten += 1


def test_what_is_timed_is_as_if_it_were_new(models, tokenizer, tmp_path):
    encoder = CountingEncoder()
    gate = CosineGate(encoder, 0.97)
    made = EditableModel(copy.deepcopy(models("gpt2")), tokenizer, encoder=encoder, gate=gate,
                         reasoner="verbatim")  # fmt: skip
    with made:
        runner(made, Run(tmp_path / "cache"), settings("cache", latency_cases=1)).run()
        each, timed = len(CASES), 2 * 5  # a hit and a miss, five times each
        assert encoder.forgotten == each + timed
        runner(made, Run(tmp_path / "nudge"), settings("nudge", latency_cases=1)).run()
        assert encoder.forgotten == each + timed


def test_disagreements_name_edits_and_both_forms(model, tmp_path):
    run = Run(tmp_path)
    runner(model, run, settings("cache", "nudge")).run()
    rows = [json.loads(line) for line in (tmp_path / RECORDS).read_text().splitlines()]
    for row in rows:  # a yes-or-no question that the cache alone gets right
        for probe in row.get("probes", ()):
            if row["backend"] == "cache" and probe["kind"] == "yes or no":
                edit = row["edits"][0]
                probe |= {"right": True, "answer": "Yes", "denial": "No", "fired": [edit["id"]]}
    (tmp_path / RECORDS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = summarise(Run(tmp_path))
    (told,) = [r for r in found.disagreements
               if r["kind"] == "yes or no" and "Norway" in r["false_question"]]  # fmt: skip
    assert told["denials"] == ["No"]
    assert told["answers"]["cache"]["by"] == ["What is the capital of Norway?"]
    assert "Is it Lima? / Is it Norway?" in html_page(found, {}) and "Yes / No" in html_page(
        found, {}
    )
    assert "base: this edit" in html_page(found, {})


def test_an_ablation_leaves_out_each_resolver_and_all():
    whole, *others, none = ablation()
    names = resolvers_of(whole)
    assert names == ["base_agreement", "aliases", "decompose", "begun_secrets", "follow_up"]
    assert resolvers_of(none) == [] and resolvers_of("cache") is None
    left = [set(resolvers_of(other)) for other in others]
    assert left == [set(names) - {name} for name in names]
    check_names(ablation())


PAIRS = (
    {"a": "Who wrote Emma?", "b": "Who wrote Emma", "same": 1},
    {"a": "Who wrote Faust?", "b": "Which river is long?", "same": 1},
    {"a": "Where is Oslo?", "b": "Where is Oslo", "same": 0},
    {"a": "Where is Lima?", "b": "How do bees fly?", "same": 0},
)


def test_pairs_are_decided_and_never_answered(files, monkeypatch):
    lines = "".join(json.dumps(pair) + "\n" for pair in PAIRS)
    (files / "pairs.jsonl").write_text(lines)
    (files / "config.yaml").write_text("data: pairs.jsonl\nopen_questions: open.txt\n")
    common = ["compare", "--ablate", "--config", "config.yaml", "--out", "run"]
    monkeypatch.setattr(EditableModel, "generate", None)  # nothing may be generated
    done = errata(*common, "--json")
    assert done.exit_code == 0, done.output
    block = json.loads(done.output)["blocks"][0]
    assert list(block["results"]) == list(ablation())
    found = {
        name: e["mean"] for name, e in block["results"]["cache:all-resolvers"]["estimates"].items()
    }
    assert found["same question, fired"] == 0.5 and found["different question, false hits"] == 0.5
    assert found["unrelated, false hits"] == 0.0 and found["a decision"] > 0
    told = {(each["measure"], each["backend"]): each["difference"] for each in block["ablations"]}
    nothing = told["same question, fired", "cache:without-aliases"]
    # no resolver takes part here, and four cases cannot show that it never would
    assert nothing["mean"] == 0.0 and nothing["low"] == -nothing["high"] < -0.4
    page = Path("run", "report.md")
    assert errata("report", "run").exit_code == 0
    assert "| without aliases | +0.0 [" in page.read_text()
    records = Path("run", RECORDS).read_text()
    assert errata(*common).exit_code == 0 and Path("run", RECORDS).read_text() == records
    assert errata(*common, "--backends", "cache").exit_code == 2
    editors = ["compare", "--config", "config.yaml", "--backends", "rome", "--out", "other"]
    refused = errata(*editors)
    assert refused.exit_code == 1 and "expected pipelines" in refused.output


def test_names_of_backends():
    check_names(["cache", "rome", "random:ft", "shuffled:cache", "shuffled:rome", "none"])
    check_names(["cache:verbatim", "shuffled:cache:verbatim", *ablation()])
    with pytest.raises(ErrataError, match="did you mean 'rome'"):
        check_names(["rmoe"])
    with pytest.raises(ErrataError, match="expected a backend"):
        check_names(["random:cache"])
    found = with_controls(["cache", "rome"])
    assert found == ("cache", "rome", "none", "shuffled:cache", "cache:verbatim", "random:rome")
    assert [name for name in found if not is_control(name)] == ["cache", "rome"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ("often",)}, "expected a mode"),
        ({"sizes": (0,)}, "at least 1"),
        ({"seeds": (0, 0)}, "each once"),
        ({"options": {"memit": {}}}, "options of memit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ErrataError, match=message):
        settings("cache", **changes)
