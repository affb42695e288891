"""Sizes and rates of the evaluation on other people's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutsideConfig:
    """What is drawn of the data, and the rates that rows state.

    :param intents: intents drawn of a source for each seed; 26 is half of the smallest source.
    :param seeds: draws of intents; their spread is part of the intervals.
    :param fitted: sources that the combination of score and examples was fitted on: of these, only
        intents of tenths 5 to 9 by hash are measured, as only those paragraphs are.
    :param examples: examples of a patch that teaches: its question, and the others as ``fires``.
    :param per_intent: queries of each intent and seed: 26 intents and ten seeds give 520.
    :param condition_seeds: draws of intents as conditions, fewer because a query is scored against
        every condition.
    :param per_condition: queries of each condition and seed: 26 conditions and five seeds give 390.
    :param cluster_seeds: draws of clusters; a file has fewer clusters than intents.
    :param listed_seeds: draws of intents whose listed examples are typed as they are; at three
        every source gives more than 100 of each list.
    :param trained: messages of each source out of scope of all that train the logistic
        regression, about as many as there are examples of patches.
    :param out_of_scope: messages out of scope of all for each seed that are measured, and as many
        others that choose the threshold of a stated rate; ten seeds give 300 of each.
    :param rows: cases of a row that has no intents: 300 give an interval of at most 6 points
        either way.
    :param pairs: question pairs of the test split; half as many of the tune split.
    :param overlap: share of shared words (Dice) from which a pair is a near miss: at 0.8 a pair of
        six words differs in one.
    :param many: edits in the cache whose candidates are counted.
    :param candidates: edits that a search returns for a query, as the default pipeline asks for.
    :param rate: share of out-of-scope hits at which rows state what is found.
    :param recall: share of *same* pairs found at which rows state false hits.
    :param templates: facts of the table that the row of template facts is about.
    :param timed: queries timed one at a time; the first fifth warms up.
    :param timed_sizes: facts in the cache while queries are timed.
    :param labelled: labelled pairs of each source in Chinese; ``labelled_tune`` as many others for
        the threshold of accuracy.
    :param languages: of the messages about patches in English.
    :param multilingual_cosine: the cosine from which the bare multilingual encoder fires, for
        comparison: between rewordings of twenty facts in Chinese (0.978 in the median) and
        questions about another relation of their subject (0.927).
    :param seed: of everything drawn.
    """

    intents: int = 26
    seeds: int = 10
    fitted: tuple[str, ...] = ("clinc150",)
    examples: int = 3
    per_intent: int = 2
    condition_seeds: int = 5
    per_condition: int = 3
    cluster_seeds: int = 3
    listed_seeds: int = 3
    trained: int = 100
    out_of_scope: int = 30
    rows: int = 300
    pairs: int = 2000
    overlap: float = 0.8
    many: int = 10_000
    candidates: int = 16
    rate: float = 0.01
    recall: float = 0.95
    templates: int = 100
    timed: int = 60
    timed_sizes: tuple[int, ...] = (1_000, 5_000)
    labelled: int = 1000
    labelled_tune: int = 300
    languages: tuple[str, ...] = ("de", "fr", "es")
    multilingual_cosine: float = 0.945
    seed: int = 0
