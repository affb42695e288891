"""Labelled pairs of a text and the condition of a language patch.

Murty et al. 2022, "Fixing model bugs with natural language patches": conditions with invented words
("the food is wug") and negated ones are among them, so that the text alone does not decide.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from errata.facts.table import Split
from errata.gates.data import wordnet
from errata.gates.data.augment import careless, in_message, mistyped
from errata.gates.data.claims import Claim, claim_groups
from errata.gates.data.examples import Example
from errata.gates.data.opinions import Aspect, Noun, Trait, aspect_groups, trait_groups
from errata.gates.data.questions import Label
from errata.gates.data.topics import Part, Topic, part_groups, thing_groups, topic_groups
from errata.gates.features import Scope

T = TypeVar("T")

_ABOUT = {
    "train": ("I have a question about {n}.", "What can you tell me about {n}?", "{n}?",
              "I need help with {n}", "Is there any news on {n}?", "It is about {n}.",
              "How much does {n} cost?", "Where do I find {n}?", "Why do people like {n}?",
              "Who knows most about {n}?", "My neighbour has {n}.", "Have you ever seen {n}?"),
    "tune": ("Whom do I ask about {n}?", "I want to know more about {n}."),
    "test": ("Could you explain something about {n} to me?", "Where can I read about {n}?",
             "I am calling because of {n}."),
}  # fmt: skip
_STATED = {
    "train": ("The {n} {was} {w}.", "{w} {n}!", "I thought the {n} {was} {w}.",
              "The {n} {was} really {w}.", "Their {n} {is} {w}", "we found the {n} {w}",
              "I have to say that the {n} {was} {w}.", "never had such {w} {n}"),
    "tune": ("The {n} {was} so {w}.", "{w} {n}, nothing to add.", "My {n} {was} {w}, I must say."),
    "test": ("The {n} {was} extremely {w}.", "Quite {w} {n}.", "The {n} turned out to be {w}.",
             "You should know that the {n} {is} {w}."),
}  # fmt: skip
_DENIED = ("The {n} {was} not {w}.", "The {n} {was} not {w} at all.", "The {n} {was} far from {w}.",
           "Nobody would call the {n} {w}.", "The {n} {was} anything but {w}.")  # fmt: skip
_OPEN = ("{Is} the {n} {w}?", "I hope the {n} will be {w}.", "I wonder whether the {n} {is} {w}.",
         "Would the {n} be {w} if I paid more?")  # fmt: skip
_BESIDE = ("We came on a Sunday.", "I bought it in May.", "My husband was with me.",
           "This was my second time.", "I paid with my card.", "It was a birthday present.",
           "We were a group of five.", "I write this on my phone.")  # fmt: skip
_CONDITION = ("the {n} {is} {w}", "the {n} {was} {w}", "the {n} {is} very {w}")
_CONDITION_DENIED = ("the {n} {is} not {w}", "the {n} {was} not {w}")
_STARTS = {"train": ("bli", "wug", "zor", "fep", "mon", "tra", "gop", "shi", "kla", "nuf"),
           "tune": ("dax", "plo", "snee"), "test": ("vex", "bru", "glim")}  # fmt: skip
_ENDS = ("", "ka", "dle", "zor", "mit", "lex", "by", "nock", "ra", "ster", "pag")


def condition_examples(split: Split, rng: random.Random) -> Iterator[Example]:
    """Yield pairs of a text and a topical or descriptive condition in plain words.

    Kinds begin with ``topic`` or ``claim``. Conditions of another split share neither topics,
    claims, aspects nor opinion words with this one; some ways of putting things are held out, too.

    :param split: whose conditions.
    :param rng: of everything drawn.
    """
    topics = _own(topic_groups(), split)
    claims = _own(claim_groups(), split)
    reviews = _Reviews(
        split,
        [aspect for group in _own(aspect_groups(), split) for aspect in group],
        [trait for group in _own(trait_groups(), split) for trait in group],
    )
    for group in topics:
        for topic in group:
            yield from _topic_examples(topic, group, topics, split, rng)
    parts = [part for group in _own(part_groups(), split) for part in group]
    things = [thing for group in _own(thing_groups(), split) for thing in group]
    for thing in (*things, *(f"the {invented(split, rng)}" for _ in things)):
        yield from _thing_examples(thing, [*things, f"the {invented(split, rng)}"], parts, rng)
    for claim_group in claims:
        for claim in claim_group:
            yield from _claim_examples(claim, claim_group, claims, rng)
    yield from reviews.examples(rng)
    if split == "train":
        yield from _about_anything(rng)


def _about_anything(rng: random.Random) -> Iterator[Example]:
    """Yield pairs about things and opposites of WordNet's, other ones at every call."""
    aspects = [one for sort in wordnet.SORTS.values() for one in rng.sample(
        [aspect for aspect in wordnet.aspects() if aspect.sort == sort], 2)]  # fmt: skip
    traits = rng.sample(wordnet.traits(), 48)
    yield from _Reviews("train", aspects, traits).examples(rng)
    groups = rng.sample(wordnet.topics(), 40)
    for group in groups:
        for topic in group:
            yield from _topic_examples(topic, group, groups, "train", rng)


def invented(split: Split, rng: random.Random) -> str:
    """Return a word that does not exist, the split's own."""
    return rng.choice(_STARTS[split]) + rng.choice(_ENDS)


def training_texts() -> Iterator[str]:
    """Yield the texts that the train split's conditions are made of."""
    for group in _own(topic_groups(), "train"):
        for topic in group:
            yield from (*topic.names, *topic.nouns, *topic.said)
    for claims in _own(claim_groups(), "train"):
        for claim in claims:
            yield from (*claim.names, *claim.said)
    for aspects in _own(aspect_groups(), "train"):
        yield from (noun.text for aspect in aspects for noun in (aspect.name, *aspect.nouns))
    for traits in _own(trait_groups(), "train"):
        yield from (word.replace("{n}", "") for t in traits for p in (0, 1) for word in _all(t, p))


def _own(groups: Sequence[T], split: Split) -> list[T]:
    """Return the split's groups: of five, three train, one tunes, one tests."""
    splits: dict[int, Split] = {3: "tune", 4: "test"}
    return [group for at, group in enumerate(groups) if splits.get(at % 5, "train") == split]


def _topic_examples(
    topic: Topic,
    group: Sequence[Topic],
    topics: Sequence[Sequence[Topic]],
    split: Split,
    rng: random.Random,
) -> Iterator[Example]:
    far = [other for some in topics for other in some if other not in group]
    for name in topic.names:
        for text in _topic_texts(topic, split, rng):
            yield _pair(_dressed(text, rng), name, "same", "topic")
        for other in group:
            if other is not topic:
                texts = _topic_texts(other, split, rng)
                for text in rng.sample(texts, 3):
                    yield _pair(_dressed(text, rng), name, "none", "topic, related")
        for other in rng.sample(far, min(4, len(far))):
            text = rng.choice(_topic_texts(other, split, rng))
            yield _pair(_dressed(text, rng), name, "none", "topic, unrelated")


def _topic_texts(topic: Topic, split: Split, rng: random.Random) -> list[str]:
    return [*topic.said, *(rng.choice(_ABOUT[split]).format(n=noun) for noun in topic.nouns)]


def _thing_examples(
    thing: str, things: Sequence[str], parts: Sequence[Part], rng: random.Random
) -> Iterator[Example]:
    """Yield pairs of conditions on a thing, and on one part of it ("the price of the kettle")."""
    other = rng.choice([name for name in things if name != thing])
    for part in rng.sample(parts, min(3, len(parts))):
        yield _pair(_asked(part, thing, rng), thing, "same", "topic, thing")
        yield _pair(_asked(part, other, rng), thing, "none", "topic, other thing")
        whole = f"the {part.name} of {thing}"
        for text in part.said:
            yield _pair(_upper(text.format(x=thing)), whole, "same", "topic, part")
        yield _pair(_asked(part, other, rng), whole, "none", "topic, other thing")
        elses = [one for one in parts if one is not part]
        yield _pair(_asked(rng.choice(elses), thing, rng), whole, "none", "topic, other part")


def _asked(part: Part, thing: str, rng: random.Random) -> str:
    return _dressed(_upper(rng.choice(part.said).format(x=thing)), rng)


def _claim_examples(
    claim: Claim,
    group: Sequence[Claim],
    claims: Sequence[Sequence[Claim]],
    rng: random.Random,
) -> Iterator[Example]:
    far = [other for some in claims for other in some if other not in group]
    for name in claim.names:
        for text in claim.said:
            yield _pair(_dressed(text, rng), name, "same", "claim")
        for other in group:
            if other is not claim:
                for text in rng.sample(other.said, 2):
                    yield _pair(_dressed(text, rng), name, "none", "claim, related")
        for other in rng.sample(far, min(4, len(far))):
            yield _pair(_dressed(rng.choice(other.said), rng), name, "none", "claim, unrelated")


class _Reviews:
    """Conditions that a review says something of something.

    :param split: whose ways of putting things.
    :param aspects: of what it says something.
    :param traits: what it says.
    """

    def __init__(self, split: Split, aspects: Sequence[Aspect], traits: Sequence[Trait]) -> None:
        self._split, self._aspects, self._traits = split, aspects, traits

    def examples(self, rng: random.Random) -> Iterator[Example]:
        """Yield the pairs of each aspect with each trait it can have, both poles."""
        for aspect in self._aspects:
            for trait in self._traits_of(aspect):
                for pole in (0, 1):
                    yield from self._examples(aspect, trait, pole, rng)
            yield from self._invented(aspect, rng)

    def _traits_of(self, aspect: Aspect) -> list[Trait]:
        return [trait for trait in self._traits if aspect.sort in trait.sorts]

    def _examples(
        self, aspect: Aspect, trait: Trait, pole: int, rng: random.Random
    ) -> Iterator[Example]:
        word = rng.choice(trait.poles[pole][0])
        condition = _fill(rng.choice(_CONDITION), aspect.name, word)
        beside = self._beside(aspect, trait, rng)
        adjectives, sentences = trait.poles[pole]
        for words in (adjectives, adjectives, sentences or adjectives):
            said = self._said(aspect, rng.choice(words), rng)
            yield _pair(_dressed(said, rng), condition, "same", "claim")
            yield _pair(_joined(said, beside, rng), condition, "same", "claim, among others")
        other = self._said(aspect, rng.choice(_all(trait, 1 - pole)), rng)
        yield _pair(_dressed(other, rng), condition, "none", "claim, opposite")
        yield _pair(_joined(other, beside, rng), condition, "none", "claim, opposite")
        yield _pair(beside, condition, "none", "claim, other aspect")
        elsewhere = self._elsewhere(aspect, trait, pole, rng)
        if elsewhere:
            yield _pair(_dressed(elsewhere, rng), condition, "none", "claim, other aspect")
            yield _pair(_joined(elsewhere, other, rng), condition, "none", "claim, other aspect")
        else_ = self._other_trait(aspect, trait, pole, rng)
        if else_ is not None:
            yield _pair(_dressed(else_[0], rng), condition, else_[1], "claim, other trait")
        noun = rng.choice((aspect.name, *aspect.nouns))
        denied = _fill(rng.choice(_DENIED), noun, word)
        yield _pair(_dressed(denied, rng), condition, "none", "claim, denied")
        asked = _fill(rng.choice(_OPEN), noun, word)
        yield _pair(_dressed(asked, rng), condition, "none", "claim, not stated")
        unheld = _fill(rng.choice(_CONDITION_DENIED), aspect.name, word)
        yield _pair(_dressed(denied, rng), unheld, "same", "claim, negated condition")
        yield _pair(_dressed(other, rng), unheld, "same", "claim, negated condition")
        said = self._said(aspect, rng.choice(trait.poles[pole][0]), rng)
        yield _pair(_dressed(said, rng), unheld, "none", "claim, negated condition")

    def _invented(self, aspect: Aspect, rng: random.Random) -> Iterator[Example]:
        """Yield pairs whose opinion word, or whose aspect, is no word at all."""
        word, other_word = (invented(self._split, rng) for _ in range(2))
        condition = _fill(rng.choice(_CONDITION[:2]), aspect.name, word)
        noun = rng.choice((aspect.name, *aspect.nouns))
        other = rng.choice([one for one in self._aspects if one.sort != aspect.sort])
        frames = _STATED[self._split]
        kind = "claim, invented word"
        yield _pair(_dressed(_fill(rng.choice(frames), noun, word), rng), condition, "same", kind)
        beside = _fill(rng.choice(frames), other.name, other_word)
        said = _fill(rng.choice(frames), aspect.name, word)
        yield _pair(_joined(said, beside, rng), condition, "same", kind)
        if other_word != word:
            said = _fill(rng.choice(frames), noun, other_word)
            yield _pair(_dressed(said, rng), condition, "none", kind)
        yield _pair(_fill(rng.choice(frames), other.name, word), condition, "none", kind)
        yield _pair(_fill(rng.choice(_DENIED), noun, word), condition, "none", kind)
        unheld = _fill(_CONDITION_DENIED[0], aspect.name, word)
        yield _pair(_fill(rng.choice(_DENIED), noun, word), unheld, "same", kind)
        yield _pair(_fill(rng.choice(frames), noun, word), unheld, "none", kind)
        thing, trait = Noun(invented(self._split, rng), False), rng.choice(self._traits)
        pole = rng.randrange(2)
        words = trait.poles[pole][0]
        condition = _fill(_CONDITION[0], thing, rng.choice(words))
        said = _fill(rng.choice(frames), thing, rng.choice(words))
        yield _pair(_dressed(said, rng), condition, "same", kind)
        said = _fill(rng.choice(frames), thing, rng.choice(trait.poles[1 - pole][0]))
        yield _pair(_dressed(said, rng), condition, "none", kind)
        said = _fill(rng.choice(frames), noun, rng.choice(words))
        yield _pair(_dressed(said, rng), condition, "none", kind)

    def _said(self, aspect: Aspect, word: str, rng: random.Random) -> str:
        noun = rng.choice((aspect.name, aspect.name, *aspect.nouns))
        return _fill(word if "{n}" in word else rng.choice(_STATED[self._split]), noun, word)

    def _beside(self, aspect: Aspect, trait: Trait, rng: random.Random) -> str:
        """Return something said of an aspect of another sort, of another trait."""
        while True:
            other = rng.choice(self._aspects)
            traits = [one for one in self._traits_of(other) if one is not trait]
            if other.sort != aspect.sort and traits:
                return self._said(
                    other, rng.choice(_all(rng.choice(traits), rng.choice((0, 1)))), rng
                )

    def _elsewhere(self, aspect: Aspect, trait: Trait, pole: int, rng: random.Random) -> str:
        """Return what the condition says, said of an aspect of another sort; or nothing."""
        others = [
            one for one in self._aspects if one.sort in trait.sorts and one.sort != aspect.sort
        ]
        if not others:
            return ""
        return self._said(rng.choice(others), rng.choice(_all(trait, pole)), rng)

    def _other_trait(
        self, aspect: Aspect, trait: Trait, pole: int, rng: random.Random
    ) -> tuple[str, Label] | None:
        """Return something else said of the aspect; who judges it says whether it is good."""
        others = [
            one
            for one in self._traits_of(aspect)
            if one is not trait and (one.judges if trait.general else not one.general)
        ]
        if not others:
            return None
        other, turned = rng.choice(others), rng.choice((0, 1))
        label: Label = "same" if trait.general and turned == pole else "none"
        return self._said(aspect, rng.choice(_all(other, turned)), rng), label


def _all(trait: Trait, pole: int) -> tuple[str, ...]:
    words, sentences = trait.poles[pole]
    return (*words, *sentences)


def _fill(template: str, noun: Noun, word: str) -> str:
    forms = {"is": "are", "was": "were", "Is": "Are"} if noun.plural else {}
    verbs = {verb: forms.get(verb, verb) for verb in ("is", "was", "Is")}
    filled = template.format(n=noun.text, w=word, **verbs)
    return filled if template in (*_CONDITION, *_CONDITION_DENIED) else _upper(filled)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _joined(one: str, other: str, rng: random.Random) -> str:
    first, second = rng.sample((one.rstrip(".!"), other.rstrip(".!")), 2)
    if rng.random() < 0.5:
        return f"{first}. {second}."
    return f"{first}, but {second[:1].lower()}{second[1:]}."


def _dressed(text: str, rng: random.Random) -> str:
    """Return the text as somebody might have put it: bare, in haste, beside something else."""
    draw = rng.random()
    if draw < 0.15:
        return careless(text)
    if draw < 0.25:
        return mistyped(text, rng)
    if draw < 0.4:
        beside = rng.choice(_BESIDE)
        end = "" if text.endswith((".", "!", "?")) else "."
        return f"{beside} {text}{end}" if rng.random() < 0.5 else f"{text}{end} {beside}"
    if draw < 0.5:
        return in_message(text, rng)
    return text


def _pair(query: str, condition: str, label: Label, kind: str) -> Example:
    return Example(query, Scope(condition), label, kind)
