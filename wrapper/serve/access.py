"""Who may call what: keys of callers, keys of administrators, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from errata.cache.errors import ErrataError
from errata.serve.errors import ApiError
from errata.serve.keys import KeyRing

_BEARER = HTTPBearer(auto_error=False, description="A key that `errata new-key` made.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class RateLimit:
    """A limit of requests in a moving window.

    :param rate: such as ``600/minute``; empty: none.
    :raises ErrataError: it is of another form.
    """

    def __init__(self, rate: str) -> None:
        try:
            self._item = parse(rate) if rate else None
        except ValueError:
            raise ErrataError(f"expected a rate such as 600/minute, found {rate!r}") from None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, name: str) -> None:
        """Count a request.

        :param name: whose it is.
        :raises ApiError: there were too many.
        """
        if self._item is not None and not self._limiter.hit(self._item, name):
            raise ApiError(
                429, f"expected at most {self._item}, found more", "rate_limit_exceeded",
                headers={"Retry-After": str(max(1, self._item.get_expiry()))},
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Access:
    """The keys of a server.

    :param callers: keys of the OpenAI endpoints; None: open to all who reach the server.
    :param admins: keys of the admin API and page; None: closed.
    :param rate: the limit of requests of one caller.
    """

    callers: KeyRing | None = None
    admins: KeyRing | None = None
    rate: RateLimit = field(default_factory=lambda: RateLimit(""))

    def caller(self, request: Request, credentials: Credentials) -> None:
        """Raise unless a request may call the OpenAI endpoints now; an admin key opens none.

        :raises ApiError: no key, a wrong one, or too many requests.
        """
        name = request.client.host if request.client else "unknown"
        if self.callers is not None:
            found = self._name(self.callers, credentials)
            if found is None:
                raise _unauthorized("an API key")
            name = f"key {found}"
        self.rate.check(name)

    def admin(self, credentials: Credentials) -> None:
        """Raise unless a request may use the admin API.

        :raises ApiError: no admin key, or a wrong one.
        """
        if self.admins is None or self._name(self.admins, credentials) is None:
            raise _unauthorized("an admin key")

    def any(self, credentials: Credentials) -> None:
        """Raise unless a request has some key, where there are keys of callers.

        :raises ApiError: no key, or a wrong one.
        """
        if self.callers is not None:
            rings = [ring for ring in (self.callers, self.admins) if ring is not None]
            if not any(self._name(ring, credentials) for ring in rings):
                raise _unauthorized("a key")

    @staticmethod
    def _name(ring: KeyRing, credentials: HTTPAuthorizationCredentials | None) -> str | None:
        return None if credentials is None else ring.name_of(credentials.credentials)


def _unauthorized(what: str) -> ApiError:
    return ApiError(
        401, f"expected {what} as a bearer token, found none that is known", "invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip
