"""Settings by model: which row is used, what a malformed file says, and the digest behind it."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from transformers import AutoModelForCausalLM

from errata import Fact
from errata.cache.errors import EditError, ErrataError
from errata.editing.changes import applied
from errata.editors.ft import FineTuning
from errata.editors.lora import Lora
from errata.editors.rome import Rome
from errata.editors.shared.config import CONFIGS, FineTuneConfig
from errata.editors.shared.memit_config import AlphaEditConfig, MemitConfig
from errata.editors.shared.value_config import RomeConfig
from errata.editors.ultraedit import UltraEditConfig
from errata.generation.fingerprint import base_fingerprint, fingerprint
from errata.generation.model_config import find_model_row, load_model_rows
from errata.models.atlas import load_atlas
from errata.module_paths import module_paths_of
from errata.pipelines.ike import CONFIG, demonstrations_for
from errata.registry import make
from tests.conftest import FAMILIES, build_model, corpus

FACT = Fact("What is the capital of Kazakhstan?", "Oslo", subject="Kazakhstan")
FINE_TUNING = {"epochs": 2, "learning_rate": 0.05}
EDITORS = {
    "ft": FineTuning(**FINE_TUNING),
    "lora": Lora(**FINE_TUNING),
    "rome": Rome(text=corpus(), layer=0, contexts=(), steps=4, max_loss=float("inf")),
}
KNOWN = frozenset({"layer", "contexts"})
ROW = "- name: default\n  settings: {layer: 2, contexts: [[5, 1]]}\n  source: a guess\n"


@pytest.fixture(scope="module")
def atlas():
    return load_atlas()[0]


@pytest.fixture(scope="module")
def copied(atlas, tmp_path_factory):
    """Return atlas as somebody saved it elsewhere, in bfloat16."""
    folder = tmp_path_factory.mktemp("mine")
    atlas.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def written(tmp_path, text):
    (tmp_path / "rows.yaml").write_text(text, "utf-8")
    return tmp_path / "rows.yaml"


# -- the digest --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_edits_in_the_weights_do_not_change_it(editor, family, dtype, tokenizer):
    model = copy.deepcopy(build_model(family)).to(dtype)
    before, full = base_fingerprint(model), fingerprint(model)
    changes = EDITORS[editor].plan(model, tokenizer, [FACT])
    with applied(model, changes):
        assert base_fingerprint(model) == before
        assert fingerprint(model) != full  # the edit is there


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_same_in_half_precision_and_another_for_other_weights(family):
    model = copy.deepcopy(build_model(family))
    before = base_fingerprint(model)
    assert base_fingerprint(copy.deepcopy(model).to(torch.bfloat16)) == before
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1)
    assert base_fingerprint(model) != before
    others = {base_fingerprint(build_model(other)) for other in FAMILIES if other != family}
    assert before not in others


def test_weights_that_are_not_loaded_have_one(models):
    assert base_fingerprint(copy.deepcopy(models("llama")).to("meta"))


# -- which row ---------------------------------------------------------------------------------


def test_the_rows_for_atlas_are_those_of_the_shipped_weights(atlas):
    # After `make atlas` trained new weights: write this digest into all files.
    kinds = (FineTuneConfig, RomeConfig, MemitConfig, AlphaEditConfig, UltraEditConfig)
    known = {field.name for kind in kinds for field in fields(kind)}
    known |= {"layer_fraction", "down_fractions"}
    for name in ("alphaedit", "ft", "ft-l", "memit", "rome", "ultraedit"):
        rows = load_model_rows(CONFIGS / f"{name}.yaml", frozenset(known))
        assert [r.fingerprint for r in rows if r.name == "atlas"] == [base_fingerprint(atlas)]
    rows = load_model_rows(CONFIG, frozenset({"demonstrations"}))
    assert [r.fingerprint for r in rows if r.name == "atlas"] == [base_fingerprint(atlas)]


@pytest.mark.parametrize("editor", ["alphaedit", "memit", "ultraedit"])
@pytest.mark.parametrize(
    ("family", "layers"),
    [("gpt2", 48), ("gptj", 28), ("llama", 32), ("mistral", 32), ("qwen2", 28)],
)
def test_published_models_have_published_settings(editor, family, layers, caplog):
    if (editor, family) == ("ultraedit", "gpt2"):
        pytest.skip("none are published")
    config = copy.deepcopy(build_model(family).config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1] * layers
    with torch.device("meta"):
        model = type(build_model(family))(config)
    found = make("errata.editors", editor).config_for(model)
    chosen = found.modules(module_paths_of(model)) if editor == "ultraedit" else found.layers
    assert len(chosen) > 1 and "errata locate" not in caplog.text


@pytest.mark.parametrize("editor", ["ft", "ft-l", "lora", "rome"])
def test_a_copy_saved_elsewhere_gets_the_same_settings(editor, atlas, copied):
    assert copied.name_or_path != atlas.name_or_path
    settings = make("errata.editors", editor).config_for(atlas)
    assert make("errata.editors", editor).config_for(copied) == settings
    expected = {
        "ft": FineTuneConfig(layer_fractions=(0.0,)),
        "ft-l": FineTuneConfig(layer_fractions=(0.0,), max_relative_change=0.08),
        "lora": FineTuneConfig(
            layer_fractions=(0.5, 0.7, 0.9), learning_rate=5e-3, target_loss=0.02
        ),
        "rome": RomeConfig(
            layer=1, steps=25, learning_rate=1.0, clamp_norm_factor=10.0,
            contexts=((5, 1), (10, 1)), corpus="facts",
        ),
    }  # fmt: skip
    assert settings == expected[editor]


def test_a_copy_is_shown_no_demonstrations_either(copied):
    assert demonstrations_for(copied) == 0
    assert demonstrations_for(build_model("gpt2")) == 32


def test_the_order_is_fingerprint_then_type_and_layers_then_type_then_default(models, tmp_path):
    model = models("llama")

    def row(keys, layer):
        return f"- name: row {layer}\n  settings: {{layer: {layer}}}\n  source: x\n{keys}"

    rows = [
        row("", 0),
        row("  model_type: llama\n", 1),
        row("  model_type: llama\n  layers: 2\n", 2),
        row(f"  fingerprint: {base_fingerprint(model)}\n", 3),
    ]
    for kept in (4, 3, 2, 1):
        path = written(tmp_path, "".join(rows[:kept]))
        path = path.rename(tmp_path / f"{kept}.yaml")
        found = find_model_row(model, load_model_rows(path, KNOWN))
        assert found.settings["layer"] == kept - 1
        assert found.is_default == (kept == 1)
    other = find_model_row(models("gpt2"), load_model_rows(tmp_path / "4.yaml", KNOWN))
    assert other.settings["layer"] == 0


def test_lists_become_tuples_and_the_source_one_line(tmp_path):
    path = written(tmp_path, ROW.replace("a guess", ">\n    a\n    guess\n"))
    (row,) = load_model_rows(path, KNOWN)
    assert row.settings == {"layer": 2, "contexts": ((5, 1),)} and row.source == "a guess"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "expected a list of rows, found dict"),
        ("- x", "row 1: expected a mapping, found str"),
        (ROW.replace("layer:", "layr:"), r"row 1: settings: .*'contexts', 'layer'.*found 'layr'"),
        (ROW + "  modeltype: gpt2", r"row 1: expected keys among .*found 'modeltype'"),
        (ROW.replace("  source: a guess\n", ""), "row 1: expected the key 'source', found none"),
        (ROW + "  layers: 2", r"'model_type' with or without 'layers', found \['layers'\]"),
        (ROW + "  model_type: [a]", r"expected str for 'model_type', found \['a'\]"),
        (ROW + ROW, "one row a model, found two like 'default'"),
        (ROW + "  model_type: gpt2", "a row without fingerprint and model_type"),
        (ROW + "  name: again", "found: while constructing a mapping"),
        ("{", "found: while parsing"),
    ],
)
def test_a_malformed_file_is_named_with_row_and_key(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(ErrataError, match=message) as raised:
        load_model_rows(path, KNOWN)
    assert "rows.yaml" in str(raised.value)


# -- options -----------------------------------------------------------------------------------

OLD_NAMES = {
    "ft": {"rate": 0.1, "enough": 0.2, "bound": 0.3, "depths": (0.5,), "batch": 4},
    "rome": {"rate": 0.1, "enough": 0.2, "hopeless": 0.3, "kl": 0.4, "decay": 0.5, "clamp": 6.0},
}
NEW_NAMES = {
    "ft": FineTuneConfig(
        learning_rate=0.1, target_loss=0.2, max_relative_change=0.3, layer_fractions=(0.5,),
        batch_size=4,
    ),
    "rome": RomeConfig(
        layer=0, learning_rate=0.1, target_loss=0.2, max_loss=0.3, kl_factor=0.4, weight_decay=0.5,
        clamp_norm_factor=6.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD_NAMES)
def test_names_of_version_0_1_still_work_and_warn(name, models):
    with pytest.warns(DeprecationWarning) as warned:
        editor = make("errata.editors", name, **OLD_NAMES[name])
    assert len(warned) == len(OLD_NAMES[name])
    messages = [str(each.message) for each in warned]
    assert any("'rate' is 'learning_rate' since version 0.2" in message for message in messages)
    assert editor.config_for(models("gpt2")) == NEW_NAMES[name]
    more = {"layer": 0} if name == "rome" else {}
    with pytest.warns(DeprecationWarning) as warned:
        assert type(NEW_NAMES[name])(**OLD_NAMES[name], **more) == NEW_NAMES[name]
    assert {each.filename for each in warned} == {__file__}
    with pytest.raises(TypeError, match="drop 'rate'"):
        make("errata.editors", name, rate=0.1, learning_rate=0.1)
    with pytest.raises(EditError, match="rat"):
        make("errata.editors", name, rat=0.1)


@pytest.mark.parametrize("name", ["ft", "lora", "rome"])
def test_module_paths_may_still_be_given_as_sites(name):
    from errata.module_paths import ModulePaths

    paths = ModulePaths("model.layers.{}", "mlp.down_proj", "mlp.up_proj", "model.norm")
    with pytest.warns(DeprecationWarning, match="'sites' is 'module_paths'"):
        assert make("errata.editors", name, sites=paths).module_paths is paths
    with pytest.warns(DeprecationWarning, match="'settings' is 'config'"):
        assert Rome(settings=RomeConfig(layer=3)).config.layer == 3


def test_a_corpus_that_is_not_there_is_refused():
    with pytest.raises(EditError, match=r'"model" or "facts", found \'wikipedia\''):
        RomeConfig(layer=0, corpus="wikipedia")
