"""Patches in LlamaIndex: an LLM that gives a stored answer, or what another LLM says."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import LLM, CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from pydantic import PrivateAttr

from errata import Decider


class PatchedLLM(CustomLLM):
    """An LLM whose answers the patches correct.

    :param llm: any LLM of LlamaIndex.
    :param decider: decides.
    """

    _llm: LLM = PrivateAttr()
    _decider: Decider = PrivateAttr()

    def __init__(self, llm: LLM, decider: Decider) -> None:
        super().__init__()
        self._llm, self._decider = llm, decider

    @property
    def metadata(self) -> LLMMetadata:
        """What the other LLM can do."""
        return self._llm.metadata

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Return the stored answer, or the other LLM's."""
        answer = self._decider.decide(prompt)
        if answer is None:
            return self._llm.complete(prompt, formatted, **options)
        return CompletionResponse(text=answer.text)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseGen:
        """Yield the stored answer, or the other LLM's, piece by piece."""
        answer = self._decider.decide(prompt)
        if answer is None:
            yield from self._llm.stream_complete(prompt, formatted, **options)
        else:
            yield CompletionResponse(text=answer.text, delta=answer.text)
