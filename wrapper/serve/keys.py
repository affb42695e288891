"""Keys of callers and of administrators: stored as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from errata.cache.errors import ErrataError

_LINE = re.compile(r"(?P<name>[^\s:#][^\s:]*)\s*:\s*(?P<digest>[0-9a-f]{64})")


class KeyRing:
    """Named keys, of which only the SHA-256 is known.

    A key has 256 random bits, so that a plain hash cannot be searched for it.

    :param digests: SHA-256 as hex digits, by name.
    """

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = {name: bytes.fromhex(digest) for name, digest in digests.items()}

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._digests)

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a file of lines ``name: sha256``; empty lines and ``#`` comments are skipped.

        :raises ErrataError: the file is missing, or a line is wrong.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ErrataError(
                f"{path}: expected a file of keys, found {error}; make one with `errata new-key`"
            ) from error
        digests: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            match = _LINE.fullmatch(text)
            if match is None or match["name"] in digests:
                found = "another form" if match is None else f"a second {match['name']!r}"
                raise ErrataError(
                    f"{path}:{number}: expected a line `name: sha256` with a name of its own, "
                    f"found {found}; make one with `errata new-key`"
                )
            digests[match["name"]] = match["digest"]
        if not digests:
            raise ErrataError(
                f"{path}: expected keys, found none; add the line that `errata new-key` prints"
            )
        return cls(digests)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key, None where it is none of these.

        Every key is compared, each in constant time.
        """
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).digest()
        found = None
        for name, own in self._digests.items():
            if hmac.compare_digest(digest, own):
                found = name
        return found


def new_key() -> str:
    """Return a new random key."""
    return f"sk-errata-{secrets.token_urlsafe(32)}"


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key, as hex digits."""
    return hashlib.sha256(key.encode()).hexdigest()
