"""The data of a comparison: cases, open questions, background edits, held-out text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from errata.cache.patches.files import load_file, load_folder
from errata.cache.records import Edit
from errata.compare.inputs.cases import Case
from errata.compare.inputs.files import load_cases
from errata.gates.data.jsonl import json_object, text_at, text_lines

PARAGRAPHS = 64
"""Paragraphs of held-out text that are read."""


@dataclass(frozen=True, slots=True)
class ComparisonData:
    """The data of a comparison.

    :param cases: of each seed, in the order in which they are edited.
    :param open_questions: of each seed; no edit is about them.
    :param texts: held-out text for perplexity.
    """

    cases: dict[int, tuple[Case, ...]]
    open_questions: dict[int, tuple[str, ...]]
    texts: tuple[str, ...] = ()

    @property
    def decisions_only(self) -> bool:
        """Whether only decisions are measured, and no answers generated."""
        return any(case.decisions_only for cases in self.cases.values() for case in cases)


def load_data(
    path: Path,
    seeds: Sequence[int],
    *,
    file_format: str | None = None,
    n: int | None = None,
    split: str | None = None,
    open_questions: Path | None = None,
    n_open_questions: int | None = None,
    text: Path | None = None,
) -> ComparisonData:
    """Return cases, open questions and held-out text.

    :param path: the file of cases.
    :param seeds: one draw of cases each.
    :param file_format: of the cases; None detects it.
    :param n: cases drawn for each seed; None takes all.
    :param split: only cases of this split, ``test`` or ``tune``; None takes all.
    :param open_questions: file of open questions.
    :param n_open_questions: how many of them, over all seeds; None takes all.
    :param text: held-out text for perplexity.
    :raises ErrataError: a file is missing or malformed; names file and line or index.
    """
    cases = {seed: tuple(load_cases(path, file_format, n, seed, split)) for seed in seeds}
    questions = [] if open_questions is None else read_questions(open_questions)
    dealt = deal_open_questions(_held_out(questions, cases), seeds, n_open_questions)
    texts = () if text is None else tuple(islice(_paragraphs(text), PARAGRAPHS))
    return ComparisonData(cases, dealt, texts)


def read_questions(path: Path) -> list[str]:
    """Return questions: JSON lines with ``question``, or one a line; ``.gz`` of either is read.

    :raises ModelError: the file cannot be read, or a line is neither; names file and line.
    """
    return [
        text_at(where, json_object(where, line), "question")
        if line.lstrip().startswith("{")
        else line.strip()
        for where, line in text_lines(path)
    ]


def read_background(path: Path | None) -> tuple[Edit, ...]:
    """Return the edits of a patch file or folder; none without a path.

    :raises errata.cache.errors.PatchError: a patch is wrong.
    """
    if path is None:
        return ()
    return load_folder(path) if path.is_dir() else load_file(path)


def held_out_text_path(data: Path) -> Path:
    """Return where held-out text is expected for a file of cases: ``bench.held-out.txt``."""
    return data.parent / f"{data.stem}.held-out.txt"


def deal_open_questions(
    questions: Sequence[str], seeds: Sequence[int], n: int | None
) -> dict[int, tuple[str, ...]]:
    """Return each seed's share of the open questions; the shares are disjoint.

    :param questions: all of them.
    :param seeds: of the comparison.
    :param n: how many are used in all; None uses all.
    """
    drawn = list(dict.fromkeys(questions))
    random.Random("open questions").shuffle(drawn)
    drawn = drawn[:n]
    return {seed: tuple(drawn[i :: len(seeds)]) for i, seed in enumerate(seeds)}


def splits_of(data: ComparisonData) -> dict[str, str]:
    """Return the splits of the cases and of the open questions, where there are any."""
    split = ", ".join(sorted(filter(None, _splits(data.cases))))
    open_split = {"open questions": f"{_open_split(data.cases)} split"}
    return {
        **({"split": split} if split else {}),
        **(open_split if any(data.open_questions.values()) else {}),
    }


def _splits(cases: Mapping[int, Sequence[Case]]) -> set[str]:
    return {case.split for each in cases.values() for case in each}


def _open_split(cases: Mapping[int, Sequence[Case]]) -> str:
    return "tune" if "tune" in _splits(cases) else "test"


def _held_out(questions: Sequence[str], cases: Mapping[int, Sequence[Case]]) -> list[str]:
    """Return the questions of the test split, or of the tune split for tune cases.

    Gates are trained on the others of the same file; the split is by the same hash.
    """
    from errata.gates.data.pairs import open_split

    wanted = _open_split(cases)
    return [question for question in questions if open_split(question) == wanted]


def _paragraphs(path: Path) -> Iterator[str]:
    from errata.editors.shared.corpus import text_files

    return text_files([path])
