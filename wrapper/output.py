"""The second half of a query's way: answers as rows, put in place of the base model's, filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.cache.filters.text_filter import Replacement
from errata.generation.prompt_reader import Prompt
from errata.generation.random_state import forked_rng
from errata.generation.request import GenerateRequest
from errata.generation.streaming import FilteredStreamer
from errata.generation.token_writer import AnswerWriter, stacked
from errata.pipelines.run import RoutedBatch
from errata.trace import StopWatch, Trace

if TYPE_CHECKING:
    import torch
    from transformers.utils.generic import ModelOutput

    from errata.generation.base_model import GenerativeModel

_OF_THE_OLD_PROMPT = frozenset(
    {"inputs", "streamer", "max_length", "past_key_values", "encoder_outputs", "cache_position"}
)


class OutputBuilder:
    """Builds the output of one call.

    :param base: the base model.
    :param writer: reads and writes ids.
    :param call: what was asked.
    :param way: what was decided.
    """

    def __init__(
        self, base: GenerativeModel, writer: AnswerWriter, call: GenerateRequest, way: RoutedBatch
    ) -> None:
        self.base, self.writer, self.call, self.way = base, writer, call, way
        self.replacements: dict[int, tuple[Replacement, ...]] = {}
        self._heads = call.heads()
        if call.streamer is not None and (any(way.touched) or way.output):
            _check_streamable(call)

    def from_base(self) -> Any:
        """Return the base model's output for the caller's own arguments, the whole batch."""
        arguments = dict(self.call.arguments)
        if self.call.streamer is not None and self.way.output:
            arguments["streamer"] = FilteredStreamer(
                self.call.streamer, self.writer, self.way.output, self.call.budget
            )
        return self.base.generate(**arguments)

    def answered(self, row: int, prompt: Prompt, answers: Sequence[str]) -> list[torch.Tensor]:
        """Return the rows of one prompt's answers."""
        head = self._heads[row]
        return [self.writer.row(self.call, head, prompt, answer) for answer in answers]

    def from_rewritten(self, row: int, prompt: Prompt) -> list[torch.Tensor]:
        """Return what the base model says to a prompt whose query was rewritten or put further.

        The caller's own prompt stays at the head of the row. A query put further that the prompt
        does not hold word for word is asked by itself.
        """
        import torch

        alone = prompt.start is None and bool(self.way.decisions[row].sub_question)
        text = self.way.queries[row] if alone else prompt.rewritten(self.way.queries[row])
        # The prompt's text has its special tokens written out: none may be added.
        ids = self.writer.tokenizer(text, add_special_tokens=alone, return_tensors="pt")[
            "input_ids"
        ].to(self._heads.device)
        head = self._heads[row]
        kept = {key: value for key, value in self.call.arguments.items() if _kept(key, value)}
        kept |= {"max_new_tokens": self.call.budget, "return_dict_in_generate": False}
        if self.call.encoder_decoder:
            kept["decoder_input_ids"] = head[None]
        with forked_rng(self._heads.device):
            out = self.base.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **kept)
        start = len(head) if self.call.encoder_decoder else ids.shape[1]
        return [torch.cat([head, sequence[start:].to(head)]) for sequence in out]

    def joined(self, rows: Mapping[int, Sequence[torch.Tensor]], output: Any) -> Any:
        """Return the output: the base's rows where the queries missed, ours where they did not.

        :param rows: for each row that was not answered from the caller's own prompt, its sequences.
        :param output: what the base model returned, or None where every row hit.
        """
        sequences = getattr(output, "sequences", output)
        count = self.call.sequences
        flat: list[torch.Tensor] = []
        for row in range(self.call.rows):
            own = () if sequences is None else sequences[row * count : (row + 1) * count]
            flat += [self._filtered(row, s) for s in rows.get(row, own)]
        if not rows and not self.replacements:
            return output
        width = 0 if sequences is None else int(sequences.shape[1])
        return self._wrapped(stacked(flat, self.call.pad_id, width), output)

    def trace(self, watch: StopWatch) -> Trace:
        """Return the trace of the call."""
        replacements = tuple(
            (*before, *self.replacements.get(row, ()))
            for row, before in enumerate(self.way.rewrites)
        )
        return Trace(self.way.decisions, replacements, tuple(watch.steps))

    def stream(self, rows: Mapping[int, Sequence[torch.Tensor]]) -> None:
        """Send a row that was not generated to the caller's streamer: its head, then the rest."""
        streamer = self.call.streamer
        if streamer is None or not rows:
            return
        head = self._heads[0]
        streamer.put(head[None].cpu())
        streamer.put(self._filtered(0, rows[0][0])[len(head) :].cpu())
        streamer.end()

    def _filtered(self, row: int, sequence: torch.Tensor) -> torch.Tensor:
        """Return the very sequence where no pattern matches: never decoded and encoded again."""
        if not self.way.output:
            return sequence
        head = self._heads[row]
        new = sequence[len(head) :].tolist()
        text, told = self.way.output.apply(self.writer.decode(new))
        if not told:
            return sequence
        self.replacements[row] = (*self.replacements.get(row, ()), *told)
        ended = any(token in self.call.end_ids for token in new)
        return self.writer.finish(self.call, head, self.writer.encode(text), ended=ended)

    def _wrapped(self, sequences: torch.Tensor, output: Any) -> torch.Tensor | ModelOutput:
        """Return ids, or a dict output whose scores and the like are None.

        Those of a corrected row do not exist, and those of the base would be a lie.
        """
        if not self.call.config.return_dict_in_generate:
            return sequences
        from transformers.generation import utils

        kind = "EncoderDecoder" if self.call.encoder_decoder else "DecoderOnly"
        beam = "Beam" if (self.call.config.num_beams or 1) > 1 else ""
        made = type(output) if output is not None else getattr(utils, f"Generate{beam}{kind}Output")
        return made(sequences=sequences)  # type: ignore[no-any-return]


def _kept(name: str, value: Any) -> bool:
    """Tell whether an argument still fits a prompt of other words and one row."""
    import torch

    of_the_batch = isinstance(value, torch.Tensor) and value.dim() > 1
    return not of_the_batch and name not in _OF_THE_OLD_PROMPT


def _check_streamable(call: GenerateRequest) -> None:
    several = max(call.rows, call.sequences, call.config.num_beams or 1)
    if several > 1:
        raise GenerationError(
            "expected one row, one sequence and no beams with a streamer where an edit or an "
            f"output pattern is in force, found {several}; stream rows one by one"
        )
