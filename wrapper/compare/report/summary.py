"""Summary of a run, from its records alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from errata.cache.errors import ErrataError
from errata.compare.report.measures import (
    ABLATED,
    MEASURES,
    MEDIANS,
    SHARE,
    TESTED,
    Measure,
    counterfact_score,
)
from errata.compare.report.subject_mentions import separate_subject_mentions
from errata.compare.run.backend_names import ALL_RESOLVERS, WITHOUT, is_control
from errata.compare.run.records import Record, Run
from errata.intervals import Estimate, Paired, difference, estimate, holm, paired

PARTS = 5
"""Parts that a sequence of edits is cut into to show what became of the first ones."""


@dataclass(frozen=True, slots=True)
class Result:
    """One backend in one block.

    :param backend: its name.
    :param pipeline: whether it answers from stored edits and leaves the weights unchanged.
    :param cases: evaluated.
    :param unsupported: cases skipped since it does not support their edits.
    :param untested: of each kind, probes whose conditions the base does not meet.
    :param estimates: by measure; measures without values are absent.
    :param score: CounterFact's S, None without preferences.
    """

    backend: str
    pipeline: bool
    cases: int
    unsupported: int
    untested: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    score: float | None

    def mean(self, measure: str) -> float | None:
        """Return a measure's mean, None where there is no value."""
        found = self.estimates.get(measure)
        return None if found is None else found.mean


@dataclass(frozen=True, slots=True)
class Test:
    """The first backend against another, on one measure; controls are excluded.

    :param measure: what is compared.
    :param first: the first backend, controls excluded.
    :param second: the other.
    :param paired: difference, p and n.
    :param corrected: p after Holm's correction for all tests of the block.
    """

    measure: str
    first: str
    second: str
    paired: Paired
    corrected: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """What the cache loses or gains without some of its resolvers, on one measure.

    :param measure: what is compared.
    :param backend: the cache without them.
    :param difference: its mean less the whole cache's, over the cases of both, with the paired 95%
        interval.
    """

    measure: str
    backend: str
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Block:
    """Everything measured in one mode with one number of edits.

    :param mode: single, batch or sequential.
    :param size: edits in force together.
    :param results: by backend, in the order given.
    :param tests: of the first backend against each other one, controls excluded.
    :param ablations: of the cache without a resolver against the cache.
    """

    mode: str
    size: int
    results: Mapping[str, Result]
    tests: tuple[Test, ...]
    ablations: tuple[Ablation, ...] = ()

    @property
    def title(self) -> str:
        """Mode and number of edits in words."""
        if self.mode == "single":
            return "each edit alone"
        edits = "1 edit" if self.size == 1 else f"{self.size} edits"
        return f"{edits} {'in one batch' if self.mode == 'batch' else 'one after another'}"


@dataclass(frozen=True, slots=True)
class Retention:
    """Accuracy of one part of a sequence's edits after the last edit.

    :param backend: its name.
    :param size: edits in the sequence.
    :param first: number of the part's first edit, from 1.
    :param last: number of its last.
    :param estimate: accuracy after the whole sequence.
    """

    backend: str
    size: int
    first: int
    last: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, summarised.

    :param about: what ``run.json`` says.
    :param blocks: the one with most edits first.
    :param retention: of the longest sequence.
    :param rollbacks: by backend, whether the model was restored bit for bit; None where its run
        did not end.
    :param disagreements: probes that some backends answer rightly and others wrongly.
    :param trained: by backend, training seconds of each part; backends without such a record are
        absent.
    :param records: of the first block, by backend.
    :param touched: by backend, whether any bit of the weights changed with its edits.
    """

    about: Mapping[str, Any]
    blocks: tuple[Block, ...]
    retention: tuple[Retention, ...]
    rollbacks: Mapping[str, bool | None]
    disagreements: tuple[Record, ...]
    trained: Mapping[str, Mapping[str, float]]
    records: Mapping[str, Sequence[Record]] = field(repr=False)
    touched: Mapping[str, bool] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The cases' split; empty where the data do not say."""
        return str(self.about["protocol"].get("parts", {}).get("split", ""))

    @property
    def void(self) -> tuple[str, ...]:
        """The backends that did not restore the model; any of them voids the run."""
        return tuple(name for name, exact in self.rollbacks.items() if exact is False)

    def to_json(self) -> dict[str, Any]:
        """Return everything except the records as JSON values."""
        values = asdict(replace(self, records={}))
        del values["records"]
        return {**values, "void": list(self.void)}


def summarise(run: Run, disagreements: int = 200) -> Summary:
    """Return the summary of a run.

    :param run: its folder; neither model nor data are needed.
    :param disagreements: most to list.
    :raises ErrataError: there is no run, or it has no records.
    """
    records: dict[tuple[str, int], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    names = [*run.about()["backends"]]
    rollbacks: dict[str, bool | None] = dict.fromkeys(names)
    touched: dict[str, bool] = {}
    trained: dict[str, dict[str, float]] = {}
    for record in run.records():
        name = record["backend"]
        if record["type"] == "rollback":
            rollbacks[name] = record["exact"] and rollbacks[name] is not False
            if "touched" in record:  # not in runs of errata 0.2
                touched[name] = record["touched"] or touched.get(name, False)
        elif record["type"] == "training":
            trained[name] = {**trained.get(name, {}), **record["seconds"]}
        else:
            records[record["mode"], record["size"]][name].append(record)
    if not records:
        raise ErrataError(
            f"expected records in {run.folder}, found none yet; run `errata compare --out "
            f"{run.folder}` first"
        )
    for by_backend in records.values():
        for name, found in by_backend.items():
            by_backend[name] = list(separate_subject_mentions(found))
    # Most edits first; of equal numbers, one batch before a sequence.
    order = ("batch", "sequential", "single")
    keys = sorted(records, key=lambda key: (-key[1], order.index(key[0])))
    blocks = tuple(_block(mode, size, names, records[mode, size]) for mode, size in keys)
    main = records[keys[0]]
    return Summary(
        run.about(), blocks, _retention(records), rollbacks,
        tuple(_disagreements(main, names))[:disagreements], trained, main, touched,
    )  # fmt: skip


def _block(
    mode: str, size: int, names: Sequence[str], records: Mapping[str, Sequence[Record]]
) -> Block:
    found = {name: records[name] for name in names if name in records}
    results = {name: _result(name, each) for name, each in found.items()}
    return Block(mode, size, results, _tests(found), tuple(_ablations(found)))


def _result(name: str, records: Sequence[Record]) -> Result:
    supported = _supported(records)
    untested: dict[str, int] = defaultdict(int)
    for record in supported:
        for kind, count in record["untested"].items():
            untested[kind] += count
    estimates = {}
    for measure in MEASURES:
        one = _estimate(measure, supported)
        if one is not None:
            estimates[measure.name] = one
    scores = [estimates[m].mean for m in ("ES", "PS", "NS") if m in estimates]
    return Result(
        name, any(record["pipeline"] for record in records), len(supported),
        len(records) - len(supported), dict(untested), estimates,
        counterfact_score(*scores) if len(scores) == 3 else None,
    )  # fmt: skip


def _estimate(measure: Measure, records: Sequence[Record]) -> Estimate | None:
    values = by_case(measure, records)
    if measure.name not in MEDIANS:
        return estimate(values, share=measure.unit == SHARE)
    flat = [value for each in values.values() for value in each]
    if not flat:
        return None
    low, middle, high = (float(q) for q in np.quantile(flat, [0.25, 0.5, 0.75]))
    return Estimate(middle, low, high, len(flat), len([v for v in values.values() if v]))


def by_case(measure: Measure, records: Iterable[Record]) -> dict[str, list[float]]:
    """Return a measure's values by case; a case drawn under several seeds is one case."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        found[record["case"]] += measure.values(record)
    return found


def paired_difference(
    measure: Measure, first: Iterable[Record], second: Iterable[Record]
) -> Estimate | None:
    """Return one mean less another over the cases of both, with the paired interval.

    :param measure: what is compared.
    :param first: a backend's records.
    :param second: those of another backend, or of the same in another run.
    """
    kept = [{(r["seed"], r["case"]): r for r in _supported(each)} for each in (first, second)]
    shared = kept[0].keys() & kept[1].keys()
    one, other = ([each[key] for key in each if key in shared] for each in kept)
    return difference(by_case(measure, one), by_case(measure, other), share=measure.unit == SHARE)


def _tests(records: Mapping[str, Sequence[Record]]) -> tuple[Test, ...]:
    chosen = [name for name in records if not is_control(name)]
    if not chosen:
        return ()
    first, *others = chosen
    tests = []
    for measure in (m for m in MEASURES if m.name in TESTED):
        values = by_case(measure, _supported(records[first]))
        for other in others:
            found = paired(values, by_case(measure, _supported(records[other])))
            if found is not None:
                tests.append((measure.name, other, found))
    corrected = holm([found.p for _, _, found in tests])
    return tuple(
        Test(measure, first, other, found, p)
        for (measure, other, found), p in zip(tests, corrected, strict=True)
    )


def _ablations(records: Mapping[str, Sequence[Record]]) -> Iterator[Ablation]:
    if ALL_RESOLVERS not in records:
        return
    for measure in (m for m in MEASURES if m.name in ABLATED):
        for name in (name for name in records if name.startswith(WITHOUT)):
            found = paired_difference(measure, records[name], records[ALL_RESOLVERS])
            if found is not None:
                yield Ablation(measure.name, name, found)


def _supported(records: Iterable[Record]) -> list[Record]:
    """Return the records of cases whose edits the backend supports."""
    return [record for record in records if not record["unsupported"]]


def _retention(
    records: Mapping[tuple[str, int], Mapping[str, Sequence[Record]]],
) -> tuple[Retention, ...]:
    """Return accuracy by position of the edit, after the longest sequence."""
    sizes = [size for mode, size in records if mode == "sequential" and size > 1]
    if not sizes:
        return ()
    size = max(sizes)
    part = -(-size // PARTS)
    accuracy = next(m for m in MEASURES if m.name == "accuracy")
    out = []
    for name, each in records["sequential", size].items():
        for start in range(0, size, part):
            inside = [r for r in _supported(each) if start <= r["position"] < start + part]
            found = estimate(by_case(accuracy, inside))
            if found is not None:
                out.append(Retention(name, size, start + 1, min(size, start + part), found))
    return tuple(out)


def _disagreements(
    records: Mapping[str, Sequence[Record]], names: Sequence[str]
) -> Iterable[Record]:
    """Yield probes that some backends answer rightly and others wrongly; controls are excluded."""
    by_probe: dict[tuple[Any, ...], dict[str, Record]] = defaultdict(dict)
    questions: dict[str, str] = {}
    for name in names:
        if is_control(name):
            continue
        for record in _supported(records.get(name, ())):
            questions |= {edit["id"]: edit["question"] for edit in record["edits"]}
            for probe in record["probes"] + record["locality"]:
                key = (record["seed"], record["case"], probe["kind"], probe["prompt"])
                by_probe[key][name] = {**probe, "edits": record["edits"]}
    rows = []
    for (seed, case, kind, prompt), answers in by_probe.items():
        right = {name: bool(p.get("right", p.get("equal"))) for name, p in answers.items()}
        if len(set(right.values())) < 2:
            continue
        one = next(iter(answers.values()))
        rows.append({
            "seed": seed, "case": case, "kind": kind, "question": prompt, "edits": one["edits"],
            "expected": one.get("expected", [one["before"]]), "before": one["before"],
            "false_question": one.get("false_prompt"), "denials": one.get("denials", []),
            "answers": {
                name: {
                    "answer": p.get("answer", p.get("after", p["before"])), "right": right[name],
                    "denial": p.get("denial"), "fired": p.get("fired", []),
                    "by": [questions.get(f.split(" (")[0], f) for f in p.get("fired", [])],
                    "route": p.get("route", "base"),
                }
                for name, p in answers.items()
            },
        })  # fmt: skip
    return _interleaved(rows)


def _interleaved(rows: Sequence[Record]) -> Iterable[Record]:
    """Yield rows of the kinds in turn, so that a short list has all of them."""
    kinds: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        kinds[row["kind"]].append(row)
    for turn in range(max((len(each) for each in kinds.values()), default=0)):
        yield from (each[turn] for each in kinds.values() if turn < len(each))


def without_controls(block: Block) -> list[Result]:
    """Return the results of a block, controls excluded."""
    return [result for name, result in block.results.items() if not is_control(name)]
