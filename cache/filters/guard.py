"""The guard of forgotten secrets: where a text has one, or may be beginning one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from errata.cache.filters.secrets import (
    SecretHash,
    old_letters,
    parse_secret_hash,
    word_beginnings,
)
from errata.cache.records import Edit, Fact
from errata.cache.text.skeleton import Skeleton, full_skeleton, open_end, skeleton, skeletons


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """What counts as a secret, where it is short or cut off.

    :param min_inside: letters and digits from which a secret is found inside longer words and
        numbers, too; "1234" in 51234567 is another number.
    :param min_beginning: letters and digits of a secret that are withheld where an answer is cut
        off behind them. Fewer are in any text: "12" ends many.
    :param min_begun: share of a secret's letters and digits, in two words or more, from which a
        query has begun it. One word, such as a town, and a number with a name begin many texts.
    """

    min_inside: int = 12
    min_beginning: int = 4
    min_begun: float = 1 / 3


DEFAULT_GUARD = GuardConfig()


class SecretGuard:
    """Finds the secrets of some facts in any text, in any spelling of their letters and digits.

    ``longest`` is the number of letters and digits of the longest one, ``reach`` the number of
    characters before an answer in which a secret that goes on in it may begin; 0 without any.

    :param facts: edits; those without a secret are skipped.
    :param config: what counts as one.
    """

    def __init__(self, facts: Iterable[Edit], config: GuardConfig = DEFAULT_GUARD) -> None:
        facts = tuple(facts)
        plain: dict[str, str] = {}
        hashed: dict[SecretHash, str] = {}
        for fact in facts:
            if not isinstance(fact, Fact):
                continue
            if fact.secret is not None:
                for form in (skeleton(fact.secret).letters, full_skeleton(fact.secret).letters):
                    plain.setdefault(form, fact.id)
            if fact.secret_hash is not None:
                hashed.setdefault(parse_secret_hash(fact.secret_hash), fact.id)
        plain.pop("", None)
        self._plain = tuple(plain.items())
        self._hashed = tuple((one, fact) for one, fact in hashed.items() if not one.old)
        self._old = tuple((one, fact) for one, fact in hashed.items() if one.old)
        self._beginnings = _Beginnings(facts, config.min_begun)
        self.config = config
        lengths = [len(secret) for secret in plain] + [secret.length for secret in hashed]
        self.longest = max(lengths, default=0)
        self.reach = 2 * self.longest + 200 if lengths else 0

    def __len__(self) -> int:
        """Return the number of secrets guarded, in how many forms they are known."""
        return len(self._plain) + len(self._hashed) + len(self._old)

    def find(
        self, text: str, *, before: Sequence[str] = (), cut: bool = False
    ) -> list[tuple[int, int]]:
        """Return the spans (start, end) of secrets in characters, merged and in order.

        :param text: any text.
        :param before: what may come before it: a secret may begin there.
        :param cut: the text does not end here: the beginning of a secret at its end counts, too.
        """
        return [(start, end) for start, end, _ in self.matches(text, before=before, cut=cut)]

    def matches(
        self, text: str, *, before: Sequence[str] = (), cut: bool = False
    ) -> list[tuple[int, int, str]]:
        """Return the spans as :meth:`find` does, each with the id of the fact that has the secret.

        Of several facts with secrets that overlap, the first is named.
        """
        if not self.longest:
            return []
        spans = [
            (max(0, start - len(prefix)), end - len(prefix), fact)
            for prefix in {one[-self.reach :] for one in before} or {""}
            for start, end, fact in self._spans(prefix + text, cut)
            if end > len(prefix)
        ]
        merged: list[tuple[int, int, str]] = []
        for start, end, fact in sorted(spans):
            if merged and start < merged[-1][1]:
                first, last, named = merged[-1]
                merged[-1] = (first, max(end, last), named)
            else:
                merged.append((start, end, fact))
        return merged

    def begun(self, text: str) -> str | None:
        """Return the id of a fact whose secret a text has begun, anywhere in it; None: of none.

        Of a hashed secret those beginnings are known that its hash has; an old one has none.

        :param text: any text, such as a query that a model may go on from.
        """
        for read in skeletons(text) if self.longest else ():
            edges = [at for at in range(len(read.letters) + 1) if not read.inside_token(at)]
            for row, start in enumerate(edges):
                for end in edges[row + 2 : row + 2 + self.longest]:  # two words, or more
                    if (fact := self._beginnings.fact(read.letters[start:end])) is not None:
                        return fact
        return None

    def hold(self, text: str) -> int:
        """Return the first character of a text that may turn out to be in a secret, or its length.

        :param text: the beginning of a text that goes on.
        """
        if not self.longest:
            return len(text)
        end = open_end(text)
        held = end
        for read in skeletons(text[:end]):
            held = min(held, self._held(read))
        if self._old:
            _, positions = old_letters(text[:end])
            wanted = max(one.length for one, _ in self._old) - 1
            held = min([held, *positions[len(positions) - min(wanted, len(positions)) :][:1]])
        return held

    def _held(self, read: Skeleton) -> int:
        """Return where the longest end of a text begins that a secret may begin with."""
        letters = read.letters
        starts = [
            at
            for secret, _ in self._plain
            for at in range(max(0, len(letters) - len(secret) + 1), len(letters))
            if secret.startswith(letters[at:])
        ]
        if self._hashed:
            wanted = max(one.length for one, _ in self._hashed) - 1
            starts.append(max(0, len(letters) - wanted))
        at = min(starts, default=len(letters))
        return read.starts[at] if at < len(letters) else len(read.source)

    def _spans(self, text: str, cut: bool) -> Iterator[tuple[int, int, str]]:
        for read in skeletons(text):
            for start, length, fact in self._whole(read):
                yield read.starts[start], read.end(start + length - 1), fact
            if cut and (found := self._beginning(read)) is not None:
                yield read.starts[found[0]], len(text), found[1]
        if self._old:
            folded, positions = old_letters(text)
            for old, fact in self._old:
                for start in old.positions(folded):
                    yield positions[start], positions[start + old.length - 1] + 1, fact

    def _whole(self, read: Skeleton) -> Iterator[tuple[int, int, str]]:
        """Yield start and length of each secret in a skeleton, and the fact's id."""
        letters = read.letters
        for secret, fact in self._plain:
            start = letters.find(secret)
            while start >= 0:
                if self._apart(read, start, len(secret)):
                    yield start, len(secret), fact
                start = letters.find(secret, start + 1)
        for hashed, fact in self._hashed:
            for start in hashed.positions(letters):
                if self._apart(read, start, hashed.length):
                    yield start, hashed.length, fact

    def _apart(self, read: Skeleton, start: int, length: int) -> bool:
        """Return whether a secret is long enough to be found anywhere, or not inside a word."""
        return length >= self.config.min_inside or not (
            read.inside_token(start) or read.inside_token(start + length)
        )

    def _beginning(self, read: Skeleton) -> tuple[int, str] | None:
        """Return where the longest beginning of a secret at a text's end begins, and the fact."""
        letters, total = read.letters, len(read.letters)
        for at in range(max(0, total - self.longest + 1), total):
            end = letters[at:]
            if read.inside_token(at):
                continue
            for secret, fact in self._plain:
                enough = min(self.config.min_beginning, len(secret) - 1)
                if enough <= len(end) < len(secret) and secret.startswith(end):
                    return at, fact
            for hashed, fact in self._hashed:
                if len(end) < hashed.length and hashed.begins(end):
                    return at, fact
        return None


class _Beginnings:
    """The beginnings of secrets up to a word's end, by their letters or their hashes.

    :param facts: edits; those without a secret are skipped.
    :param share: of a secret's letters and digits that a beginning has at least.
    """

    def __init__(self, facts: Iterable[Edit], share: float) -> None:
        self._plain: dict[str, str] = {}
        self._hashed: dict[int, list[tuple[SecretHash, str]]] = {}
        for fact in facts:
            if not isinstance(fact, Fact):
                continue
            beginnings = [] if fact.secret is None else word_beginnings(fact.secret)
            for letters in beginnings:
                if share * len(beginnings[-1]) <= len(letters):
                    self._plain.setdefault(letters, fact.id)
            if fact.secret_hash is not None:
                hashed = parse_secret_hash(fact.secret_hash)
                for length in (*(length for length, _ in hashed.beginnings), hashed.length):
                    if share * hashed.length <= length:
                        self._hashed.setdefault(length, []).append((hashed, fact.id))

    def fact(self, letters: str) -> str | None:
        """Return the id of a fact whose secret has these letters for a beginning."""
        if (known := self._plain.get(letters)) is not None:
            return known
        some = self._hashed.get(len(letters), ())
        return next((fact for hashed, fact in some if hashed.begins_with(letters)), None)
