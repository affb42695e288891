"""The adapted reasoner: the base model with a LoRA adapter trained to read edits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact
from errata.generation.fingerprint import fingerprint
from errata.generation.sharing import keep_requires_grad, sharing_copy
from errata.reasoners.base import Reply, replies
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.card import ReasonerCard, read_card
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import Prompter, has_chat_template
from errata.reasoners.reader import (
    ContextReasoner,
    allows_paraphrase,
    base_fallback,
    is_instruction,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.generation.chat import Prompt

SHIPPED = Path(__file__).parent / "weights"
"""Folder of the adapters that errata carries."""


class AdapterReasoner(ContextReasoner):
    """The base model with a LoRA adapter (Hu et al. 2022) trained to answer from its context.

    In the place of SERAC's counterfactual model (Mitchell et al. 2022). The adapter is on a module
    tree that shares the base's tensors, so the base itself is never modified. It is trained on
    facts, that of a chat model on ``say that …`` too; other instructions are answered by the base
    without the adapter, if that is a chat model.

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
        path = Path(folder) if folder is not None else shipped_adapter(base)
        if path is None:
            raise ModelError(
                "expected an adapter trained for this base model, found none shipped; train one "
                "with `errata reasoner train --model …` and name its folder, or choose `prompted`"
            )
        self.card = read_card(path)
        check_base(self.card, base, path)
        self._base = base
        super().__init__(
            load_adapted(base, self.card, path), tokenizer,
            Prompter.for_model(base, tokenizer, chat=self.card.chat, form=self.card.prompt_form),
            fallback=base_fallback(base, tokenizer), abstention=self.card.abstention,
            consistency=BaseConsistency(base, tokenizer),
        )  # fmt: skip
        chat = has_chat_template(tokenizer)
        self._prompted = PromptedReasoner(base, tokenizer) if chat else None

    def supports(self, edit: Edit) -> bool:
        """Return whether the edit is a fact with an answer, or one the prompted base supports."""
        if isinstance(edit, Fact) or self._prompted is None:
            return isinstance(edit, Fact) and not edit.forget
        return self._prompted.supports(edit)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the answer of an edit is worded by the prompted base."""
        return self._prompted is not None and self._prompted.paraphrases(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers; see :meth:`ContextReasoner.answer`."""
        self._match_base()
        instructed = [not all(map(self._trained_on, each)) for each in edits]
        if self._prompted is None or not any(instructed):
            return super().answer(queries, edits, generation)
        out: dict[int, list[str]] = {}
        for answer, instructions in ((super().answer, False), (self._prompted.answer, True)):
            rows = [i for i, found in enumerate(instructed) if found == instructions]
            texts = answer([queries[i] for i in rows], [edits[i] for i in rows], generation)
            out |= zip(rows, texts, strict=True)
        return [out[i] for i in range(len(queries))]

    def _trained_on(self, edit: Edit) -> bool:
        """Return whether examples of an edit's form were in the training data."""
        return isinstance(edit, Fact) or (self.card.says and allows_paraphrase(edit))

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to the queries of prompts; the base follows instructions."""
        if self._prompted is None or not any(is_instruction(each[0]) for each in edits):
            return replies(self.answer([prompt.query for prompt in prompts], edits, generation))
        out: dict[int, list[Reply]] = {}
        for instructed in (False, True):
            rows = [i for i, each in enumerate(edits) if is_instruction(each[0]) == instructed]
            if rows:
                prompted, adapted = self._prompted.answer_prompts, super().answer_prompts
                answer = prompted if instructed else adapted
                texts = answer([prompts[i] for i in rows], [edits[i] for i in rows], generation)
                out |= zip(rows, texts, strict=True)
        return [out[i] for i in range(len(prompts))]

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact, worded by the base without the adapter."""
        if self._prompted is None:
            return [""] * len(facts)
        return self._prompted.write_facts(facts, generation)

    def _match_base(self) -> None:
        """Move the adapter to the device and dtype of the base, whose tensors are shared."""
        import torch

        base = next(self._base.parameters())
        if any(p.device != base.device or p.dtype != base.dtype for p in _lora(self.model)):
            torch.nn.Module.to(self.model, device=base.device, dtype=base.dtype)


def shipped_adapter(base: GenerativeModel) -> Path | None:
    """Return the folder of the adapter shipped for a base model, None if there is none."""
    cards = sorted(SHIPPED.glob("*/reasoner.json"))
    if not cards:
        return None
    wanted = ("adapter", fingerprint(base))
    found = ((path.parent, read_card(path.parent)) for path in cards)
    return next((folder for folder, card in found if (card.kind, card.base) == wanted), None)


def check_base(card: ReasonerCard, base: GenerativeModel, folder: Path) -> None:
    """Raise if an adapter belongs to another base model.

    :raises ModelError: always in that case; names both fingerprints.
    """
    if card.kind != "adapter":
        raise ModelError(
            f"{folder}: expected an adapter, found a reasoner of kind {card.kind!r}; "
            f"load it as {card.kind!r}"
        )
    found = fingerprint(base)
    if found != card.base:
        raise ModelError(
            f"{folder}: expected the base model it was trained on ({card.base[:12]}…), found "
            f"another ({found[:12]}…); train an adapter for this model with `errata reasoner train`"
        )


def load_adapted(base: GenerativeModel, card: ReasonerCard, folder: Path) -> GenerativeModel:
    """Return a copy of the base that shares its tensors, with the stored adapter on it."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        model = with_lora(base, card.lora)
        stored = load_file(folder / card.file)
        set_peft_model_state_dict(model, stored)
    except Exception as error:  # of peft, safetensors or torch
        raise ModelError(
            f"{folder}: expected weights as the card describes them, found: {error}; restore the "
            "folder, or train the adapter again"
        ) from error
    unmatched = sorted(stored.keys() ^ get_peft_model_state_dict(model).keys())
    if unmatched:
        raise ModelError(
            f"{folder}: expected weights for the modules of this base model, no more and no fewer, "
            f"found a difference of {len(unmatched)} ({unmatched[0]}, …); train the adapter again"
        )
    parameter = next(base.parameters())
    model.to(device=parameter.device, dtype=parameter.dtype)
    # peft's generate swaps a method of the model while it runs, which is not thread-safe
    return model.get_base_model().eval()  # type: ignore[no-any-return]


def with_lora(base: GenerativeModel, settings: dict[str, Any]) -> Any:
    """Return a peft model on a copy of the base that shares its tensors.

    :param base: the base model.
    :param settings: for :class:`peft.LoraConfig`.
    """
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers.pytorch_utils import Conv1D

    task = TaskType.SEQ_2_SEQ_LM if base.config.is_encoder_decoder else TaskType.CAUSAL_LM
    with keep_requires_grad(base), warnings.catch_warnings():
        # raised inside peft
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated")
        transposed = any(isinstance(module, Conv1D) for module in base.modules())
        config = LoraConfig(
            task_type=task, target_modules="all-linear", fan_in_fan_out=transposed, **settings
        )
        return get_peft_model(sharing_copy(base, detached=False), config)


def initialize_from(
    model: Any, base: GenerativeModel, folder: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Load the weights of a trained adapter; return how that was trained, for the card.

    :param model: what :func:`with_lora` made of the base.
    :param base: the base model.
    :param folder: the trained adapter.
    :param settings: of the new adapter; the trained one has to have the same.
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
