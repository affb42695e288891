"""Patches in a LangChain chain: a stored answer ends it, all else goes to the model."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.runnables import Runnable, RunnableLambda

from errata import Answer, Decider
from errata.reasoners.remote import Complete


def patched(model: BaseChatModel, decider: Decider) -> Runnable[list[BaseMessage], AIMessage]:
    """Return a chat model whose answers the patches correct.

    :param model: any chat model of LangChain.
    :param decider: decides; ``complete=complete_by(model)`` lets it ask the model, too.
    """

    def invoke(messages: list[BaseMessage]) -> AIMessage:
        answer = decider.decide(convert_to_openai_messages(messages))
        return model.invoke(messages) if answer is None else _message(answer)

    async def ainvoke(messages: list[BaseMessage]) -> AIMessage:
        answer = await decider.adecide(convert_to_openai_messages(messages))
        return await model.ainvoke(messages) if answer is None else _message(answer)

    return RunnableLambda(invoke, afunc=ainvoke)


def complete_by(model: BaseChatModel) -> Complete:
    """Return the function by which a decider asks a chat model."""
    return lambda messages: str(model.invoke(list(messages)).content)


def _message(answer: Answer) -> AIMessage:
    fired = [str(edit.location or edit.id) for edit in answer.decision.fired]
    return AIMessage(answer.text, response_metadata={"errata": fired})
