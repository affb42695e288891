"""The measures: each takes its values from a case's record alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errata.compare.inputs.cases import DIFFERENT_QUESTION, PROPERTY_OF, SAME_QUESTION
from errata.compare.report.subject_mentions import NAMING, UNRELATED
from errata.compare.run.records import Record
from errata.compare.run.scores import harmonic, magnitude, success, token_accuracy
from errata.generation.judge import is_named

Unit = str
SHARE, SECONDS, BYTES, MS, CPU, NATS, BITS, RATIO, SIGNED, LOAD = (
    "share", "s", "bytes", "ms", "CPU ms", "nats", "bits", "ratio", "signed", "load",
)  # fmt: skip

HARD = ("other subject", "other relation")
"""Kinds of locality that an edit breaks most easily."""
PORTABILITY = tuple(kind for kind, name in PROPERTY_OF.items() if name == "portability")
DECIDED = (SAME_QUESTION, DIFFERENT_QUESTION)
"""Kinds of which only the decision is recorded."""
DIRECT = ("own", "phrasing")
"""Kinds that ask for the edited object itself."""
EDITED = (*DIRECT, *PORTABILITY)


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    :param name: in tables and JSON.
    :param group: its table.
    :param values: returns a record's values.
    :param unit: of the values.
    :param higher: whether more is better; None where neither is.
    :param about: a description of a few words.
    """

    name: str
    group: str
    values: Callable[[Record], list[float]]
    unit: Unit = SHARE
    higher: bool | None = True
    about: str = ""


def _right(*kinds: str) -> Callable[[Record], list[float]]:
    return lambda record: [float(p["right"]) for p in record["probes"] if p["kind"] in kinds]


def _named(*kinds: str) -> Callable[[Record], list[float]]:
    """Return whether answers are right or name a right one, and not the object before the edit."""
    return lambda record: [
        float(p["right"] or ("false_prompt" not in p and is_named(
            p["answer"], p["expected"], record.get("old", "") if p["kind"] in DIRECT else ""
        )))
        for p in record["probes"]
        if p["kind"] in kinds
    ]  # fmt: skip


def _forced(*kinds: str) -> Callable[[Record], list[float]]:
    return lambda record: [
        token_accuracy(p["forced"])
        for p in record["probes"]
        if p["kind"] in kinds and "forced" in p
    ]


def _equal(*kinds: str) -> Callable[[Record], list[float]]:
    return lambda record: [float(p["equal"]) for p in _local(record, *kinds) if "equal" in p]


def _missed(*kinds: str) -> Callable[[Record], list[float]]:
    return lambda record: [
        float(p["equal"]) for p in _gated(record, *kinds) if "equal" in p and not p.get("fired")
    ]


def _false(*kinds: str) -> Callable[[Record], list[float]]:
    return lambda record: [float(bool(p.get("fired"))) for p in _gated(record, *kinds)]


def _gated(record: Record, *kinds: str) -> Iterator[Record]:
    """Yield locality probes of a backend that has a gate."""
    return _local(record, *kinds) if record["pipeline"] else iter(())


def _fired(kind: str) -> Callable[[Record], list[float]]:
    return lambda record: [float(bool(p.get("fired"))) for p in _decided(record, kind)]


def _right_if_fired(kind: str) -> Callable[[Record], list[float]]:
    return lambda record: [float(p["right"]) for p in _decided(record, kind) if p.get("fired")]


def _decided(record: Record, kind: str) -> Iterator[Record]:
    return (p for p in record["probes"] if record["pipeline"] and p["kind"] == kind)


def _local(record: Record, *kinds: str) -> Iterator[Record]:
    return (p for p in record["locality"] if not kinds or p["kind"] in kinds)


def _kl(record: Record) -> list[float]:
    return [p["kl"] for p in record["locality"] if p.get("kl") is not None]


def _along(record: Record) -> list[float]:
    return [token_accuracy(p["along"]) for p in record["locality"] if "along" in p]


def _after(record: Record) -> list[float]:
    return [float(value) for value in record["perplexity"][1:]]


def _perplexity(record: Record) -> list[float]:
    return [record["perplexity"][1] / record["perplexity"][0]] if record["perplexity"] else []


def _preferred(kind: str) -> Callable[[Record], list[float]]:
    """Return a score's values: the mean within a case, so that cases weigh the same."""
    return lambda record: _mean(
        [float(success(kind, p["new"], p["old"])) for p in record["preferences"]
         if p["kind"] == kind]
    )  # fmt: skip


def _magnitude(kind: str) -> Callable[[Record], list[float]]:
    return lambda record: _mean(
        [magnitude(kind, p["new"], p["old"]) for p in record["preferences"] if p["kind"] == kind]
    )


def _exact(kind: str) -> Callable[[Record], list[float]]:
    return lambda record: _mean(
        [float(p["exact"]) for p in record["preferences"] if p["kind"] == kind]
    )


def _specificity(record: Record) -> list[float]:
    """Return the values of the data's own questions, those that name an edited subject, too."""
    found = _local(record, UNRELATED, NAMING)
    return [token_accuracy(p["forced"]) for p in found if "forced" in p]


def _mean(values: list[float]) -> list[float]:
    return [sum(values) / len(values)] if values else []


def _field(name: str) -> Callable[[Record], list[float]]:
    return lambda record: [] if record.get(name) is None else [float(record[name])]


def _added(name: str) -> Callable[[Record], list[float]]:
    def values(record: Record) -> list[float]:
        before, after = record.get("extras", {}).get(name, (math.nan, math.nan))
        return [] if math.isnan(before) else [after - before]

    return values


def _entropy(record: Record) -> list[float]:
    found = record.get("extras", {}).get("entropy")
    return [] if found is None else [found[1]]


MEASURES: tuple[Measure, ...] = (
    Measure("accuracy", "properties", _right("own"), about="the edited question"),
    Measure("generality", "properties", _right("phrasing"), about="in words no part has seen"),
    Measure("portability", "properties", _right(*PORTABILITY), about="what follows from the edit"),
    Measure("locality, neighbours", "properties", _equal(*HARD), about="token-equal"),
    Measure("locality, unrelated", "properties", _equal(UNRELATED), about="token-equal"),
    Measure("accuracy, named", "named", _named("own")),
    Measure("generality, named", "named", _named("phrasing")),
    Measure("portability, named", "named", _named(*PORTABILITY)),
    *(Measure(kind, "portability", _right(kind)) for kind in PORTABILITY),
    *(Measure(f"{kind}, token-equal", "locality", _equal(kind)) for kind in (*HARD, UNRELATED)),
    Measure("argmax along the old answer", "locality", _along, about="forced"),
    Measure("KL(before ‖ after)", "locality", _kl, NATS, False, "along the old answer"),
    Measure("perplexity", "locality", _after, RATIO, False, "held-out text"),
    Measure("perplexity, after / before", "locality", _perplexity, RATIO, False),
    Measure(f"{SAME_QUESTION}, fired", "gate", _right(SAME_QUESTION), about="by its own patch"),
    *(Measure(f"{kind}, false hits", "gate", _false(kind), higher=False)
      for kind in (*HARD, DIFFERENT_QUESTION, UNRELATED)),
    Measure(f"{NAMING}, fired", "gate", _false(NAMING), higher=None),
    Measure("misses token-equal", "gate", _missed(), about="where no edit fired"),
    *(Measure(f"{kind}, fired", "fired", _fired(kind), higher=None) for kind in EDITED),
    *(Measure(f"{kind}, right if fired", "right", _right_if_fired(kind)) for kind in EDITED),
    Measure("own, forced", "forced", _forced("own"), about="tokens right behind the gold ones"),
    Measure("phrasing, forced", "forced", _forced("phrasing")),
    Measure("portability, forced", "forced", _forced(*PORTABILITY)),
    Measure("ES", "CounterFact", _preferred("rewrite"), about="new object likelier"),
    Measure("PS", "CounterFact", _preferred("paraphrase"), about="the same, paraphrased"),
    Measure("NS", "CounterFact", _preferred("neighbour"), about="old object likelier elsewhere"),
    Measure("EM", "CounterFact", _magnitude("rewrite"), SIGNED, about="difference of probability"),
    Measure("PM", "CounterFact", _magnitude("paraphrase"), SIGNED),
    Measure("NM", "CounterFact", _magnitude("neighbour"), SIGNED),
    Measure("new object exact", "CounterFact", _exact("rewrite"), about="argmax at every token"),
    Measure("fluency", "CounterFact", _entropy, BITS, None, "n-gram entropy, GE"),
    Measure("zsRE efficacy", "zsRE", _forced("own"), about="gold tokens said, each forced"),
    Measure("zsRE paraphrase", "zsRE", _forced("phrasing")),
    Measure("zsRE specificity", "zsRE", _specificity, about="gold tokens of another question"),
    Measure("seconds an edit", "efficiency", _field("seconds"), SECONDS, False),
    Measure("CPU seconds an edit", "efficiency", _field("cpu_seconds"), SECONDS, False,
            "other work does not lengthen it"),
    Measure("machine load", "efficiency", _field("load"), LOAD, None, "processes, last minute"),
    Measure("bytes kept an edit", "efficiency", _field("bytes"), BYTES, False),
    Measure("peak memory", "efficiency", _field("memory"), BYTES, False, "while editing"),
    Measure("added on a hit", "efficiency", _added("hit"), MS, False, "one question alone"),
    Measure("added on a miss", "efficiency", _added("miss"), MS, False, "one question alone"),
    Measure("a decision", "efficiency", _field("cpu_ms"), CPU, False, "CPU time, alone"),
)  # fmt: skip

PROPERTIES = tuple(m.name for m in MEASURES if m.group == "properties")
TESTED = PROPERTIES
ABLATED = (
    *PROPERTIES[:3], "alias", "one hop", "two hops", f"{SAME_QUESTION}, fired",
    *(f"{kind}, false hits" for kind in (*HARD, DIFFERENT_QUESTION, UNRELATED)), "a decision",
)  # fmt: skip
"""What an ablation of resolvers shows."""
MEDIANS = (
    "seconds an edit", "CPU seconds an edit", "machine load", "peak memory", "added on a hit",
    "added on a miss", "a decision",
)  # fmt: skip
"""Measures shown by their median: one slow first case would tell nothing of the others."""


def counterfact_score(es: float, ps: float, ns: float) -> float:
    """Return S, the harmonic mean of the means of ES, PS and NS."""
    return harmonic((es, ps, ns))
