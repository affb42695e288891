"""Patches in LiteLLM: ``litellm.completion(model="patched/NAME", ...)`` answers by them first."""

from __future__ import annotations

from typing import Any

import litellm
from litellm import CustomLLM, ModelResponse

from errata import Decider


class Patched(CustomLLM):
    """A provider whose answers the patches correct; other models answer the rest.

    Registered by ``litellm.custom_provider_map = [{"provider": "patched", "custom_handler":
    Patched(decider)}]``.

    :param decider: decides.
    """

    def __init__(self, decider: Decider) -> None:
        super().__init__()
        self._decider = decider

    def completion(self, model: str, messages: list[Any], **options: Any) -> ModelResponse:
        """Return the stored answer, or that of the model named behind ``patched/``."""
        answer = self._decider.decide(messages)
        if answer is None:
            return litellm.completion(model=model, messages=messages, **_passed(options))
        return litellm.mock_completion(model=model, messages=messages, mock_response=answer.text)

    async def acompletion(self, model: str, messages: list[Any], **options: Any) -> ModelResponse:
        """Return what :meth:`completion` does."""
        answer = await self._decider.adecide(messages)
        if answer is None:
            return await litellm.acompletion(model=model, messages=messages, **_passed(options))
        return litellm.mock_completion(model=model, messages=messages, mock_response=answer.text)


def _passed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the caller's own parameters."""
    return dict(options.get("optional_params") or {})
