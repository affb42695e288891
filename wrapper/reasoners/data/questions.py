"""Pairs of real questions: which ask the same, which do not, and which share a rare word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from errata.cache.text.normalize import plain_words
from errata.facts.table import Split
from errata.gates.data.pairs import QuestionPair, split_pairs

Pair = tuple[str, str, bool]
"""Two questions, and whether they ask the same."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Real questions of one split.

    :param same: for a question, others that ask the same.
    :param different: for a question, others that share words and ask something else.
    :param by_word: for a word, the questions that hold it.
    """

    same: Mapping[str, Sequence[str]]
    different: Mapping[str, Sequence[str]]
    by_word: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Questions:
        """Return the questions of pairs."""
        same: dict[str, list[str]] = defaultdict(list)
        different: dict[str, list[str]] = defaultdict(list)
        for a, b, equal in pairs:
            table = same if equal else different
            table[a].append(b)
            table[b].append(a)
        by_word: dict[str, list[str]] = defaultdict(list)
        for text in dict.fromkeys((*same, *different)):
            for word in dict.fromkeys(plain_words(text)):
                by_word[word].append(text)
        return cls(dict(same), dict(different), by_word)

    def related(self, question: str) -> list[str]:
        """Return other questions with the rarest word that the question shares with any.

        That word mostly names what is asked about. Questions known to ask the same are left out.
        """
        near = self.same.get(question, ())
        known = {question, *near, *(text for one in near for text in self.same.get(one, ()))}
        lists = (self.by_word.get(word, ()) for word in plain_words(question))
        found = [[one for one in some if one not in known] for some in lists]
        return min(filter(None, found), key=len, default=[])


def questions_of(pairs: Sequence[Pair], split: Split) -> Questions:
    """Return the questions of a split; those that pairs connect are of one split."""
    found = split_pairs([QuestionPair(*pair) for pair in pairs])
    return Questions.of((pair.a, pair.b, pair.same) for pair in found[split])
