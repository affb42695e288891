"""Comparing reasoners: ``errata reasoner eval`` and its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from errata.facts import FactSource
from errata.facts.table import Split
from errata.generation.memory import peak_bytes
from errata.intervals import Rate
from errata.reasoners.base import Reasoner
from errata.reasoners.base_answers import BATCH
from errata.reasoners.data.examples import KINDS, ReasonerExample
from errata.reasoners.evaluation.evaluate import (
    Evaluator,
    evaluation_set,
    greedy_answers,
    rates,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class Result:
    """The measurements of one reasoner.

    :param figures: the rate of each kind of question.
    :param tokens_per_second: answer tokens a second, prefill included.
    :param own_bytes: memory of the parameters it does not share with the base.
    :param working_bytes: peak memory to answer a batch, without parameters.
    :param base_untouched: state dict, hooks, module types and flags of the base, before and
        after, were equal.
    """

    figures: Mapping[str, Rate]
    tokens_per_second: float
    own_bytes: int
    working_bytes: int
    base_untouched: bool


def evaluate(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    reasoners: Mapping[str, Reasoner],
    source: FactSource,
    *,
    split: Split = "test",
    per_kind: int = 400,
    seed: int = 0,
    on_start: Callable[[str], object] = lambda name: None,
) -> dict[str, Result]:
    """Evaluate reasoners: the right edit given, no gate, greedy free generation.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param reasoners: by name.
    :param source: facts, sentences and aliases.
    :param split: of the subjects and objects.
    :param per_kind: examples of each kind; fewer where the table has no more.
    :param seed: of the draw.
    :param on_start: called with the name of each reasoner before it is evaluated.
    """
    examples = evaluation_set(source, split, per_kind, seed)
    evaluator = Evaluator(base, tokenizer, examples)
    results = {}
    for name, reasoner in reasoners.items():
        on_start(name)
        results[name] = _measure(base, tokenizer, reasoner, evaluator)
    return results


def _measure(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    reasoner: Reasoner,
    evaluator: Evaluator,
) -> Result:
    seconds, tokens = 0.0, 0
    answers = greedy_answers(reasoner, base)

    def timed(examples: Sequence[ReasonerExample], queries: Sequence[str]) -> list[str]:
        nonlocal seconds, tokens
        began = time.perf_counter()
        out = answers(examples, queries)
        seconds += time.perf_counter() - began
        ids = tokenizer(out, add_special_tokens=False)["input_ids"] if out else []
        tokens += sum(map(len, ids))
        return out

    def answer_batch() -> None:
        examples = evaluator.examples
        batch = examples[:: max(1, len(examples) // BATCH)][:BATCH]
        answers(batch, [one.query for one in batch])

    before = _state(base)
    found = rates(evaluator.outcomes(timed))
    working = peak_bytes(answer_batch, base.device)
    return Result(
        found, tokens / max(seconds, 1e-9), _own_bytes(reasoner, base), working,
        before == _state(base),
    )  # fmt: skip


def _own_bytes(reasoner: Reasoner, base: GenerativeModel) -> int:
    model: Any = getattr(getattr(reasoner, "chosen", reasoner), "model", None)
    shared = {id(p) for p in base.parameters()}
    parameters = () if model is None else model.parameters()
    return sum(p.numel() * p.element_size() for p in parameters if id(p) not in shared)


def _state(model: GenerativeModel) -> list[Any]:
    """Return everything about a base model that must not change, comparable."""
    import hashlib

    import torch

    state = hashlib.sha256()
    for name, value in model.state_dict().items():
        state.update(name.encode())
        state.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    modules = [
        (type(m), [*m._forward_hooks], [*m._forward_pre_hooks], [*m._backward_hooks], m.training)
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
    extra = [f"{result.own_bytes / 1e6:.1f} MB" for result in results.values()]
    working = [f"{result.working_bytes / 1e6:.1f} MB" for result in results.values()]
    untouched = ["yes" if result.base_untouched else "NO" for result in results.values()]
    lines.append(f"| answer tokens per second | | {' | '.join(speeds)} |")
    lines.append(f"| parameters besides the base's | | {' | '.join(extra)} |")
    lines.append(f"| peak memory to answer a batch | | {' | '.join(working)} |")
    lines.append(f"| base equal before and after | | {' | '.join(untouched)} |")
    return "\n".join(lines)


def _cell(cell: Rate | None) -> str:
    return (
        "–" if cell is None else f"{cell.share:.1%} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"
    )


_DOCUMENT = """\
# Reasoners, measured

Made by `errata reasoner eval --document results/reasoners.md{options}`; do not edit by hand.

Base model: {model}. Subjects of the {split} split of the facts table, objects that no training edit
ever used, phrasings held out of training where a relation has some. The right edit is given (no
gate decides), the answer is generated freely and greedily and compared whole (but for case, spaces
and a final full stop). Seed {seed}; 95% Wilson intervals in brackets, in per cent.
{machine}
{table}

What is measured:

- *one hop* and *two edits, one hop* ask one hop from the edit; of one hop, only questions whose
  second hop the base model answers correctly without any edit.
- *yes or no* is correct if the true form and the false form (with the old answer) both are.
- *an edit that does not matter* (locality) is correct if the answer is the base model's, word for
  word.
- *an edit of another, of whom the same is true* is the hardest locality: the currency of Germany
  under an edit of that of France. It is reported apart because the adapter relies on the base
  model: a query that the base answers like the edit's question is taken to ask the same, by
  another name (Aoraki for Mount Cook) or of another subject. The gate, which compares names,
  separates these before the reasoner (results/gate.md, other subject). `prompted` does not use the
  base's answers.
- *peak memory to answer a batch* is that of tensors without parameters: the contexts of {batch}
  questions and the activations.
- `verbatim` returns the stored answer to every query; `prompted` is the base model with the edits
  in its context, `few-shot` the same after four demonstrations; `adapter` is the base model with
  the adapter trained for it.
"""


def document(
    results: Mapping[str, Result], *, model: str, split: str, seed: int, options: str = "",
    machine: str = "",
) -> str:  # fmt: skip
    """Return the results as a Markdown page.

    :param results: by name of the reasoner.
    :param model: the base model's name.
    :param split: of the subjects.
    :param seed: of the draw.
    :param options: of the command that made the page.
    :param machine: what it ran on, for speed and memory.
    """
    where = f"Speed and memory: {machine}, batches of {BATCH}.\n" if machine else ""
    return _DOCUMENT.format(
        table=table(results), model=model, split=split, seed=seed, options=options, machine=where,
        batch=BATCH,
    )  # fmt: skip


def machine_of(base: GenerativeModel) -> str:
    """Return the device of a model, or the number of threads, and its dtype."""
    import torch

    kind = str(next(base.parameters()).dtype).removeprefix("torch.")
    if base.device.type == "cuda":
        return f"{torch.cuda.get_device_name(base.device)}, {kind}"
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}, {kind}"
