"""The patches folder of a running model: reload, watch=True, and what neither may do."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import time
import weakref

import pytest

from errata.cache.errors import ErrataError, MissingExtra, PatchFolderError
from errata.cache.patches.folder import PatchChanges, compare_patches
from errata.cache.patches.watch import WatchConfig
from errata.cache.records import Fact, PatchTests, RegexPatch, SourceLocation
from tests.unit.helpers import CAPITAL, editable

QUICK = WatchConfig(quiet_seconds=0.01, max_wait_seconds=0.1, poll_seconds=0.1)


def patch(answer: str) -> str:
    return f"- question: {CAPITAL}\n  answer: {answer}\n"


def until(condition, seconds=20.0):
    """Wait until a condition holds: the time is a bound for failing, not what is tested."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "facts.yaml").write_text(patch("Astana"))
    return tmp_path


@pytest.fixture
def opened(models, tokenizer, folder):
    """Return a function that opens a model of the folder, and closes it after the test."""
    made = []

    def open_model(**options):
        made.append(editable(models("gpt2"), tokenizer, patches=folder, **options))
        return made[-1]

    yield open_model
    for model in made:
        model.close()


def answer(model):
    return model.explain(CAPITAL).fired[0].answer if model.explain(CAPITAL).fired else None


# -- reload ----------------------------------------------------------------------------------


def test_reload_returns_what_it_changed(opened, folder):
    model = opened()
    assert model.reload() == PatchChanges() and not model.reload()
    (folder / "facts.yaml").write_text("# a note\n" + patch("Akmola"))
    (folder / "more.yaml").write_text("- regex: aa\n  replace: bb\n")
    changes = model.reload()
    assert [edit.answer for edit in changes.changed] == ["Akmola"] and not changes.removed
    assert [edit.scope for edit in changes.added] == ["aa"]
    (folder / "more.yaml").unlink()
    assert str(model.reload()) == "0 added, 0 changed, 1 removed"


def test_patches_are_told_apart_by_id_and_by_question():
    one, other = Fact("a", "1"), Fact("b", "2", id="b")
    assert not compare_patches([one], [Fact("a", "1", location=SourceLocation("x", 9))])
    tested = Fact("a", "1", tests=PatchTests(("A",)))
    assert compare_patches([one], [tested]).changed == (tested,)
    renamed = Fact("c", "3", id="b")
    assert compare_patches([other], [renamed]).changed == (renamed,)
    assert compare_patches([one], [RegexPatch("a", "1")]).removed == (one,)
    twice = compare_patches([Fact("a", "1"), Fact("a", "2")], [Fact("a", "3")])
    assert len(twice.changed) == 1 and twice.removed == (Fact("a", "2"),)


def test_an_error_is_kept_until_the_folder_is_mended(opened, folder):
    model = opened()
    assert model.patch_errors == ()
    (folder / "facts.yaml").write_text("- question: x\n  anser: y\n")
    with pytest.raises(PatchFolderError):
        model.reload()
    assert "facts.yaml:2" in str(model.patch_errors[0])
    assert answer(model) == "Astana"
    (folder / "facts.yaml").write_text(patch("Akmola"))
    assert model.reload() and model.patch_errors == () and answer(model) == "Akmola"


# -- watch -----------------------------------------------------------------------------------


def test_a_change_of_the_folder_takes_effect(opened, folder, caplog):
    caplog.set_level(logging.INFO, "errata")
    model, still = opened(watch=QUICK), opened()
    (folder / "facts.yaml").write_text(patch("Akmola"))
    until(lambda: answer(model) == "Akmola")
    assert answer(still) == "Astana", "without watch nothing follows"
    (folder / "facts.yaml").unlink()
    until(lambda: answer(model) is None)
    until(lambda: "0 added, 0 changed, 1 removed" in caplog.text)


def test_a_broken_file_leaves_the_last_good_set_and_a_mended_one_takes_effect(
    opened, folder, caplog
):
    model = opened(watch=QUICK)
    (folder / "facts.yaml").write_text("- question: x\n  anser: y\n")
    until(lambda: model.patch_errors)
    assert answer(model) == "Astana"
    until(lambda: caplog.records)
    assert "last good set" in caplog.text and "facts.yaml:2" in caplog.text
    (folder / "facts.yaml").write_text(patch("Akmola"))
    until(lambda: not model.patch_errors and answer(model) == "Akmola")
    assert len([r for r in caplog.records if "last good set" in r.message]) == 1


def test_a_folder_that_is_replaced_is_followed(opened, folder, tmp_path_factory):
    model = opened(watch=QUICK)
    shutil.rmtree(folder)
    until(lambda: model.patch_errors)
    assert answer(model) == "Astana", "the last good set stays in force"
    folder.mkdir()
    (folder / "facts.yaml").write_text(patch("Akmola"))
    until(lambda: answer(model) == "Akmola")
    other = tmp_path_factory.mktemp("other")
    (other / "facts.yaml").write_text(patch("Nur-Sultan"))
    os.rename(folder, folder.with_suffix(".old"))
    os.rename(other, folder)
    until(lambda: answer(model) == "Nur-Sultan")
    (folder / "facts.yaml").write_text(patch("Akmolinsk"))
    until(lambda: answer(model) == "Akmolinsk")


def test_what_keeps_files_out_of_force_is_tried_again(opened, folder):
    model = opened(watch=QUICK)
    taken = model.edit(Fact("Is grass blue?", "Yes", id="k"))
    (folder / "facts.yaml").write_text("- question: Is snow green?\n  answer: 'No'\n  id: k\n")
    until(lambda: model.patch_errors)
    model.retract(taken.id)
    (folder / "facts.yaml").write_text("- question: Is snow green?\n  answer: 'No!'\n  id: k\n")
    until(lambda: model.explain("Is snow green?").fired)


def test_closing_stops_the_watcher(opened, folder):
    with opened(watch=QUICK) as model:
        thread = model._watcher
        assert thread.running
    assert not thread.running


def test_a_model_that_nobody_holds_goes_and_its_watcher_with_it(models, tokenizer, folder):
    model = editable(models("gpt2"), tokenizer, patches=folder, watch=QUICK)
    seen, watcher = weakref.ref(model), model._watcher
    assert watcher.running
    del model

    def collected():
        gc.collect()
        return seen() is None and not watcher.running

    until(collected)


def test_watching_needs_a_folder_and_the_package(opened, models, tokenizer, monkeypatch):
    with pytest.raises(ErrataError, match="patches="):
        editable(models("gpt2"), tokenizer, watch=True)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingExtra, match=r"errata\[watch\]"):
        opened(watch=True)


def test_a_reload_waits_for_a_block_of_using(opened, folder):
    """The watcher cannot deadlock with the thread that holds the model, nor change it under it."""
    model = opened(watch=QUICK)
    with model.using("ft", epochs=1):
        (folder / "facts.yaml").write_text(patch("Akmola"))
        time.sleep(0.3)  # the watcher is waiting by now, or will be: either way it must not act
        assert model.cache.edits[0].answer == "Astana"
        assert model.reload().changed
    until(lambda: answer(model) == "Akmola")
