"""Whether edits in the weights hold: the edited model is asked each question, and answers freely.

A small loss at the end of an editor's search does not say so: the first token of the answer may
still be another one, or the answer may go on after its end.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.filters.guard import SecretGuard
from errata.cache.records import Edit, Fact
from errata.generation.free_generation import AnswerGenerator
from errata.generation.judge import is_right
from errata.generation.sharing import sharing_copy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

log = logging.getLogger("errata")


@dataclass(frozen=True, slots=True)
class VerificationConfig:
    """How edited models are asked.

    :param extra_tokens: tokens an answer may have beyond the longest one expected: enough to see
        that it goes on.
    :param batch_size: most questions in a batch.
    """

    extra_tokens: int = 4
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An edit that is in the weights and does not hold.

    :param edit: the edit.
    :param answer: what the model answers to its question; empty for a fact to be forgotten, whose
        secret it has.
    """

    edit: Fact
    answer: str

    def __str__(self) -> str:
        """Return the edit, what was expected, and what was found."""
        if self.edit.forget:
            found = "expected an answer without the secret, found it"
        else:
            found = f"expected the answer {self.edit.answer!r}, found {self.answer!r}"
        return f"{self.edit.location or self.edit.id}: {found}"


def not_taken(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    edits: Sequence[Edit],
    config: VerificationConfig | None = None,
) -> tuple[NotTaken, ...]:
    """Return the facts that a model does not answer as edited, by greedy generation.

    An answer holds where the whole of it is the edit's; a fact to be forgotten, where its secret is
    not in the answer. Edits without a question, or without a secret to look for, are left out.

    :param model: the edited model; neither it nor the random state is touched.
    :param tokenizer: its tokenizer.
    :param edits: those in its weights.
    :param config: how it is asked.
    """
    config = config or VerificationConfig()
    facts = [edit for edit in edits if isinstance(edit, Fact)]
    if not facts:
        return ()
    longest = max(_tokens(tokenizer, fact) for fact in facts)
    generator = AnswerGenerator(
        sharing_copy(model), tokenizer, longest + config.extra_tokens, config.batch_size
    )
    answers = generator.answer([edit.question for edit in facts])
    pairs = zip(facts, (answer.text for answer in answers), strict=True)
    return tuple(
        NotTaken(fact, "" if fact.forget else answer)
        for fact, answer in pairs
        if not _holds(fact, answer)
    )


def log_not_taken(missed: Sequence[NotTaken], backend: str, edits: int) -> None:
    """Warn about edits that do not hold, with the first one's answer.

    :param missed: these edits.
    :param backend: that made them.
    :param edits: how many it made.
    """
    if not missed:
        return
    log.warning(
        "%d of %d edits by %s do not hold, the first: %s; keep it in the cache, or try other "
        "settings",
        len(missed), edits, backend, missed[0],
    )  # fmt: skip


def _tokens(tokenizer: PreTrainedTokenizerBase, fact: Fact) -> int:
    """Return how many tokens the answer, or the secret to look for, has at most."""
    if fact.forget:
        return SecretGuard([fact]).longest  # of a hash only the number of characters is known
    return len(tokenizer(f" {fact.answer}")["input_ids"])


def _holds(fact: Fact, answer: str) -> bool:
    if fact.forget:
        return not SecretGuard([fact]).find(answer)
    return is_right(answer, [fact.answer])
