"""Reasoners side by side: ``errata reasoner eval``, and the document made of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from errata.facts import FactSource
from errata.facts.table import Split
from errata.reasoners.base import Reasoner
from errata.reasoners.examine import BATCH, NEW_TOKENS, Examiner, exam, figures
from errata.reasoners.lessons import KINDS, Lesson
from errata.statistics import Rate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.base import GenerativeModel


@dataclass(frozen=True, slots=True)
class Result:
    """What one reasoner did.

    :param figures: the rate of each kind of question.
    :param tokens_per_second: tokens of its answers a second, prompts read included.
    :param own_bytes: memory of the parameters it does not share with the base.
    :param base_untouched: state dict, hooks, module types and flags of the base, before and
        after, were equal.
    """

    figures: Mapping[str, Rate]
    tokens_per_second: float
    own_bytes: int
    base_untouched: bool


def evaluate(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    reasoners: Mapping[str, Reasoner],
    source: FactSource,
    *,
    split: Split = "test",
    each: int = 400,
    seed: int = 0,
) -> dict[str, Result]:
    """Examine reasoners: the right edit given, no gate, greedy free generation.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param reasoners: by name.
    :param source: facts, sentences and aliases.
    :param split: whose subjects and objects are asked about.
    :param each: questions of each kind; fewer where the table has no more.
    :param seed: of the draw.
    """
    examiner = Examiner(base, tokenizer, exam(source, split, each, seed))
    return {
        name: _result(base, tokenizer, reasoner, examiner) for name, reasoner in reasoners.items()
    }


def _result(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    reasoner: Reasoner,
    examiner: Examiner,
) -> Result:
    config = copy.deepcopy(base.generation_config)
    config.do_sample, config.max_new_tokens = False, NEW_TOKENS
    spent, tokens = 0.0, 0

    def answer(lessons: Sequence[Lesson], queries: Sequence[str]) -> list[str]:
        nonlocal spent, tokens
        order = sorted(range(len(queries)), key=lambda i: len(queries[i]))
        out = [""] * len(queries)
        began = time.perf_counter()
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            edits = [lessons[i].edits for i in chunk]
            said = reasoner.answer([queries[i] for i in chunk], edits, config)
            for i, texts in zip(chunk, said, strict=True):
                out[i] = texts[0]
        spent += time.perf_counter() - began
        tokens += sum(len(ids) for ids in tokenizer(out)["input_ids"]) if out else 0
        return out

    before = _described(base)
    found = figures(examiner.outcomes(answer))
    return Result(
        found, tokens / max(spent, 1e-9), _own_bytes(reasoner, base), before == _described(base)
    )


def _own_bytes(reasoner: Reasoner, base: GenerativeModel) -> int:
    model: Any = getattr(reasoner, "model", None)
    shared = {id(p) for p in base.parameters()}
    own = () if model is None else [p for p in model.parameters() if id(p) not in shared]
    return sum(p.numel() * p.element_size() for p in own)


def _described(model: GenerativeModel) -> list[Any]:
    """Return all that must not change about a base model, comparable."""
    import hashlib

    import torch

    state = hashlib.sha256()
    for name, value in model.state_dict().items():
        state.update(name.encode())
        state.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    modules = [
        (type(m).__name__, len(m._forward_hooks), len(m._forward_pre_hooks), m.training)
        for m in model.modules()
    ]
    return [state.hexdigest(), modules, [p.requires_grad for p in model.parameters()]]


def to_json(results: Mapping[str, Result]) -> dict[str, Any]:
    """Return results as JSON values."""
    return {
        name: {
            **asdict(result),
            "figures": {kind: asdict(found) for kind, found in result.figures.items()},
        }
        for name, result in results.items()
    }


def table(results: Mapping[str, Result]) -> str:
    """Return results as a Markdown table: a row a kind, a column a reasoner, n and intervals."""
    lines = ["| kind | n | " + " | ".join(results) + " |", "|---|---|" + "---|" * len(results)]
    for kind in KINDS:
        cells = [result.figures.get(kind) for result in results.values()]
        known = next((c for c in cells if c is not None), None)
        if known is not None:
            shown = [_cell(cell) for cell in cells]
            lines.append(f"| {kind} | {known.n} | {' | '.join(shown)} |")
    speeds = [f"{result.tokens_per_second:,.0f}" for result in results.values()]
    memory = [f"{result.own_bytes / 1e6:.1f} MB" for result in results.values()]
    untouched = ["yes" if result.base_untouched else "NO" for result in results.values()]
    lines.append(f"| answer tokens per second | | {' | '.join(speeds)} |")
    lines.append(f"| parameters of its own | | {' | '.join(memory)} |")
    lines.append(f"| base equal before and after | | {' | '.join(untouched)} |")
    return "\n".join(lines)


def _cell(cell: Rate | None) -> str:
    return (
        "–" if cell is None else f"{cell.share:.1%} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"
    )


_DOCUMENT = """\
# Reasoners, measured

Made by `errata reasoner eval --document docs/reasoners.md{options}`; do not edit by hand.

Base model: {model}. Subjects of the {split} split of the facts table, objects that no training edit
ever used, phrasings held out of training where a relation has some. The right edit is given (no
gate decides), the answer is generated freely and greedily and compared whole (case, spaces and a
full stop at the end aside). Seed {seed}; 95% Wilson intervals in brackets, in per cent.

{table}

What is counted:

- *one hop* and *two edits, one hop* ask one step further than the edit; one hop counts those
  questions whose second step the base model knows by itself.
- *yes or no* counts only if the true form and the false form (naming the old answer) are both
  answered rightly.
- *an edit that does not matter* counts if the answer is the base model's own, word for word.
- `verbatim` says the stored answer whatever is asked; `prompted` is the base model with the edits
  in its context; `adapter` the same with the adapter trained for it.
"""


def document(
    results: Mapping[str, Result], *, model: str, split: str, seed: int, options: str = ""
) -> str:
    """Return the results as a page for people."""
    return _DOCUMENT.format(
        table=table(results), model=model, split=split, seed=seed, options=options
    )
