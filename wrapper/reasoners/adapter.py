"""The adapted reasoner: the base model with a LoRA adapter trained to read edits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact
from errata.generation.fingerprint import fingerprint
from errata.generation.sharing import keep_requires_grad, sharing_copy
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.card import ReasonerCard, read_card
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import Prompter, follows_instructions
from errata.reasoners.reader import ContextReasoner, base_fallback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

SHIPPED = Path(__file__).parent / "weights"
"""Folder of the adapters that errata carries."""


class AdapterReasoner(ContextReasoner):
    """The base model believing what stands in its context.

    SERAC's counterfactual model (Mitchell et al. 2022), as able as the base because it is the
    base: LoRA (Hu et al. 2022) on a module tree of its own that shares the base's tensors, so that
    the base is never toggled. It has learned facts; an instruction in the context is left to the
    base as it is, where that is a chat model.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param folder: a trained adapter; by default the shipped one for this base.
    :raises ModelError: there is no adapter there, or it is another base's.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: str | Path | None = None,
    ) -> None:
        where = Path(folder) if folder is not None else shipped_adapter(base)
        if where is None:
            raise ModelError(
                "expected an adapter trained for this base model, found none shipped; train one "
                "with `errata reasoner train --model …` and name its folder, or choose `prompted`"
            )
        self.card = read_card(where)
        check_base(self.card, base, where)
        self._base = base
        super().__init__(
            adapted(base, self.card, where), tokenizer,
            Prompter.of(base, tokenizer, chat=self.card.chat),
            aside=base_fallback(base, tokenizer), reluctance=self.card.reluctance,
            beliefs=BaseConsistency(base, tokenizer),
        )  # fmt: skip
        chat = follows_instructions(tokenizer)
        self._unadapted = PromptedReasoner(base, tokenizer) if chat else None

    def supports(self, edit: Edit) -> bool:
        """Tell whether the edit is a fact not to be forgotten, or the base can follow it alone."""
        if isinstance(edit, Fact) or self._unadapted is None:
            return isinstance(edit, Fact) and not edit.forget
        return self._unadapted.supports(edit)

    def phrases(self, edit: Edit) -> bool:
        """Tell whether it says in its own words what an edit asks to be said."""
        return self._unadapted is not None and self._unadapted.phrases(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers; see :meth:`ReadingReasoner.answer`."""
        self._follow()
        instructed = [any(not isinstance(edit, Fact) for edit in each) for each in edits]
        if self._unadapted is None or not any(instructed):
            return super().answer(queries, edits, generation)
        out: dict[int, list[str]] = {}
        for answer, wanted in ((super().answer, False), (self._unadapted.answer, True)):
            at = [i for i, found in enumerate(instructed) if found == wanted]
            texts = answer([queries[i] for i in at], [edits[i] for i in at], generation)
            out |= zip(at, texts, strict=True)
        return [out[i] for i in range(len(queries))]

    def _follow(self) -> None:
        """Go where the base has gone: its own tensors are shared, the adapter's are not."""
        import torch

        there = next(self._base.parameters())
        if any(p.device != there.device or p.dtype != there.dtype for p in _lora(self.model)):
            torch.nn.Module.to(self.model, device=there.device, dtype=there.dtype)


def shipped_adapter(base: GenerativeModel) -> Path | None:
    """Return the folder of the adapter shipped for a base model, None if there is none."""
    cards = sorted(SHIPPED.glob("*/reasoner.json"))
    if not cards:
        return None
    own = fingerprint(base)
    found = ((path.parent, read_card(path.parent)) for path in cards)
    return next((f for f, card in found if (card.kind, card.base) == ("adapter", own)), None)


def check_base(card: ReasonerCard, base: GenerativeModel, where: Path) -> None:
    """Refuse an adapter that belongs to another base model.

    :raises ModelError: always in that case; names both fingerprints.
    """
    if card.kind != "adapter":
        raise ModelError(
            f"{where}: expected an adapter, found a reasoner of kind {card.kind!r}; "
            f"load it as {card.kind!r}"
        )
    found = fingerprint(base)
    if found != card.base:
        raise ModelError(
            f"{where}: expected the base model it was trained on ({card.base[:12]}…), found "
            f"another ({found[:12]}…); train an adapter for this model with `errata reasoner train`"
        )


def adapted(base: GenerativeModel, card: ReasonerCard, folder: Path) -> GenerativeModel:
    """Return a copy of the base that shares its tensors, with the stored adapter on it."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        model = with_lora(base, card.lora)
        stored = load_file(folder / card.file)
        set_peft_model_state_dict(model, stored)
    except Exception as error:  # peft, safetensors and torch each have errors of their own
        raise ModelError(
            f"{folder}: expected weights as the card describes them, found: {error}; restore the "
            "folder, or train the adapter again"
        ) from error
    others = sorted(stored.keys() ^ get_peft_model_state_dict(model).keys())
    if others:
        raise ModelError(
            f"{folder}: expected weights for the modules of this base model, no more and no fewer, "
            f"found a difference of {len(others)} ({others[0]}, …); train the adapter again"
        )
    there = next(base.parameters())
    model.to(device=there.device, dtype=there.dtype)
    # peft's own generate swaps a method of the model while it runs: not for several threads.
    return model.get_base_model().eval()  # type: ignore[no-any-return]


def with_lora(base: GenerativeModel, settings: dict[str, Any]) -> Any:
    """Return a peft model over a sharing copy of the base; the base stays as it is.

    :param base: the base model.
    :param settings: for :class:`peft.LoraConfig`.
    """
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers.pytorch_utils import Conv1D

    task = TaskType.SEQ_2_SEQ_LM if base.config.is_encoder_decoder else TaskType.CAUSAL_LM
    with keep_requires_grad(base), warnings.catch_warnings():
        # peft's own, to transformers; nobody here can act on it
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated")
        transposed = any(isinstance(module, Conv1D) for module in base.modules())
        config = LoraConfig(
            task_type=task, target_modules="all-linear", fan_in_fan_out=transposed, **settings
        )
        return get_peft_model(sharing_copy(base, detached=False), config)


def begin_from(
    model: Any, base: GenerativeModel, folder: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Have an adapter begin as a trained one; return how that was trained, for the card.

    :param model: what :func:`with_lora` made of the base.
    :param base: the base model.
    :param folder: the trained adapter.
    :param settings: those of the adapter, which are to be the trained one's.
    :raises ModelError: there is none, or it is of another base or other settings.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    card = read_card(folder)
    check_base(card, base, folder)
    if card.lora != settings:
        raise ModelError(
            f"{folder}: expected an adapter of {settings} to begin from, found one of {card.lora}; "
            "train with its rank, or from the beginning"
        )
    set_peft_model_state_dict(model, load_file(folder / card.file))
    return {"weights": card.weights, **card.training}


def _lora(model: Any) -> list[Any]:
    return [p for name, p in model.named_parameters() if "lora_" in name]
