"""Labelled pairs of a text and the condition of a language patch; ``paraphrase`` where it holds.

Murty et al. 2022, "Fixing model bugs with natural language patches": conditions with invented words
("the food is wug") and negated ones are among them, so that the text alone does not decide.
Sentence templates come from ``tables/conditions.yaml``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from errata.facts.table import Split
from errata.gates.data import wordnet
from errata.gates.data.augment import careless, in_message, mistyped
from errata.gates.data.claims import Claim, claim_groups
from errata.gates.data.examples import Example
from errata.gates.data.opinions import Aspect, Noun, Trait, aspect_groups, trait_groups
from errata.gates.data.questions import Label
from errata.gates.data.topics import Part, Topic, part_groups, thing_groups, topic_groups
from errata.gates.data.yaml_tables import load_table
from errata.gates.features import Scope

T = TypeVar("T")


def _table(key: str) -> Any:
    return load_table("conditions")[key]


def condition_examples(split: Split, rng: random.Random) -> Iterator[Example]:
    """Yield pairs of a text and a topical or descriptive condition in plain words.

    Kinds begin with ``topic`` or ``claim``. Conditions of another split share neither topics,
    claims, aspects nor opinion words with this one; some sentence templates are held out, too.

    :param split: of the conditions.
    :param rng: of everything drawn.
    """
    topics = _groups_of(topic_groups(), split)
    claims = _groups_of(claim_groups(), split)
    reviews = _Reviews(
        split,
        [aspect for group in _groups_of(aspect_groups(), split) for aspect in group],
        [trait for group in _groups_of(trait_groups(), split) for trait in group],
    )
    for group in topics:
        for topic in group:
            yield from _topic_examples(topic, group, topics, split, rng)
    parts = [part for group in _groups_of(part_groups(), split) for part in group]
    things = [thing for group in _groups_of(thing_groups(), split) for thing in group]
    for thing in (*things, *(f"the {invented(split, rng)}" for _ in things)):
        yield from _thing_examples(thing, [*things, f"the {invented(split, rng)}"], parts, rng)
    for claim_group in claims:
        for claim in claim_group:
            yield from _claim_examples(claim, claim_group, claims, rng)
    yield from reviews.examples(rng)
    if split == "train":
        yield from _wordnet_examples(rng)


def _wordnet_examples(rng: random.Random) -> Iterator[Example]:
    """Yield pairs about a random draw of WordNet's things, opposites and topics."""
    aspects = [one for sort in wordnet.SORTS.values() for one in rng.sample(
        [aspect for aspect in wordnet.aspects() if aspect.sort == sort], 2)]  # fmt: skip
    traits = rng.sample(wordnet.traits(), 48)
    yield from _Reviews("train", aspects, traits).examples(rng)
    groups = rng.sample(wordnet.topics(), 40)
    for group in groups:
        for topic in group:
            yield from _topic_examples(topic, group, groups, "train", rng)


def invented(split: Split, rng: random.Random) -> str:
    """Return an invented word; each split has other ones."""
    beginning: str = rng.choice(_table("beginnings")[split])
    end: str = rng.choice(_table("ends"))
    return beginning + end


def training_texts() -> Iterator[str]:
    """Yield the texts that conditions of the train split are made of."""
    for group in _groups_of(topic_groups(), "train"):
        for topic in group:
            yield from (*topic.names, *topic.nouns, *topic.sentences)
    for claims in _groups_of(claim_groups(), "train"):
        for claim in claims:
            yield from (*claim.names, *claim.sentences)
    for aspects in _groups_of(aspect_groups(), "train"):
        yield from (noun.text for aspect in aspects for noun in (aspect.name, *aspect.nouns))
    for traits in _groups_of(trait_groups(), "train"):
        yield from (word.replace("{n}", "") for t in traits for p in (0, 1) for word in _all(t, p))


def _groups_of(groups: Sequence[T], split: Split) -> list[T]:
    """Return the groups of a split: of five, three train, one tunes, one tests."""
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
            yield _pair(_with_noise(text, rng), name, "paraphrase", "topic")
        for other in group:
            if other is not topic:
                texts = _topic_texts(other, split, rng)
                for text in rng.sample(texts, 3):
                    yield _pair(_with_noise(text, rng), name, "none", "topic, related")
        for other in rng.sample(far, min(4, len(far))):
            text = rng.choice(_topic_texts(other, split, rng))
            yield _pair(_with_noise(text, rng), name, "none", "topic, unrelated")


def _topic_texts(topic: Topic, split: Split, rng: random.Random) -> list[str]:
    return [
        *topic.sentences,
        *(rng.choice(_table("about")[split]).format(n=noun) for noun in topic.nouns),
    ]


def _thing_examples(
    thing: str, things: Sequence[str], parts: Sequence[Part], rng: random.Random
) -> Iterator[Example]:
    """Yield pairs of conditions on a thing, and on one part of it ("the price of the kettle")."""
    other = rng.choice([name for name in things if name != thing])
    for part in rng.sample(parts, min(3, len(parts))):
        yield _pair(_part_question(part, thing, rng), thing, "paraphrase", "topic, thing")
        yield _pair(_part_question(part, other, rng), thing, "none", "topic, other thing")
        whole = f"the {part.name} of {thing}"
        for text in part.sentences:
            yield _pair(_capitalize(text.format(x=thing)), whole, "paraphrase", "topic, part")
        yield _pair(_part_question(part, other, rng), whole, "none", "topic, other thing")
        elses = [one for one in parts if one is not part]
        yield _pair(
            _part_question(rng.choice(elses), thing, rng), whole, "none", "topic, other part"
        )


def _part_question(part: Part, thing: str, rng: random.Random) -> str:
    return _with_noise(_capitalize(rng.choice(part.sentences).format(x=thing)), rng)


def _claim_examples(
    claim: Claim,
    group: Sequence[Claim],
    claims: Sequence[Sequence[Claim]],
    rng: random.Random,
) -> Iterator[Example]:
    far = [other for some in claims for other in some if other not in group]
    for name in claim.names:
        for text in claim.sentences:
            yield _pair(_with_noise(text, rng), name, "paraphrase", "claim")
        for other in group:
            if other is not claim:
                for text in rng.sample(other.sentences, 2):
                    yield _pair(_with_noise(text, rng), name, "none", "claim, related")
        for other in rng.sample(far, min(4, len(far))):
            yield _pair(
                _with_noise(rng.choice(other.sentences), rng), name, "none", "claim, unrelated"
            )


class _Reviews:
    """Conditions that a review gives an aspect a trait ("the food is bland").

    :param split: of the sentence templates.
    :param aspects: that are reviewed.
    :param traits: that they are given.
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
        condition = _fill(rng.choice(_table("condition")), aspect.name, word)
        unrelated = self._unrelated(aspect, trait, rng)
        adjectives, sentences = trait.poles[pole]
        for words in (adjectives, adjectives, sentences or adjectives):
            text = self._statement(aspect, rng.choice(words), rng)
            yield _pair(_with_noise(text, rng), condition, "paraphrase", "claim")
            yield _pair(_join(text, unrelated, rng), condition, "paraphrase", "claim, among others")
        other = self._statement(aspect, rng.choice(_all(trait, 1 - pole)), rng)
        yield _pair(_with_noise(other, rng), condition, "none", "claim, opposite")
        yield _pair(_join(other, unrelated, rng), condition, "none", "claim, opposite")
        yield _pair(unrelated, condition, "none", "claim, other aspect")
        of_another = self._of_another_aspect(aspect, trait, pole, rng)
        if of_another:
            yield _pair(_with_noise(of_another, rng), condition, "none", "claim, other aspect")
            yield _pair(_join(of_another, other, rng), condition, "none", "claim, other aspect")
        another = self._other_trait(aspect, trait, pole, rng)
        if another is not None:
            yield _pair(_with_noise(another[0], rng), condition, another[1], "claim, other trait")
        noun = rng.choice((aspect.name, *aspect.nouns))
        denied = _fill(rng.choice(_table("denied")), noun, word)
        yield _pair(_with_noise(denied, rng), condition, "none", "claim, denied")
        question = _fill(rng.choice(_table("not_stated")), noun, word)
        yield _pair(_with_noise(question, rng), condition, "none", "claim, not stated")
        negated = _fill(rng.choice(_table("condition_negated")), aspect.name, word)
        yield _pair(_with_noise(denied, rng), negated, "paraphrase", "claim, negated condition")
        yield _pair(_with_noise(other, rng), negated, "paraphrase", "claim, negated condition")
        text = self._statement(aspect, rng.choice(trait.poles[pole][0]), rng)
        yield _pair(_with_noise(text, rng), negated, "none", "claim, negated condition")

    def _invented(self, aspect: Aspect, rng: random.Random) -> Iterator[Example]:
        """Yield pairs whose opinion word or aspect is invented."""
        word, other_word = (invented(self._split, rng) for _ in range(2))
        condition = _fill(rng.choice(_table("condition")[:2]), aspect.name, word)
        noun = rng.choice((aspect.name, *aspect.nouns))
        other = rng.choice([one for one in self._aspects if one.sort != aspect.sort])
        frames = _table("stated")[self._split]
        kind = "claim, invented word"
        yield _pair(
            _with_noise(_fill(rng.choice(frames), noun, word), rng), condition, "paraphrase", kind
        )
        unrelated = _fill(rng.choice(frames), other.name, other_word)
        text = _fill(rng.choice(frames), aspect.name, word)
        yield _pair(_join(text, unrelated, rng), condition, "paraphrase", kind)
        if other_word != word:
            text = _fill(rng.choice(frames), noun, other_word)
            yield _pair(_with_noise(text, rng), condition, "none", kind)
        yield _pair(_fill(rng.choice(frames), other.name, word), condition, "none", kind)
        yield _pair(_fill(rng.choice(_table("denied")), noun, word), condition, "none", kind)
        negated = _fill(_table("condition_negated")[0], aspect.name, word)
        yield _pair(_fill(rng.choice(_table("denied")), noun, word), negated, "paraphrase", kind)
        yield _pair(_fill(rng.choice(frames), noun, word), negated, "none", kind)
        thing, trait = Noun(invented(self._split, rng), False), rng.choice(self._traits)
        pole = rng.randrange(2)
        words = trait.poles[pole][0]
        condition = _fill(_table("condition")[0], thing, rng.choice(words))
        text = _fill(rng.choice(frames), thing, rng.choice(words))
        yield _pair(_with_noise(text, rng), condition, "paraphrase", kind)
        text = _fill(rng.choice(frames), thing, rng.choice(trait.poles[1 - pole][0]))
        yield _pair(_with_noise(text, rng), condition, "none", kind)
        text = _fill(rng.choice(frames), noun, rng.choice(words))
        yield _pair(_with_noise(text, rng), condition, "none", kind)

    def _statement(self, aspect: Aspect, word: str, rng: random.Random) -> str:
        noun = rng.choice((aspect.name, aspect.name, *aspect.nouns))
        return _fill(
            word if "{n}" in word else rng.choice(_table("stated")[self._split]), noun, word
        )

    def _unrelated(self, aspect: Aspect, trait: Trait, rng: random.Random) -> str:
        """Return a statement that gives an aspect of another sort another trait."""
        while True:
            other = rng.choice(self._aspects)
            traits = [one for one in self._traits_of(other) if one is not trait]
            if other.sort != aspect.sort and traits:
                return self._statement(
                    other, rng.choice(_all(rng.choice(traits), rng.choice((0, 1)))), rng
                )

    def _of_another_aspect(
        self, aspect: Aspect, trait: Trait, pole: int, rng: random.Random
    ) -> str:
        """Return a statement that gives an aspect of another sort the same trait, or nothing."""
        others = [
            one for one in self._aspects if one.sort in trait.sorts and one.sort != aspect.sort
        ]
        if not others:
            return ""
        return self._statement(rng.choice(others), rng.choice(_all(trait, pole)), rng)

    def _other_trait(
        self, aspect: Aspect, trait: Trait, pole: int, rng: random.Random
    ) -> tuple[str, Label] | None:
        """Return a statement that gives the aspect another trait, which may imply good or bad."""
        others = [
            one
            for one in self._traits_of(aspect)
            if one is not trait and (one.evaluative if trait.general else not one.general)
        ]
        if not others:
            return None
        other, other_pole = rng.choice(others), rng.choice((0, 1))
        label: Label = "paraphrase" if trait.general and other_pole == pole else "none"
        return self._statement(aspect, rng.choice(_all(other, other_pole)), rng), label


def _all(trait: Trait, pole: int) -> tuple[str, ...]:
    words, sentences = trait.poles[pole]
    return (*words, *sentences)


def _fill(template: str, noun: Noun, word: str) -> str:
    forms = {"is": "are", "was": "were", "Is": "Are"} if noun.plural else {}
    verbs = {verb: forms.get(verb, verb) for verb in ("is", "was", "Is")}
    filled = template.format(n=noun.text, w=word, **verbs)
    return (
        filled
        if template in (*_table("condition"), *_table("condition_negated"))
        else _capitalize(filled)
    )


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _join(one: str, other: str, rng: random.Random) -> str:
    first, second = rng.sample((one.rstrip(".!"), other.rstrip(".!")), 2)
    if rng.random() < 0.5:
        return f"{first}. {second}."
    return f"{first}, but {second[:1].lower()}{second[1:]}."


def _with_noise(text: str, rng: random.Random) -> str:
    """Return the text with random noise: lower case, a typo, another sentence, or none."""
    draw = rng.random()
    if draw < 0.15:
        return careless(text)
    if draw < 0.25:
        return mistyped(text, rng)
    if draw < 0.4:
        other = rng.choice(_table("unrelated"))
        end = "" if text.endswith((".", "!", "?")) else "."
        return f"{other} {text}{end}" if rng.random() < 0.5 else f"{text}{end} {other}"
    if draw < 0.5:
        return in_message(text, rng)
    return text


def _pair(query: str, condition: str, label: Label, kind: str) -> Example:
    return Example(query, Scope(condition), label, kind)
