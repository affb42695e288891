"""The prompted reasoner: the base model itself, with the edits in its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.reasoners.prompts import Demonstration, Prompter, PromptForm
from errata.reasoners.reader import ContextReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

CHAT_FORM = PromptForm(
    user="{notes}\nQuestion: {query}\nAnswer the question with the fact, in one short sentence.",
    note="Fact: {edit}",
)
"""For chat models that no adapter was trained for. Of five forms the one by which SmolLM2-135M most
often gave the new object, and never said that it was not mentioned."""


class PromptedReasoner(ContextReasoner):
    """In-context editing (IKE, Zheng et al. 2023), for models that follow instructions.

    A chat where the tokenizer has a template, plain lines where not.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    :param demonstrations: edits, query and answer of examples shown before each query.
    :param form: the wording of the prompt in a chat.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        demonstrations: Sequence[Demonstration] = (),
        *,
        form: PromptForm = CHAT_FORM,
    ) -> None:
        prompter = Prompter.for_model(base, tokenizer, demonstrations=demonstrations, form=form)
        super().__init__(base, tokenizer, prompter)
