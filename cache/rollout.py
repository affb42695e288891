"""Rollouts: an edit in force for a share of conversations, always the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from errata.cache.errors import GenerationError
from errata.cache.records import Edit


@dataclass(frozen=True)
class Conversation:
    """What a rollout draws by.

    :param known: its digest, where the key is not at hand; empty: in every rollout.
    :param key: its key; hashed only where a rollout or a log asks for the digest.
    """

    known: str = ""
    key: str | None = None

    @classmethod
    def of(cls, key: str) -> Conversation:
        """Return the conversation of a key.

        :param key: the same text for all queries of a conversation, or of a user.
        """
        return cls(key=key)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the key, as hex digits; empty: in every rollout."""
        if self.key is None:
            return self.known
        return hashlib.sha256(self.key.encode(errors="surrogatepass")).hexdigest()

    def includes(self, edit: Edit) -> bool:
        """Return whether an edit is in force in this conversation.

        Each edit draws for itself, by its id: with a larger share the conversations that had it
        keep it.
        """
        if edit.rollout >= 1 or not self.digest:
            return True
        drawn = hashlib.sha256(f"{edit.id}\0{self.digest}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(drawn[:8], "big") < edit.rollout * 2**64


Key = str | Conversation | Sequence[str | Conversation] | None
"""The ``key=`` argument: one for all queries, one for each, or None for their first user turns."""

EVERYONE = Conversation()
"""In every rollout: for tests of patches."""


def conversations_of(key: Key, first_turns: Sequence[str]) -> list[Conversation]:
    """Return the conversation of each query.

    :param key: the caller's.
    :param first_turns: the first user turn of each query's conversation.
    :raises GenerationError: a key is no text, or there is not one for each query.
    """
    keys: Sequence[str | Conversation]
    if key is None:
        keys = [turn.strip() for turn in first_turns]
    elif isinstance(key, str | Conversation):
        keys = [key] * len(first_turns)
    else:
        keys = key if isinstance(key, Sequence) else ()
    if len(keys) != len(first_turns) or not all(isinstance(k, str | Conversation) for k in keys):
        raise GenerationError(
            f"expected key= to be a text, or one text for each of {len(first_turns)} queries, "
            f"found {key!r}"
        )
    return [Conversation(key=one) if isinstance(one, str) else one for one in keys]
