"""Build what ``generate`` returns: answers as rows of ids, in the base model's output, filtered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.cache.filters.text_filter import Replacement
from errata.cache.rollout import Key
from errata.gates.base import Decision
from errata.generation.chat import Prompt, pad_ids
from errata.generation.random_state import forked_rng
from errata.generation.request import AnswerWriter, GenerateRequest, Selection, pad_rows
from errata.generation.streaming import FilteredStreamer
from errata.pipelines.base import RoutedBatch
from errata.reasoners.base import Outcome, Reasoner, answer_prompts

if TYPE_CHECKING:
    import torch
    from transformers.generation.streamers import BaseStreamer
    from transformers.utils.generic import ModelOutput

    from errata.generation.base_model import GenerativeModel

_PROMPT_ARGUMENTS = frozenset(
    {"inputs", "streamer", "max_length", "past_key_values", "encoder_outputs", "cache_position"}
)
"""Arguments that belong to the caller's prompt and fit no other."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    :param stage: rewrite, cache, gate, base, reasoner or filter.
    :param seconds: wall time of the stage, for the whole batch.
    :param note: what it did, in a few words.
    """

    stage: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """How a batch of queries was answered.

    :param decisions: one a row, in order.
    :param replacements: for each row, what the regex patches did.
    :param steps: the stages, in order, with their times.
    :param outcomes: for each row, what became of the reasoner's answer when it was held against
        the edit: ``accepted``, ``asked again``, ``overruled``; empty where it was not.
    """

    decisions: tuple[Decision, ...]
    replacements: tuple[tuple[Replacement, ...], ...] = ()
    steps: tuple[Step, ...] = ()
    outcomes: tuple[str, ...] = ()

    def row(self, row: int) -> Trace:
        """Return the trace of one row."""
        return Trace(
            (self.decisions[row],),
            self.replacements[row : row + 1],
            self.steps,
            self.outcomes[row : row + 1],
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and how it was made.

    :param text: the answer.
    :param decision: what was decided: the candidates, what fired, the route.
    :param trace: what each stage did.
    """

    text: str
    decision: Decision
    trace: Trace

    def __str__(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated behind one prompt.

    :param texts: one a sequence.
    :param finished: of each, whether it ended, rather than reached the most tokens allowed.
    :param prompt_tokens: tokens of the prompt.
    :param tokens: of each sequence, the number of its tokens.
    :param decision: what was decided.
    :param trace: what each stage did.
    """

    texts: tuple[str, ...]
    finished: tuple[bool, ...]
    prompt_tokens: int
    tokens: tuple[int, ...]
    decision: Decision
    trace: Trace


@dataclass(frozen=True, slots=True)
class CallOptions:
    """errata's own arguments of a call of ``generate``.

    :param edits: which edits are in force.
    :param key: what rollouts draw by.
    :param shadow: decide and log, but answer from the base model.
    :param on_decision: called when it is decided, before anything is generated; with None where
        nothing was.
    """

    edits: Selection = True
    key: Key = None
    shadow: bool = False
    on_decision: Callable[[RoutedBatch | None], object] = lambda batch: None


def completions(
    writer: AnswerWriter,
    request: GenerateRequest,
    sequences: Sequence[list[int]],
    prompt_lengths: Sequence[int],
    trace: Trace,
) -> list[Completion]:
    """Return generated ids as texts, one completion a prompt.

    :param writer: decodes.
    :param request: the call.
    :param sequences: the new ids of each sequence, those of one prompt behind each other.
    :param prompt_lengths: tokens of each prompt.
    :param trace: of the call.
    """
    ends = {*request.eos_token_ids, request.pad_token_id}
    kept = [list(takewhile(lambda token: token not in ends, ids)) for ids in sequences]
    texts = [writer.decode(ids) for ids in sequences]
    finished = [len(ids) < request.max_new_tokens for ids in kept]
    count, found = request.num_return_sequences, []
    for row, length in enumerate(prompt_lengths):
        own = slice(row * count, (row + 1) * count)
        lengths = tuple(map(len, kept[own]))
        found.append(
            Completion(
                tuple(texts[own]), tuple(finished[own]), length, lengths,
                trace.decisions[row], trace.row(row),
            )
        )  # fmt: skip
    return found


class StopWatch:
    """Times the stages of one call."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._since = time.perf_counter()

    def lap(self, stage: str, note: str = "") -> None:
        """Record a stage with the time since the stage before."""
        now = time.perf_counter()
        self.steps.append(Step(stage, now - self._since, note))
        self._since = now


class OutputBuilder:
    """Builds the output of one call of ``generate``.

    :param base: the base model.
    :param writer: encodes and decodes answers.
    :param request: the call.
    :param batch: the decisions.
    :param prompts: one a row; a secret may begin in a prompt and go on in the answer.
    :raises GenerationError: a streamer is given where several rows may change.
    """

    def __init__(
        self,
        base: GenerativeModel,
        writer: AnswerWriter,
        request: GenerateRequest,
        batch: RoutedBatch,
        prompts: Sequence[Prompt],
    ) -> None:
        self.base, self.writer, self.request, self.batch = base, writer, request, batch
        self.prompts = prompts
        self.replacements: dict[int, tuple[Replacement, ...]] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._prefixes = request.prefixes()
        if request.streamer is not None and (any(batch.affected) or any(batch.output_filters)):
            _check_streamable(request)

    def base_output(self) -> Any:
        """Return the base model's output for the caller's own arguments, the whole batch."""
        arguments = dict(self.request.arguments)
        if self.request.streamer is not None and self.batch.output_filters[0]:
            arguments["streamer"] = FilteredStreamer(
                self.request.streamer,
                self.writer,
                self.batch.output_filters[0],
                self.request.max_new_tokens,
                self._before(0),
                self.request.eos_token_ids,
            )
        return self.base.generate(**arguments)

    def affected_rows(self, verbatim: Reasoner) -> dict[int, list[torch.Tensor]]:
        """Return, for each row with a hit or a rewritten query, its sequences, int64 [tokens].

        :param verbatim: returns stored answers and refusals.
        """
        prompts = self.prompts
        rows: dict[int, list[torch.Tensor]] = {}
        for reasoner, at in self.batch.by_reasoner(verbatim):
            with nullcontext() if reasoner is verbatim else forked_rng(self.base.device):
                asked = [prompts[i].asking(self.batch.queries[i]) for i in at]
                edits = [self.batch.decisions[i].remaining_edits for i in at]
                config = self.request.reasoner_config
                answers = answer_prompts(reasoner, asked, edits, config)
            for i, replies in zip(at, answers, strict=True):
                self.outcomes[i] = replies[0].outcome
                rows[i] = [
                    self.writer.answer_row(self.request, self._prefixes[i], prompts[i], reply.text)
                    for reply in replies
                ]
        others = [i for i, affected in enumerate(self.batch.affected) if affected and i not in rows]
        return rows | self._base_rows(others) if others else rows

    def merge(self, rows: Mapping[int, Sequence[torch.Tensor]], output: Any) -> Any:
        """Return the whole output, filtered: the base model's rows, and those that were affected.

        :param rows: the sequences of affected rows.
        :param output: what the base model returned, or None where every row is affected.
        """
        sequences = getattr(output, "sequences", output)
        count = self.request.num_return_sequences
        flat: list[torch.Tensor] = []
        for row in range(self.request.rows):
            base = () if sequences is None else sequences[row * count : (row + 1) * count]
            flat += [self._filtered(row, sequence) for sequence in rows.get(row, base)]
        if not rows and not self.replacements:
            return output
        width = 0 if sequences is None else int(sequences.shape[1])
        return self._as_output(pad_rows(flat, self.request.pad_token_id, width), output)

    def reasoner_note(self) -> str:
        """Return how many answers were asked again or overruled."""
        counts = Counter(self.outcomes.values())
        shown: tuple[Outcome, ...] = ("asked again", "overruled")
        return ", ".join(f"{counts[one]} {one}" for one in shown if counts[one])

    def trace(self, watch: StopWatch) -> Trace:
        """Return the trace of the call."""
        replacements = tuple(
            (*rewrites, *self.replacements.get(row, ()))
            for row, rewrites in enumerate(self.batch.rewrites)
        )
        outcomes = tuple(self.outcomes.get(row, "") for row in range(self.request.rows))
        return Trace(self.batch.decisions, replacements, tuple(watch.steps), outcomes)

    def stream(self, streamer: BaseStreamer, row: torch.Tensor) -> None:
        """Send an affected row to the caller's streamer: its prefix, then the answer.

        :param streamer: the caller's.
        :param row: int64 [tokens]; of one row only, since no more can be streamed.
        """
        prefix = self._prefixes[0]
        streamer.put(prefix[None].cpu())
        streamer.put(self._filtered(0, row)[len(prefix) :].cpu())
        streamer.end()

    def _base_rows(self, rows: Sequence[int]) -> dict[int, list[torch.Tensor]]:
        """Return the base model's sequences for rewritten queries and sub-questions, in one batch.

        They begin with the caller's own prompt.
        """
        import torch

        request, device = self.request, self._prefixes.device
        ids, mask = pad_ids(
            [self._base_prompt(i, self.prompts[i]) for i in rows], request.pad_token_id,
            left=not request.encoder_decoder,
        )  # fmt: skip
        prefixes = self._prefixes[list(rows)]
        arguments = {k: v for k, v in self.request.arguments.items() if _fits_other_prompts(k, v)}
        arguments |= {
            "max_new_tokens": request.max_new_tokens,
            "return_dict_in_generate": False,
            "pad_token_id": request.pad_token_id,
        }
        if request.encoder_decoder:
            arguments["decoder_input_ids"] = prefixes
        with forked_rng(device):
            out = self.base.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), **arguments
            )
        start = prefixes.shape[1] if request.encoder_decoder else ids.shape[1]
        count = request.num_return_sequences
        return {
            row: [
                torch.cat([prefix, self._until_end(sequence[start:]).to(prefix)])
                for sequence in out[at * count : (at + 1) * count]
            ]
            for at, (row, prefix) in enumerate(zip(rows, prefixes, strict=True))
        }

    def _base_prompt(self, row: int, prompt: Prompt) -> list[int]:
        """Return the ids of a row's prompt with another query in it.

        A sub-question of a query that the prompt does not contain word for word becomes a prompt
        of its own.
        """
        query = self.batch.queries[row]
        alone = prompt.start is None and bool(self.batch.decisions[row].sub_question)
        text = query if alone else prompt.replace_query(query)
        # The prompt's text already contains its special tokens.
        return list(self.writer.tokenizer(text, add_special_tokens=alone)["input_ids"])

    def _until_end(self, new: torch.Tensor) -> torch.Tensor:
        """Return new ids without the padding of a batch behind their end token."""
        ends = [at for at, token in enumerate(new.tolist()) if token in self.request.eos_token_ids]
        return new[: ends[0] + 1] if ends else new

    def _filtered(self, row: int, sequence: torch.Tensor) -> torch.Tensor:
        """Return a sequence after the output filter; the very same object if nothing matches."""
        output_filter = self.batch.output_filters[row]
        if not output_filter:
            return sequence
        prefix = self._prefixes[row]
        new = sequence[len(prefix) :].tolist()
        ended = any(token in self.request.eos_token_ids for token in new)
        text, replacements = output_filter.apply(
            self.writer.decode(new), before=self._before(row), cut=not ended
        )
        if not replacements:
            return sequence
        self.replacements[row] = (*self.replacements.get(row, ()), *replacements)
        return self.writer.row(self.request, prefix, self.writer.encode(text), ended=ended)

    def _before(self, row: int) -> tuple[str, ...]:
        """Return what comes before a row's answer: the end of its prompt, and its query."""
        reach = self.batch.output_filters[row].guard.reach
        if not reach:
            return ()
        prefix = self.writer.decode(self._prefixes[row][-reach:].tolist())
        return prefix[-reach:], self.prompts[row].query[-reach:]

    def _as_output(self, sequences: torch.Tensor, output: Any) -> torch.Tensor | ModelOutput:
        """Return ids, or a dict output whose scores and the like are None.

        A corrected row has none, and those of the base model are of other tokens.
        """
        if not self.request.config.return_dict_in_generate:
            return sequences
        from transformers.generation import utils

        kind = "EncoderDecoder" if self.request.encoder_decoder else "DecoderOnly"
        beam = "Beam" if (self.request.config.num_beams or 1) > 1 else ""
        made = type(output) if output is not None else getattr(utils, f"Generate{beam}{kind}Output")
        return made(sequences=sequences)  # type: ignore[no-any-return]


def _fits_other_prompts(name: str, value: Any) -> bool:
    """Return whether an argument of ``generate`` also fits another prompt, of one row."""
    import torch

    batched = isinstance(value, torch.Tensor) and value.dim() > 1
    return not batched and name not in _PROMPT_ARGUMENTS


def _check_streamable(request: GenerateRequest) -> None:
    several = max(request.rows, request.num_return_sequences, request.config.num_beams or 1)
    if several > 1:
        raise GenerationError(
            "expected one row, one sequence and no beams with a streamer where an edit or an "
            f"output pattern is in force, found {several}; stream rows one by one"
        )
