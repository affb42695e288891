"""The prompt that adapters of chat models are trained on: the edits as system message."""

from __future__ import annotations

from collections.abc import Sequence

from errata.reasoners.prompts import Demonstration, Prompter


class SystemPrompter(Prompter):
    """Writes the edits into the system message, the query as the user's turn.

    Shorter than :class:`Prompter`: an adapter needs no instruction, and the edits stand in the
    place of the template's default system message.
    """

    def _chat(self, examples: Sequence[Demonstration], edits: Sequence[str], query: str) -> str:
        messages = [{"role": "system", "content": "\n".join(("Facts:", *edits))}]
        messages.append({"role": "user", "content": query})
        return str(
            self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )
