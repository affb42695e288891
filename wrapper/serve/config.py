"""What ``errata serve`` allows, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from errata.cache.errors import ErrataError


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Limits of the server.

    :param max_body_bytes: a larger request is refused (413). Long conversations are some hundred
        kilobytes; pictures are sent as base64, some megabytes each.
    :param body_seconds: a request whose body has not arrived by then is refused (408), so that slow
        clients do not hold connections.
    :param rate: requests of one key, or of one address where there are no keys, such as
        ``600/minute`` (:mod:`limits`); empty: no limit.
    :param max_batch: conversations that are decided, or answered by a local model, at once.
    :param max_waiting: conversations that wait for that; further ones are refused (503).
    :param answer_threads: hits that wait for the upstream's answer at once.
    :param stream_threads: answers that a local model streams at once.
    :param max_tokens: tokens of a local model's answer where the request does not say.
    :param upstream_seconds: the upstream's longest silence.
    :param shutdown_seconds: how long requests under way may take after a signal to stop.
    :param max_choices: answers to one request (``n``).
    :raises ErrataError: a limit is not above 0.
    """

    max_body_bytes: int = 16 * 2**20
    body_seconds: float = 30.0
    rate: str = ""
    max_batch: int = 32
    max_waiting: int = 2000
    answer_threads: int = 64
    stream_threads: int = 4
    max_tokens: int = 256
    upstream_seconds: float = 600.0
    shutdown_seconds: float = 30.0
    max_choices: int = 16

    def __post_init__(self) -> None:
        """Check the values."""
        for name in self.__slots__:
            value = getattr(self, name)
            if name != "rate" and value <= 0:
                raise ErrataError(f"expected {name} above 0, found {value}; leave it out, or raise")
