"""Load a base model and its tokenizer as `transformers` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    class GenerativeModel(PreTrainedModel):
        """Any `transformers` model with ``generate`` (for type checkers only)."""

        def generate(self, *arguments: Any, **options: Any) -> Any:
            """Generate."""

        def prepare_inputs_for_generation(self, *arguments: Any, **options: Any) -> Any:
            """Return the next inputs of ``forward``."""


_HUB_OPTIONS = (
    "trust_remote_code", "revision", "token", "subfolder", "cache_dir", "local_files_only",
    "force_download",
)  # fmt: skip


def load_base(name: str | Path, **options: Any) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return a model in evaluation mode and its tokenizer.

    :param name: a folder or a hub id.
    :param options: for ``from_pretrained`` (dtype, device_map, quantization_config, …).
    :raises ModelError: there is no such model, or the folder is not one of a model.
    """
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
    )

    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(
            f"expected a model folder with a config.json at {folder}, found none; "
            "name the folder that save_pretrained wrote, or a hub id"
        )
    shared = {key: options[key] for key in _HUB_OPTIONS if key in options}
    try:
        config = AutoConfig.from_pretrained(name, **shared)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = auto.from_pretrained(name, **options).eval()
        tokenizer = AutoTokenizer.from_pretrained(name, **shared)
    except Exception as error:  # damaged weights and wrong options raise many kinds of errors
        raise ModelError(
            f"expected a model `transformers` can load at {str(name)!r}, found: {error}; "
            "name a model folder, a hub id that is in reach, or a model that comes with errata"
        ) from error
    return model, tokenizer
