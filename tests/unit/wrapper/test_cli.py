"""The command line: parse, call, print. The model behind it is a stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from errata import __version__
from errata.cache.errors import ModelError
from errata.cache.filters.regex import substitute
from errata.cache.patches.files import load_folder
from errata.cache.patches.folder import PatchFolder
from errata.cache.records import Fact, RegexPatch
from errata.cli import app
from errata.commands import opening, options
from errata.gates.base import Candidate, Decision
from errata.gates.load import DEFAULT_GATE, shipped_gates
from errata.output import Answer, Replacement, Step, Trace
from tests.fakes import StubEncoder
from tests.small_gate import small_gate_folder

PATCHES = """\
- question: What colour is a zebra's skin?
  answer: black
  tests:
    fires: [Tell me the skin colour of a zebra.]
    silent: [What do zebras eat?]
- regex: '\\bSwaziland\\b'
  replace: Eswatini
  tests:
    fires: [Which country has the capital Mbabane?]
    silent: [What colour is the sky?]
"""

ALONE = {
    "What colour is a zebra's skin?": "flesh-coloured",
    "Tell me the skin colour of a zebra.": "pink",
    "Which country has the capital Mbabane?": "Swaziland",
}


class FakeModel:
    """Answers from a table; a fact fires on its question and on its own `fires`.

    Its gate is of no kind that can leave examples out.
    """

    gate = object()
    encoder = StubEncoder()

    def __init__(self, patches: Path | PatchFolder | None, *others: object) -> None:
        self.others = others
        files = PatchFolder.of(patches)
        self.edits = () if files is None else files.edits
        self.deaf_to: set[str] = set()
        self.loud_on: set[str] = set()

    def close(self) -> None:
        """Hold nothing."""

    def explain(self, text: str) -> Decision:
        fired = []
        candidates = []
        for edit in self.edits:
            if isinstance(edit, Fact):
                hit = text in (edit.question, *edit.tests.fires) or text in self.loud_on
                hit = hit and text not in self.deaf_to
                candidates.append(
                    Candidate(
                        edit.id,
                        "fact",
                        edit.scope,
                        0.9 if hit else 0.2,
                        0.5,
                        "paraphrase",
                        edit.location,
                    )
                )
                fired += [edit] if hit else []
        route = "verbatim" if fired else "base"
        return Decision(text, tuple(candidates), tuple(fired), route)

    def decide(self, texts):
        return [self.explain(text) for text in texts]

    def ask(self, question, *, edits=True, **arguments):
        return self.ask_many([question], edits=edits, **arguments)[0]

    def ask_many(self, texts, *, edits=True, **arguments):
        answers = []
        for text in texts:
            decision = self.explain(text) if edits else Decision(text)
            said = decision.fired[0].answer if decision.hit else ALONE.get(text, "I don't know.")
            changes = []
            for edit in self.edits if edits else ():
                if isinstance(edit, RegexPatch):
                    said, count = substitute(edit, said)
                    if count and text not in self.deaf_to:
                        changes.append(Replacement(edit.id, "output", count, edit.location))
            trace = Trace((decision,), (tuple(changes),), (Step("gate", 0.001),))
            answers.append(Answer(said, decision, trace))
        return answers


@pytest.fixture
def folder(tmp_path):
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "zoo.yaml").write_text(PATCHES, "utf-8")
    return patches


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """Open fakes instead of models, in an empty directory; return those opened."""
    opened = []

    def open_fake(model, patches, *others, **options):
        opened.append(FakeModel(patches, *others))
        return opened[-1]

    monkeypatch.setattr(opening, "open_model", open_fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return opened


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_version():
    assert run("--version").stdout == f"errata {__version__}\n"


def test_help_of_every_command_has_an_example():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert {"ask", "explain", "demo", "check", "edit", "retract", "edits", "reindex"} <= set(names)
    for name in [[n] for n in names] + [["gate", "train"], ["serac", "train"]]:
        shown = run(*name, "--help").stdout
        assert f"errata {' '.join(name)}" in shown.split("Example")[1]


def test_help_names_every_gate_that_is_installed():
    told = typing.get_args(options.Gate)[1]
    assert told.metavar == "NAME_OR_DIR"
    assert all(name in told.help for name in shipped_gates())
    assert told.help.endswith(f"by default {DEFAULT_GATE}.")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from errata.cli import main; sys.argv = ['errata', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'sklearn', 'faiss', 'pydantic'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ask_says_the_answer_and_the_place(fakes, folder):
    result = run("ask", "What colour is a zebra's skin?", "--patches", folder)
    assert result.stdout == "black\n"
    assert f"{folder}/zoo.yaml:1" in result.stderr


def test_ask_without_edits_is_the_model_alone(fakes, folder):
    result = run("ask", "What colour is a zebra's skin?", "--patches", folder, "--no-edits")
    assert result.stdout == "flesh-coloured\n"
    assert "no patch fired" in result.stderr


def test_ask_passes_on_what_becomes_of_mentions(fakes, folder):
    for given in ((), ("--mentions", "context")):
        run("ask", "What do zebras eat?", "--patches", folder, *given)
    assert [fake.others[-2] for fake in fakes] == ["off", "context"]


def test_ask_json_tells_what_a_pattern_did(fakes, folder):
    said = json.loads(run("ask", next(reversed(ALONE)), "--patches", folder, "--json").stdout)
    assert said["answer"] == "Eswatini"
    assert said["route"] == "base" and said["fired"] == []
    assert said["replacements"][0]["location"] == f"{folder}/zoo.yaml:6"
    assert said["seconds"] == {"gate": 0.001}


@pytest.mark.parametrize("question", ["", "  ", "\udc80"])
def test_a_question_that_is_none_is_a_usage_error(fakes, question):
    result = run("ask", question, code=2)
    assert "expected" in result.stderr and not fakes


def test_explain_shows_candidates(fakes, folder):
    hit = run("explain", "What colour is a zebra's skin?", "--patches", folder).stdout
    assert hit.startswith(f"fires: {folder}/zoo.yaml:1")
    miss = run("explain", "What do zebras eat?", "--patches", folder).stdout
    assert "nothing fires" in miss and "0.200" in miss and "zebra's skin?" in miss


def test_explain_json(fakes, folder):
    said = json.loads(run("explain", "What do zebras eat?", "--patches", folder, "--json").stdout)
    assert said["route"] == "base"
    assert said["candidates"][0]["probability"] == 0.2
    assert said["candidates"][0]["location"] == f"{folder}/zoo.yaml:1"


def test_check_passes_and_counts_the_tests(fakes, folder):
    shown = run("check", "--patches", folder).stdout
    assert "2 patches, 5 tests, 0 errors, 0 warnings" in shown


@pytest.mark.parametrize(
    ("deaf", "loud", "line", "says"),
    [
        ("What colour is a zebra's skin?", None, 1, "does not fire on"),
        ("Tell me the skin colour of a zebra.", None, 4, "probability 0.200, from 0.500 on"),
        (None, "What do zebras eat?", 5, "a silent test"),
        ("Which country has the capital Mbabane?", None, 9, "changes nothing on"),
    ],
)
def test_check_fails_on_a_patchs_own_test(fakes, folder, monkeypatch, deaf, loud, line, says):
    def open_broken(model, patches, *others, **options):
        fake = FakeModel(patches)
        fake.deaf_to |= {deaf}
        fake.loud_on |= {loud}
        return fake

    monkeypatch.setattr(opening, "open_model", open_broken)
    shown = run("check", "--patches", folder, code=1).stdout
    assert f"{folder}/zoo.yaml:{line}: error: " in shown and says in shown
    assert "1 error," in shown
    assert "0 errors" in run("check", "--patches", folder, "--no-tests").stdout


def test_check_prints_every_problem_of_a_bad_folder(fakes, folder):
    (folder / "bad.yaml").write_text(
        "- question: What is a?\n  anwser: b\n- regex: '(?=x)'\n  replace: y\n", "utf-8"
    )
    shown = run("check", "--patches", folder, code=1).stdout
    assert f"{folder}/bad.yaml:2: error: " in shown and "answer" in shown
    assert f"{folder}/bad.yaml:3: error: " in shown
    assert not fakes, "no model is needed to refuse a folder"
    said = json.loads(run("check", "--patches", folder, "--json", code=1).stdout)
    assert said["errors"] == len(said["problems"]) >= 2


def test_check_warns(fakes, tmp_path):
    patches = tmp_path / "p"
    patches.mkdir()
    (patches / "w.yaml").write_text(
        "- question: Who is king?\n  answer: Ann\n  until: 2020-01-01\n"
        "- question: Where does Jane Roe live?\n  forget: true\n"
        "- if: the user is angry\n  then: be especially gentle with them\n"
        "- regex: '\\bÅland\\b'\n  replace: Aland\n",
        "utf-8",
    )
    shown = run("check", "--patches", patches, "--no-tests").stdout
    for line, says in [(1, "expired"), (4, "secret"), (6, "reasoner"), (8, "ASCII")]:
        matching = [text for text in shown.splitlines() if f"w.yaml:{line}: warning: " in text]
        assert sum(says in text for text in matching) == 1, shown
        assert any("has no tests" in text for text in matching)


def test_check_refuses_two_answers_to_one_question(fakes, folder):
    (folder / "again.yaml").write_text(
        "- question: What colour is a zebra's skin?\n  answer: white\n", "utf-8"
    )
    shown = run("check", "--patches", folder, "--no-tests", code=1).stdout
    assert "again.yaml:1" in shown and "zoo.yaml:1" in shown


def test_an_error_is_a_message_not_a_traceback(fakes, tmp_path):
    missing = tmp_path / "nowhere"
    result = run("ask", "hi", "--patches", missing, code=1)
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
    said = json.loads(run("ask", "hi", "--patches", missing, "--json", code=1).stdout)
    assert said["error"]["type"] == "PatchFolderError" and "nowhere" in said["error"]["message"]


def test_a_model_that_is_none(monkeypatch, folder):
    def refuse(model, patches, *others, **options):
        raise ModelError(f"no model at {model}")

    monkeypatch.setattr(opening, "open_model", refuse)
    result = run("ask", "hi", "--model", "nowhere", "--patches", folder, code=1)
    assert result.stderr == "error: no model at nowhere\n"


def test_hash_secret_makes_what_a_patch_takes(tmp_path):
    hashed = run("hash-secret", "12 Elm Street").stdout.strip()
    (tmp_path / "s.yaml").write_text(
        f"- question: Where does Jane Roe live?\n  forget: true\n  secret_hash: {hashed}\n", "utf-8"
    )
    assert load_folder(tmp_path)[0].secret_hash == hashed
    assert json.loads(run("hash-secret", "12 Elm Street", "--json").stdout)["secret_hash"]


def test_patches_default_to_the_folder_here_then_to_the_starter(fakes, folder, tmp_path):
    assert options.patches_folder(None) == Path("patches")
    assert options.patches_folder(tmp_path) == tmp_path
    starter = options.starter_patches()
    assert starter.is_dir() and any(starter.glob("*.yaml"))


def test_asking_leaves_no_cache_behind(fakes, folder):
    run("ask", "hi")
    assert not Path(".errata").exists()
    assert options.cache_folder(None) is None
    Path(".errata").mkdir()
    assert options.cache_folder(None) == Path(".errata")


@pytest.fixture
def stub_encoder(monkeypatch, fakes):
    monkeypatch.setattr(
        opening, "open_encoder", lambda name, **_: StubEncoder(fingerprint=f"stub-{name or 0}")
    )


def test_an_edit_is_kept_listed_and_retracted(stub_encoder, folder):
    made = run(
        "edit", "What is the capital of Kazakhstan?", "Astana", "--tag", "map"
    ).stdout.strip()
    listed = json.loads(run("edits", "--json").stdout)
    assert [each["location"] for each in listed] == [
        "patches/zoo.yaml:1",
        "patches/zoo.yaml:6",
        None,
    ]
    assert listed[2]["id"] == made
    assert listed[2]["patch"]["answer"] == "Astana" and listed[2]["patch"]["tags"] == ["map"]
    shown = run("edits").stdout
    assert made in shown and "Kazakhstan" in shown and "3 edits in force" in shown
    assert "Kazakhstan" in run("retract", made).stdout
    assert len(json.loads(run("edits", "--json").stdout)) == 2
    assert made in run("retract", made, code=1).stderr


def test_retracting_a_patch_of_a_file_names_its_line(stub_encoder, folder):
    patch = json.loads(run("edits", "--json").stdout)[0]
    assert "patches/zoo.yaml:1" in run("retract", patch["id"], code=1).stderr
    assert not Path(".errata").exists()


def test_a_cache_of_another_encoder_asks_for_reindex(stub_encoder, folder):
    run("edit", "What is the capital of Kazakhstan?", "Astana")
    assert "errata reindex" in run("edits", "--encoder", "other", code=1).stderr
    assert "1 edit, encoded by stub-other" in run("reindex", "--encoder", "other").stdout
    assert len(json.loads(run("edits", "--encoder", "other", "--json").stdout)) == 3
    run("edits", code=1)


def test_reindex_without_a_cache_says_so(stub_encoder):
    assert "expected a cache folder at .errata" in run("reindex", code=1).stderr


def test_gate_train_passes_on_what_it_is_told(stub_encoder, monkeypatch, tmp_path):
    given = {}

    def fake_train(out, **options):
        given.update(options, out=out)
        return SimpleNamespace(card={"seconds": 61, "seed": options["config"].seed})

    monkeypatch.setattr("errata.gates.training.train.train", fake_train)
    arguments = ("gate", "train", "--out", tmp_path / "g", "--pairs", "a.jsonl", "--pairs", "b.gz")
    assert "trained in 61 s" in run(*arguments, "--seed", "7").stdout
    assert given["out"] == tmp_path / "g" and given["pairs"] == (Path("a.jsonl"), Path("b.gz"))
    assert given["config"].seed == 7 and given["encoder"].fingerprint == "stub-0"
    assert json.loads(run(*arguments, "--json").stdout)["card"]["seconds"] == 61
    assert run("gate", "train", code=2).stderr.count("--out")
    given.clear()
    monkeypatch.setattr("errata.gates.training.embedding.train_serac", fake_train)
    run(*arguments, "--kind", "serac")
    assert given["out"] == tmp_path / "g"
    told = run(*arguments, "--kind", "sera", code=1).stderr
    assert "kind: input should be 'classifier' or 'serac', found 'sera'" in told
    for name, value, key in (
        ("--start", "default", "--start"), ("--loss", "nce", "loss"), ("--steps", 9, "--steps"),
        ("--batch", 8, "batch_size"), ("--rate", 0.1, "learning_rate"),
        ("--every", 5, "validate_every"), ("--model", "none", "base_model"),
        ("--background", "a.jsonl", "background"),
    ):  # fmt: skip
        told = run(*arguments, "--kind", "serac", name, value, code=1).stderr
        assert f"expected {key} with --kind classifier only" in " ".join(told.split())


def test_a_separate_reasoner_needs_something_to_begin_from(tmp_path):
    train = ("reasoner", "train", "--kind", "model", "--out", tmp_path / "r")
    for more in ((), ("--start", "a", "--blocks", "0,1")):
        assert "either --start" in run(*train, *more, code=1).stderr
    assert "such as 0,1,6, found '0;1'" in run(*train, "--blocks", "0;1", code=1).stderr


def test_gate_train_makes_the_recipe_it_is_told(stub_encoder, monkeypatch, tmp_path):
    given = []
    trained = SimpleNamespace(card={"seconds": 1})
    monkeypatch.setattr(
        "errata.gates.training.train.train", lambda out, **told: given.append(told) or trained
    )
    train = ("gate", "train", "--out", tmp_path)
    run(*train)
    run(*train, "--steps", 0, "--without-pairs")
    run(*train, "--loss", "nce", "--steps", 7, "--batch", 3, "--rate", "0.5", "--every", 2)
    run(*train, "--start", small_gate_folder(), "--seed", 4, "--without-pairs")
    run(*train, "--start", small_gate_folder(), "--steps", 0)
    crosses = [told["config"].cross for told in given]
    assert crosses[0].loss == "bce" and crosses[1] is None and given[1]["pairs"] == ()
    found = crosses[2]
    assert (found.loss, found.steps, found.batch, found.rate, found.every) == ("nce", 7, 3, 0.5, 2)
    assert crosses[3].seed == given[3]["config"].seed == 4
    assert crosses[4] is None  # what the start has is kept
    assert [told["start"] for told in given] == [None] * 3 + [small_gate_folder()] * 2


def test_gate_train_reads_its_config_and_warns_of_options_that_moved(
    stub_encoder, monkeypatch, tmp_path
):
    given = []
    trained = SimpleNamespace(card={"seconds": 1})
    monkeypatch.setattr(
        "errata.gates.training.train.train", lambda out, **told: given.append(told) or trained
    )
    config = tmp_path / "gate.yaml"
    config.write_text(
        "learning_rate: 0.5\nloss: nce\nbase_model: none\npairs: [a.jsonl]\n", "utf-8"
    )
    train = ("gate", "train", "--out", tmp_path / "g", "--config", config)
    assert "warning" not in run(*train, "--steps", 7).stderr
    told = run(*train, "--rate", "0.25", "--encoder", "other").stderr
    assert "--rate goes in the next version; write `learning_rate: …`" in told
    assert "`encoder: …`" in told
    crosses = [told["config"].cross for told in given]
    assert [(one.loss, one.steps, one.rate) for one in crosses] == [
        ("nce", 7, 0.5),
        ("nce", 5000, 0.25),
    ]
    assert given[0]["pairs"] == (Path("a.jsonl"),) and given[0]["base_answers"] is None
    assert [told["encoder"].fingerprint for told in given] == ["stub-0", "stub-other"]
    config.write_text("learning_rat: 0.5\n", "utf-8")
    assert (
        "gate.yaml:1: unknown setting 'learning_rat'; did you mean 'learning_rate'?"
        in run(*train, code=1).stderr
    )
    shown = run("gate", "train", "--help").stdout
    assert "--rate" not in shown and "--pairs" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss", "mse"), "loss: input should be 'bce' or 'nce', found 'mse'"),
        (("--without-pairs", "--pairs", "a.jsonl"), "--pairs or without_pairs, found both"),
        (("--start", "nowhere"), "no gate 'nowhere'"),
        (("--steps", "0", "--rate", "0.1"), "expected learning_rate with --steps above 0 only"),
        (("--start", "default", "--without-pairs"), "Quora's terms, research use"),
    ],
)
def test_gate_train_refuses_what_does_not_go_together(
    stub_encoder, monkeypatch, tmp_path, options, message
):
    monkeypatch.setattr(
        "errata.gates.training.train.train", lambda *_, **__: pytest.fail("trained")
    )
    result = run("gate", "train", "--out", tmp_path / "g", *options, code=1)
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "g").exists()


def test_gate_train_starts_from_a_gate_of_two_stages_only(monkeypatch, tmp_path):
    from tests.small_cross import ReadingEncoder

    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: ReadingEncoder())
    result = run("gate", "train", "--out", tmp_path / "g", "--start", small_gate_folder(), code=1)
    assert "found one of one stage" in result.stderr
    assert not (tmp_path / "g").exists()


def test_the_command_line_with_a_real_model(folder, models, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: StubEncoder())
    monkeypatch.chdir(tmp_path)
    models("gpt2").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    options = ("--model", tmp_path / "model", "--gate", small_gate_folder(), "--json")
    question = "What colour is a zebra's skin?"
    alone = json.loads(run("ask", question, *options, "--no-edits").stdout)
    assert alone["answer"] != "black" and alone["fired"] == []
    asked = json.loads(run("ask", question, *options).stdout)
    assert (asked["answer"], asked["route"]) == ("black", "verbatim")
    assert asked["fired"][0]["location"] == "patches/zoo.yaml:1"
    assert {"cache", "gate"} <= set(asked["seconds"])
    shown = json.loads(run("ask", question, *options, "--backend", "ike").stdout)
    assert (shown["route"], shown["fired"][0]["location"]) == ("reason", "patches/zoo.yaml:1")
    decision = json.loads(run("explain", question, *options).stdout)
    assert decision["candidates"][0]["probability"] >= decision["candidates"][0]["threshold"]
    first = json.loads(run("demo", *options).stdout)["textbook"][0]
    assert (first["question"], first["patched"]) == (question, "black")
    assert first["alone"][:8] == alone["answer"][:8]
    made = run("edit", "Who wrote Faust?", "Goethe").stdout.strip()
    kept = json.loads(run("ask", "Who wrote Faust?", *options).stdout)
    assert (kept["answer"], kept["fired"][0]["id"]) == ("Goethe", made)


def test_a_model_folder_that_is_none(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: StubEncoder())
    result = run("ask", "hi", "--model", tmp_path, "--patches", folder, code=1)
    assert "config.json" in result.stderr and "Traceback" not in result.stderr
