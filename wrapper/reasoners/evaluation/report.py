"""Reasoners side by side: ``errata reasoner eval``, and the document made of it."""

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
from errata.reasoners.evaluation.evaluate import Examiner, answering, exam, figures
from errata.reasoners.training.examples import KINDS, ReasonerExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class Result:
    """What one reasoner did.

    :param figures: the rate of each kind of question.
    :param tokens_per_second: tokens of its answers a second, prompts read included.
    :param own_bytes: memory of the parameters it does not share with the base.
    :param working_bytes: memory it takes at its peak to answer a batch, parameters aside.
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
    each: int = 400,
    seed: int = 0,
    told: Callable[[str], object] = lambda name: None,
) -> dict[str, Result]:
    """Examine reasoners: the right edit given, no gate, greedy free generation.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param reasoners: by name.
    :param source: facts, sentences and aliases.
    :param split: whose subjects and objects are asked about.
    :param each: questions of each kind; fewer where the table has no more.
    :param seed: of the draw.
    :param told: told the name of each reasoner before it is examined.
    """
    examiner = Examiner(base, tokenizer, exam(source, split, each, seed))
    results = {}
    for name, reasoner in reasoners.items():
        told(name)
        results[name] = _result(base, tokenizer, reasoner, examiner)
    return results


def _result(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    reasoner: Reasoner,
    examiner: Examiner,
) -> Result:
    spent, tokens = 0.0, 0
    answers = answering(reasoner, base)

    def answer(lessons: Sequence[ReasonerExample], queries: Sequence[str]) -> list[str]:
        nonlocal spent, tokens
        began = time.perf_counter()
        out = answers(lessons, queries)
        spent += time.perf_counter() - began
        counted = tokenizer(out, add_special_tokens=False)["input_ids"] if out else []
        tokens += sum(map(len, counted))
        return out

    def answer_some() -> None:
        some = examiner.lessons[:: max(1, len(examiner.lessons) // BATCH)][:BATCH]
        answers(some, [lesson.query for lesson in some])

    before = _described(base)
    found = figures(examiner.outcomes(answer))
    working = peak_bytes(answer_some, base.device)
    return Result(
        found, tokens / max(spent, 1e-9), _own_bytes(reasoner, base), working,
        before == _described(base),
    )  # fmt: skip


def _own_bytes(reasoner: Reasoner, base: GenerativeModel) -> int:
    model: Any = getattr(getattr(reasoner, "chosen", reasoner), "model", None)
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
    own = [f"{result.own_bytes / 1e6:.1f} MB" for result in results.values()]
    working = [f"{result.working_bytes / 1e6:.1f} MB" for result in results.values()]
    untouched = ["yes" if result.base_untouched else "NO" for result in results.values()]
    lines.append(f"| answer tokens per second | | {' | '.join(speeds)} |")
    lines.append(f"| parameters of its own | | {' | '.join(own)} |")
    lines.append(f"| memory to answer a batch, at its peak | | {' | '.join(working)} |")
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
{machine}
{table}

What is counted:

- *one hop* and *two edits, one hop* ask one step further than the edit; one hop counts those
  questions whose second step the base model knows by itself.
- *yes or no* counts only if the true form and the false form (naming the old answer) are both
  answered rightly.
- *an edit that does not matter* counts if the answer is the base model's own, word for word.
- *an edit of another, of whom the same is true* is the hardest of these: the euro of Germany asked,
  that of France edited. It is reported apart, for the adapter rests on the base here: what the base
  answers as it answers the edit's own question is taken for that question, be it asked by another
  name (Aoraki for Mount Cook) or of another subject. A gate that reads names keeps these apart
  before a reasoner is asked (results/gate.md, other subject). `prompted` asks nobody.
- *memory to answer a batch* is what tensors take at the peak, the parameters aside: the contexts
  of {batch} questions and the model's work on them.
- `verbatim` says the stored answer whatever is asked; `prompted` is the base model with the edits
  in its context, `few-shot` the same after four examples of how edits are read; `adapter` is the
  base model with the adapter trained for it.
"""


def document(
    results: Mapping[str, Result], *, model: str, split: str, seed: int, options: str = "",
    machine: str = "",
) -> str:  # fmt: skip
    """Return the results as a page for people.

    :param results: by name of the reasoner.
    :param model: the base model's name.
    :param split: whose subjects were asked about.
    :param seed: of the draw.
    :param options: those of the command that made the page, so that anyone can run it again.
    :param machine: what it ran on, for speed and memory.
    """
    where = f"Speed and memory: {machine}, batches of {BATCH}.\n" if machine else ""
    return _DOCUMENT.format(
        table=table(results), model=model, split=split, seed=seed, options=options, machine=where,
        batch=BATCH,
    )  # fmt: skip


def machine_of(base: GenerativeModel) -> str:
    """Return what a model runs on, in words: a device, or a number of threads; and its dtype."""
    import torch

    kind = str(next(base.parameters()).dtype).removeprefix("torch.")
    if base.device.type == "cuda":
        return f"{torch.cuda.get_device_name(base.device)}, {kind}"
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}, {kind}"
