"""Load a base model and its tokenizer as `transformers` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from errata.cache.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    class GenerativeModel(PreTrainedModel):
        """Any `transformers` model with ``generate`` (for type checkers only)."""

        def generate(self, *arguments: Any, **options: Any) -> Any:
            """Generate."""

        def prepare_inputs_for_generation(self, *arguments: Any, **options: Any) -> Any:
            """Return the next inputs of ``forward``."""


_HUB_OPTIONS = (
    "trust_remote_code", "revision", "token", "subfolder", "cache_dir", "local_files_only",
    "force_download", "gguf_file",
)  # fmt: skip

_ADAPTER_FILE = "adapter_config.json"


def input_device(model: GenerativeModel) -> torch.device:
    """Return the device on which a model takes ids: the CPU where its first layers are offloaded.

    :param model: any base model.
    """
    import torch

    device = torch.device(model.device)
    return torch.device("cpu") if device.type == "meta" else device


def unwrapped(model: Any) -> GenerativeModel:
    """Return the `transformers` model inside the wrappers of ``torch.compile`` and PEFT.

    Its ``generate`` is the one that runs, so that its signature says what can be passed.

    :param model: a base model, wrapped or not.
    """
    if hasattr(model, "_orig_mod"):
        return unwrapped(model._orig_mod)
    if is_peft_model(model):
        return unwrapped(model.get_base_model())
    return model  # type: ignore[no-any-return]


def is_peft_model(model: Any) -> bool:
    """Return whether a model is one of PEFT's wrappers; PEFT is not imported for it."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


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
    if (folder / _ADAPTER_FILE).is_file():
        return _load_adapted(folder, options)
    if folder.is_dir() and not ((folder / "config.json").is_file() or "gguf_file" in options):
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


def _load_adapted(
    folder: Path, options: Mapping[str, Any]
) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return a PEFT model on the base that its folder names, and its tokenizer."""
    from peft import PeftConfig, PeftModel
    from transformers import AutoTokenizer

    try:
        config = PeftConfig.from_pretrained(str(folder))
        base, tokenizer = load_base(str(config.base_model_name_or_path), **options)
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(folder)
        embeddings: Any = base.get_input_embeddings()
        if len(tokenizer) > embeddings.num_embeddings:
            base.resize_token_embeddings(len(tokenizer))
        model = PeftModel.from_pretrained(base, str(folder), config=config).eval()
    except ModelError:
        raise
    except Exception as error:  # of peft, safetensors or torch
        raise ModelError(
            f"expected an adapter that peft can load in {folder}, found: {error}; restore the "
            "folder, or save the adapter again"
        ) from error
    return cast("GenerativeModel", model), tokenizer


def check_adapter_can_be_saved(model: GenerativeModel) -> None:
    """Raise for a PEFT model whose folder could not be loaded again.

    PEFT writes the adapter and the name of its base, not the base.

    :raises ModelError: the base has no name.
    """
    configs: Any = model.peft_config
    config = next(iter(configs.values()))
    if not (config.base_model_name_or_path or unwrapped(model).name_or_path):
        raise ModelError(
            "expected a base model with a folder or hub id of its own under the PEFT adapter, "
            "found one made in memory, and peft writes only the adapter; save the base and load "
            "it with from_pretrained before it is adapted, or wrap model.merge_and_unload()"
        )
