"""Bodies of chats: what has to keep a form, and edits put behind the question."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from errata.decider import RoutedQuery

ASKER_FIELDS = frozenset(
    "messages prompt stream stream_options n tools tool_choice response_format functions "
    "function_call logprobs top_logprobs best_of echo suffix parallel_tool_calls".split()
)
"""Fields of a caller's body that do not fit the question that a reasoner asks."""


def asking(body: Mapping[str, Any], routed: RoutedQuery) -> dict[str, Any]:
    """Return a chat's body with the edits behind its question, or with its question rewritten.

    :param body: the caller's; it is left as it is.
    :param routed: the decision.
    """
    changed = copy.deepcopy(dict(body))
    last = max(at for at, one in enumerate(changed["messages"]) if one.get("role") == "user")
    message = changed["messages"][last]
    query, new = routed.prompt.query, routed.in_context()
    parts = message["content"] if isinstance(message["content"], list) else [message]
    name = "text" if isinstance(message["content"], list) else "content"
    for part in reversed(parts):
        text = part.get(name)
        if isinstance(text, str) and query in text:
            before, _, after = text.rpartition(query)
            part[name] = f"{before}{new}{after}"
            return changed
    if name == "text":  # the question is spread over parts
        parts.append({"type": "text", "text": new})
    else:
        message["content"] = new
    return changed


def keeps_form(body: Mapping[str, Any]) -> bool:
    """Return whether an answer has to keep a form, or may be a call of a tool, or sees pictures."""
    form = body.get("response_format")
    formed = isinstance(form, Mapping) and form.get("type") not in (None, "text")
    tools = bool(body.get("tools") or body.get("functions")) and body.get("tool_choice") != "none"
    pictures = any(
        isinstance(part, Mapping) and part.get("type") not in (None, "text")
        for message in body.get("messages", ())
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
    return formed or tools or pictures


def until_stop(text: str, stop: str | list[str] | None) -> str:
    """Return a text up to the first of the caller's stop strings."""
    for one in [stop] if isinstance(stop, str) else stop or ():
        if one:
            text = text.partition(one)[0]
    return text


def text_of(made: Mapping[str, Any]) -> str:
    """Return the text of a chat's first choice."""
    choices = made.get("choices") or [{}]
    return str((choices[0].get("message") or {}).get("content") or "")


def dumped(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON."""
    return json.dumps(body, ensure_ascii=False).encode()
