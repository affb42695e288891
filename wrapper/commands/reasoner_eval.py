"""``errata reasoner eval``."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import progress, working
from errata.commands.reasoner import Facts, Model, load_model_and_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from errata.facts import FactSource
    from errata.facts.table import Split
    from errata.generation.base_model import GenerativeModel
    from errata.intervals import Rate
    from errata.reasoners.base import Reasoner
    from errata.reasoners.data.texts import RealTexts

_DEMONSTRATIONS = 8
"""Of ``ike`` at most: with its published 32 a prompt has 2,000 tokens, seconds on a CPU each."""


@reports_errors
def eval_reasoner(
    context: typer.Context,
    reasoners: Annotated[
        str,
        typer.Option("--reasoners", help="Names or folders; name:n to ask n of a kind."),
    ] = "adapter,prompted,verbatim",
    model: Model = "atlas",
    facts: Facts = None,
    split: Annotated[str, typer.Option("--split", help="train, tune or test.")] = "test",
    each: Annotated[int, typer.Option("--each", min=1, help="Questions of each kind.")] = 400,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="JSON lines, as of train; repeatable."),
    ] = None,
    gate: Annotated[str, typer.Option("--gate", help="Of verification; none: no gate.")] = "none",
    mentions: Annotated[
        int, typer.Option("--mentions", min=0, help="Open-ended requests, for a chat model.")
    ] = 0,
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="Keep answers, and go on.")
    ] = None,
    document: Annotated[
        Path | None, typer.Option("--document", metavar="FILE", help="Write a Markdown page too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare reasoners: the right edit given, free generation, n and intervals.

    Of a chat model answers are right if they name the object, and each reasoner is measured alone
    and with its answers verified. `ike` and `unedited` are columns there, too.

    Example:
        errata reasoner eval
        errata reasoner eval --reasoners runs/ours,prompted --facts facts/ --json
        errata reasoner eval --model smollm2 --reasoners adapter:200,prompted:60 --data pairs.jsonl
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler else writes to stderr
    from errata.cache.errors import ErrataError
    from errata.reasoners.prompts import has_chat_template

    if split not in ("train", "tune", "test"):
        raise ErrataError(f"expected --split train, tune or test, found {split!r}")
    limits = _limits(reasoners, each)
    with working("loading the model"):
        base, tokenizer, source, texts = load_model_and_data(model, facts, data or [])
    if not has_chat_template(tokenizer):
        run = _Run(base, tokenizer, source, model, split, seed, each, _options(context))  # type: ignore[arg-type]
        _compare(run, [*limits], document, as_json)
        return
    run = _Run(base, tokenizer, source, model, split, seed, each, _options(context))  # type: ignore[arg-type]
    _compare_chat(run, limits, texts, data or [], answers, gate, mentions, document, as_json)


@dataclass(frozen=True, slots=True)
class _Run:
    """What an evaluation is of."""

    base: GenerativeModel
    tokenizer: PreTrainedTokenizerBase
    source: FactSource
    model: str
    split: Split
    seed: int
    each: int
    options: str


def _limits(text: str, each: int) -> dict[str, int]:
    """Return how many questions of each kind each reasoner is asked, by its name."""
    from errata.cache.errors import ErrataError

    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = part.rpartition(":")
        if name and count.isdigit():
            found[name] = int(count)
        else:
            found[part] = each
    if not found:
        raise ErrataError(f"expected names or folders in --reasoners, found {text!r}")
    return found


def _compare(run: _Run, names: Sequence[str], document: Path | None, as_json: bool) -> None:
    from errata.cache.storage.atomic import write_atomically
    from errata.reasoners.evaluation import report
    from errata.reasoners.load import load_reasoner

    made = {name: load_reasoner(name, run.base, run.tokenizer) for name in names}
    with progress("drawing questions", len(made)) as advance:
        results = report.evaluate(
            run.base, run.tokenizer, made, run.source, split=run.split, per_kind=run.each,
            seed=run.seed, on_start=lambda name: advance(1, f"evaluating {name}"),
        )  # fmt: skip
    machine = report.machine_of(run.base)
    if document is not None:
        text = report.document(
            results, model=run.model, split=run.split, seed=run.seed, machine=machine,
            options=run.options,
        )  # fmt: skip
        write_atomically(document, text.encode())
    if as_json:
        about = {"model": run.model, "split": run.split, "seed": run.seed, "machine": machine}
        print_json({**about, "results": report.to_json(results)})
    else:
        print_line(report.table(results))


def _compare_chat(
    run: _Run,
    limits: Mapping[str, int],
    texts: RealTexts | None,
    data: Sequence[Path],
    answers: Path | None,
    gate: str,
    mentions: int,
    document: Path | None,
    as_json: bool,
) -> None:
    from errata.cache.storage.atomic import write_atomically
    from errata.gates.load import load_gate
    from errata.generation.fingerprint import fingerprint
    from errata.reasoners.evaluation import chat, chat_report, open_ended, report
    from errata.reasoners.evaluation.chat_examples import chat_examples
    from errata.reasoners.unedited import UneditedReasoner
    from errata.reasoners.verified import VerifiedReasoner

    kept, config = chat.AnswerFile(answers), chat.ChatConfig()
    scope = None if gate == "none" else load_gate(gate)
    results: dict[str, Mapping[str, Rate]] = {}
    with progress("drawing questions", len(limits)) as advance:
        unedited = chat.KeptReasoner("unedited", UneditedReasoner(run.base, run.tokenizer), kept)
        examples = chat_examples(run.source, texts, run.each, run.seed, run.split)
        evaluation = chat.ChatEvaluation(
            run.base, run.tokenizer, unedited, examples, run.each, config
        )
        for name, limit in limits.items():
            advance(1, f"evaluating {name}")
            reasoner = _chat_reasoner(name, run)
            once = chat.KeptReasoner(_identity(name, reasoner), reasoner, kept)
            if name != "unedited":
                results[name] = evaluation.rates(once, limit)
            verified = VerifiedReasoner(once, gate=scope)
            results[f"{name}, verified"] = evaluation.rates(verified, limit)
        asked = open_ended.open_ended_examples(run.source, mentions, run.seed, run.split)
        named = open_ended.open_ended_rates(run.base, run.tokenizer, asked, kept) if asked else {}
    machine, mark = report.machine_of(run.base), fingerprint(run.base)
    about = {
        "model": run.model, "split": run.split, "seed": run.seed, "machine": machine,
        "fingerprint": mark, "command": f"errata reasoner eval{run.options}",
        "data": {path.name: digest for path, digest in chat_report.digests(data).items()},
        "results": chat_report.to_json(results),
        "old object in answers to open-ended requests, by mentions": {
            option: asdict(found) for option, found in named.items()
        },
    }  # fmt: skip
    if document is not None:
        text = chat_report.document(
            results, model=run.model, machine=machine, fingerprint=mark, options=run.options,
            seed=run.seed, tokens=config.max_new_tokens, data=data, name=document.name,
            mentions=named,
        )  # fmt: skip
        write_atomically(document, text.encode())
        _write_json(document.with_suffix(".json"), about)
    if as_json:
        print_json(about)
    else:
        print_line(chat_report.table(results))


def _write_json(path: Path, value: Any) -> None:
    import json

    from errata.cache.storage.atomic import write_atomically

    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _chat_reasoner(name: str, run: _Run) -> Reasoner:
    """Return a reasoner by name or folder; ``ike`` has demonstrations of the facts table."""
    from errata.gates.load import default_encoder
    from errata.reasoners.demonstrations import DemonstrationBook
    from errata.reasoners.in_context import InContextReasoner
    from errata.reasoners.load import load_reasoner

    if name != "ike":
        return load_reasoner(name, run.base, run.tokenizer)
    book = DemonstrationBook(run.source, default_encoder())
    return InContextReasoner(run.base, run.tokenizer, book, max_demonstrations=_DEMONSTRATIONS)


def _identity(name: str, reasoner: Reasoner) -> str:
    """Return what kept answers depend on: the reasoner's name, and its weights if it has some."""
    card = getattr(reasoner, "card", None)
    return name if card is None else f"{card.kind} {card.weights[:12]}"


def _options(context: typer.Context) -> str:
    """Return the options given on the command line, without --document and --json."""
    sources = {p.opts[0]: context.get_parameter_source(str(p.name)) for p in context.command.params}
    given = [
        (p.opts[0], value)
        for p in context.command.params
        if p.name not in ("document", "answers", "as_json")
        and getattr(sources[p.opts[0]], "name", "") == "COMMANDLINE"
        for value in _values(context.params[str(p.name)])
    ]
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given)


def _values(value: object) -> Sequence[object]:
    """Return the values of an option; of files of data their names, their digests are told."""
    if isinstance(value, list):
        return [one.name if isinstance(one, Path) else one for one in value]
    return [value]
