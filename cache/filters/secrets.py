"""Secrets to withhold, as patch files hold them: plain, or salted and hashed.

A hash is made of the secret's skeleton (:mod:`errata.cache.text.skeleton`), so that it matches
other spellings, too. It hides the secret from a reader of the patch file; a list of guesses can
still be tried against it, and few enough are needed for an address or a phone number
(:func:`is_guessable`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from errata.cache.text.normalize import fold_secret
from errata.cache.text.skeleton import full_skeleton
from errata.deprecation import forward

__getattr__ = forward(__name__)

_LONGEST = 10_000
_FORM = "2"
_HEX = re.compile(r"[0-9a-f]+")
_BEGINNING_DIGITS = 6
_SHORTEST_BEGINNING = 4


@dataclass(frozen=True, slots=True)
class GuessConfig:
    """When the hash of a secret is called guessable.

    :param min_guesses: guesses from which it is not: years of SHA-256 on a hundred graphics cards,
        at 10^10 a second each.
    :param min_length: letters and digits from which the hash of an unknown secret may not be: at
        random, 36^13 are 10^20.
    :param max_read: characters of a secret that are estimated: the estimate's time is quadratic.
    """

    min_guesses: float = 1e20
    min_length: int = 13
    max_read: int = 72


@dataclass(frozen=True, slots=True)
class SecretHash:
    """A hashed secret.

    :param salt: text that is hashed before the secret.
    :param length: number of letters and digits of the secret's skeleton.
    :param digest: SHA-256 of salt and skeleton, in hexadecimal.
    :param beginnings: of some beginnings of the skeleton: length, and the first hexadecimal digits
        of their hash.
    :param old: hashed by version 0.2 or before: not the skeleton, but the text without white space.
    """

    salt: str
    length: int
    digest: str
    beginnings: tuple[tuple[int, str], ...] = ()
    old: bool = False

    def positions(self, letters: str) -> Iterator[int]:
        """Yield where in some letters the secret begins."""
        salted = hashlib.sha256(self.salt.encode())
        wanted = bytes.fromhex(self.digest)
        for start in range(len(letters) - self.length + 1):
            digest = salted.copy()
            digest.update(letters[start : start + self.length].encode())
            if digest.digest() == wanted:
                yield start

    def begins(self, letters: str) -> bool:
        """Return whether letters, fewer than the secret's, begin as it does."""
        known = [pair for pair in self.beginnings if pair[0] <= len(letters)]
        length, digest = max(known, default=(0, ""))
        return bool(length) and _digest(self.salt, letters[:length]).startswith(digest)

    def begins_with(self, letters: str) -> bool:
        """Return whether letters are the secret, or one of the beginnings that the hash has."""
        return any(
            length == len(letters) and _digest(self.salt, letters).startswith(digest)
            for length, digest in (*self.beginnings, (self.length, self.digest))
        )


def hash_secret(text: str, salt: str | None = None) -> str:
    """Return the form of the key ``secret_hash``: ``2:salt:length:sha256:beginnings``.

    The beginnings, one for each word's end, let the guard know a secret that is cut off. Each has
    24 bits of a hash, so that of many guesses at a beginning some are right by chance.

    :param text: the secret.
    :param salt: any text without a colon; random unless given.
    :raises ValueError: the secret has neither letters nor digits, or the salt has a colon.
    """
    letters = full_skeleton(text).letters
    if not letters:
        raise ValueError("the secret is empty of letters and digits: there is nothing to hash")
    salt = secrets.token_hex(8) if salt is None else salt
    if ":" in salt or not salt:
        raise ValueError(f"a salt is a text without a colon, found {salt!r}")
    beginnings = ",".join(
        f"{len(beginning)}-{_digest(salt, beginning)[:_BEGINNING_DIGITS]}"
        for beginning in word_beginnings(text)[:-1]
    )
    return f"{_FORM}:{salt}:{len(letters)}:{_digest(salt, letters)}:{beginnings}"


def is_guessable(text: str, config: GuessConfig | None = None) -> bool:
    """Return whether so few guesses find a secret that its hash does not hide it.

    Guesses are counted by zxcvbn (Wheeler, USENIX Security 2016).

    :param text: the secret.
    :param config: from how many guesses on it does.
    """
    from zxcvbn import zxcvbn

    config = config or GuessConfig()
    return float(zxcvbn(text[: config.max_read])["guesses"]) < config.min_guesses


def parse_secret_hash(text: str, shortest: int = 1) -> SecretHash:
    """Return the parts of a ``secret_hash``.

    :param text: the value of the key: ``2:salt:length:sha256:beginnings``; of version 0.2 or
        before ``salt:length:sha256``.
    :param shortest: the least length allowed, in letters and digits.
    :raises ValueError: it is malformed.
    """
    parts = text.strip().split(":")
    old = len(parts) == 3
    salt, length, digest, beginnings = [*parts, ""] if old else (parts[1:5] + [""] * 4)[:4]
    well_formed = old or (len(parts) == 5 and parts[0] == _FORM)
    well_formed = well_formed and bool(salt) and _is_length(length)
    pairs = [pair.partition("-") for pair in beginnings.split(",") if pair]
    if not (
        well_formed
        and len(digest) == 64
        and _HEX.fullmatch(digest)
        and all(_is_length(length) and _HEX.fullmatch(part) for length, _, part in pairs)
    ):
        raise ValueError(
            "must have the form 2:salt:length:sha256:beginnings (or salt:length:sha256): make one "
            "with `errata hash-secret`"
        )
    if not shortest <= int(length) <= _LONGEST:
        raise ValueError(f"must hide {shortest} to {_LONGEST} characters, found {length}")
    found = tuple((int(length), part) for length, _, part in pairs)
    return SecretHash(salt, int(length), digest, found, old)


def word_beginnings(text: str) -> list[str]:
    """Return a secret's letters and digits up to each word's end, the whole last.

    A secret of one word is divided in its middle.

    :param text: the secret.
    """
    whole = full_skeleton(text)
    letters, length = whole.letters, len(whole.letters)
    ends = [at for at in range(1, length) if not whole.inside_token(at)]
    kept = [at for at in ends if at >= _SHORTEST_BEGINNING]
    kept = kept or [at for at in (length // 2,) if at >= _SHORTEST_BEGINNING]
    return [letters[:at] for at in (*kept, length)]


def plain_length(text: str) -> int:
    """Return the number of letters and digits of a secret, as they are compared."""
    return len(full_skeleton(text).letters)


def old_letters(text: str) -> tuple[str, list[int]]:
    """Return what hashes of version 0.2 or before were made of, and the characters' positions."""
    return fold_secret(text)


def _digest(salt: str, letters: str) -> str:
    return hashlib.sha256((salt + letters).encode()).hexdigest()


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6
