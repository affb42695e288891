"""Secrets to withhold, as patch files hold them: plain, or salted and hashed.

Secrets are compared regardless of case, white space and Unicode form. A hash hides the secret from
a reader of the patch file; a short list of guesses can still be tried against it, so keep the file
private where that matters.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from errata.cache.text.normalize import fold_secret
from errata.deprecation import forward

__getattr__ = forward(__name__)

_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class SecretHash:
    """A hashed secret.

    :param salt: text that is hashed before the secret.
    :param length: number of characters of the secret, folded.
    :param digest: SHA-256 of salt and folded secret, in hexadecimal.
    """

    salt: str
    length: int
    digest: str

    def matches(self, folded: str) -> bool:
        """Return whether a folded text of the right length is the secret."""
        return hashlib.sha256((self.salt + folded).encode()).hexdigest() == self.digest


def hash_secret(text: str, salt: str | None = None) -> str:
    """Return ``salt:length:sha256``, the form of the key ``secret_hash``.

    :param text: the secret.
    :param salt: any text without a colon; random unless given.
    :raises ValueError: the secret is white space only, or the salt has a colon.
    """
    folded = fold_secret(text)[0]
    if not folded:
        raise ValueError("the secret is empty: there is nothing to hash")
    salt = secrets.token_hex(8) if salt is None else salt
    if ":" in salt or not salt:
        raise ValueError(f"a salt is a text without a colon, found {salt!r}")
    digest = hashlib.sha256((salt + folded).encode()).hexdigest()
    return f"{salt}:{len(folded)}:{digest}"


def parse_secret_hash(text: str, shortest: int = 1) -> SecretHash:
    """Return the parts of ``salt:length:sha256``.

    :param text: the value of the key ``secret_hash``.
    :param shortest: the least length allowed, in characters.
    :raises ValueError: it is malformed.
    """
    salt, _, hashed = text.strip().partition(":")
    length, _, digest = hashed.partition(":")
    well_formed = salt and length.isascii() and length.isdigit() and len(length) < 6
    hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not (well_formed and hexadecimal):
        raise ValueError(
            "must have the form salt:length:sha256 (64 hexadecimal digits): make one with "
            "errata.cache.filters.secrets.hash_secret"
        )
    if not shortest <= int(length) <= _LONGEST:
        raise ValueError(f"must hide {shortest} to {_LONGEST} characters, found {length}")
    return SecretHash(salt, int(length), digest)


def plain_length(text: str) -> int:
    """Return the number of characters of a secret, folded and without white space."""
    return len(fold_secret(text)[0])
