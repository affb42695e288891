"""Free generation: the question alone, greedy, up to a line end or the end token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.gates.base import Decision
from errata.generation.chat import render_prompt, tokenize_prompts
from errata.generation.request import AnswerWriter, read_request

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Decisions = Sequence[Decision | None]
Generate = Callable[..., tuple["torch.Tensor", Decisions]]
"""Takes what ``generate`` takes; returns sequences and, of a pipeline, each row's decision."""


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """A generated answer.

    :param ids: its tokens, without the end token.
    :param text: the same up to its first line end.
    :param fired: ids of the edits that fired, best first, with file and line where they have one.
    :param route: the route of the gate's decision.
    """

    ids: tuple[int, ...]
    text: str
    fired: tuple[str, ...] = ()
    route: str = "base"

    @property
    def hit(self) -> bool:
        """Whether an edit fired."""
        return bool(self.fired)


class AnswerGenerator:
    """Generates answers to questions, always in the batches they are given in.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param max_new_tokens: most tokens of an answer.
    :param batch_size: most questions in a batch.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        batch_size: int,
    ) -> None:
        self.base, self.tokenizer = base, tokenizer
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self._writer = AnswerWriter(tokenizer)
        self._line_ends = line_end_ids(tokenizer)
        request = read_request(base, None, {"do_sample": False})
        self._pad, self._ends = request.pad_token_id, frozenset(request.eos_token_ids)

    def base_generate(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the base model under its current weights."""
        output = self.base.generate(*arguments, **options)
        return output, [None] * len(output)

    def answer(
        self, questions: Sequence[str], generate: Generate | None = None
    ) -> list[GeneratedAnswer]:
        """Return the answers, in order.

        :param questions: as a user would type them.
        :param generate: by default the base model's.
        """
        generate = generate or self.base_generate
        found: list[GeneratedAnswer] = []
        for start in range(0, len(questions), self.batch_size):
            found += self._answer_batch(questions[start : start + self.batch_size], generate)
        return found

    def sample_text(
        self, question: str, generate: Generate | None, tokens: int, seed: int
    ) -> str | None:
        """Return a prompt with its continuation, sampled among the 5 likeliest tokens.

        As CounterFact's generations are made (Meng et al. 2022): no end before ``tokens`` tokens.
        Return None where an edit fired: a stored answer is no running text.

        :param question: the prompt.
        :param generate: by default the base model's.
        :param tokens: length of all, prompt included.
        :param seed: of the draws; the caller's random state is put back.
        """
        import torch

        from errata.generation.random_state import forked_rng

        ids, mask = self._encoded([question])
        start = ids.shape[1] if self._causal else 1
        room = max(1, tokens - start) if self._causal else tokens
        with forked_rng(self.base.device):
            torch.manual_seed(seed)
            output, decisions = (generate or self.base_generate)(
                ids, attention_mask=mask, do_sample=True, top_k=5, top_p=1.0, temperature=1.0,
                num_beams=1, max_new_tokens=room, min_length=start + room, pad_token_id=self._pad,
            )  # fmt: skip
        if any(decision is not None and decision.hit for decision in decisions):
            return None
        return f"{question} {self._writer.decode(output[0, start:].tolist())}"

    @property
    def _causal(self) -> bool:
        return not self.base.config.is_encoder_decoder

    def _encoded(self, questions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        prompts = [render_prompt(question, self.tokenizer) for question in questions]
        ids, mask = tokenize_prompts(prompts, self.tokenizer, self._pad, left=self._causal)
        return ids.to(self.base.device), mask.to(self.base.device)

    def _answer_batch(self, questions: Sequence[str], generate: Generate) -> list[GeneratedAnswer]:
        import torch

        ids, mask = self._encoded(questions)
        start = ids.shape[1] if self._causal else 1
        with torch.no_grad():
            output, decisions = generate(
                ids, attention_mask=mask, do_sample=False, num_beams=1,
                max_new_tokens=self.max_new_tokens, pad_token_id=self._pad,
                stopping_criteria=[_LineEndCriteria(self._line_ends, start)],
            )  # fmt: skip
        rows = [self._trimmed(row) for row in output[:, start:].tolist()]
        return [self._decoded(row, decision) for row, decision in zip(rows, decisions, strict=True)]

    def _trimmed(self, row: Sequence[int]) -> tuple[int, ...]:
        for i, token in enumerate(row):
            if token in self._ends or token == self._pad:
                return tuple(row[:i])
        return tuple(row)

    def _decoded(self, row: tuple[int, ...], decision: Decision | None) -> GeneratedAnswer:
        lines = self._writer.decode(row).strip().splitlines()
        text = lines[0].strip() if lines else ""
        if decision is None:
            return GeneratedAnswer(row, text)
        fired = tuple(
            f"{edit.id} ({edit.location})" if edit.location else edit.id for edit in decision.fired
        )
        return GeneratedAnswer(row, text, fired, decision.route)


def line_end_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of the tokens that hold a line end."""
    # Byte-level vocabularies write a line end as Ċ, those with a byte fallback as <0x0A>.
    marks = ("\n", "Ċ")
    return frozenset(
        number
        for token, number in tokenizer.get_vocab().items()
        if token == "<0x0A>" or any(mark in token for mark in marks)
    )


class _LineEndCriteria:
    """Stops a row at its first line end that follows another token.

    :param line_ends: ids of tokens that hold a line end.
    :param start: position of the first generated token.
    """

    def __init__(self, line_ends: frozenset[int], start: int) -> None:
        self.line_ends, self.start = line_ends, start

    def __call__(self, ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        """Return for each row whether it has ended, bool [rows].

        :param ids: prompts and answers so far, int64 [rows, tokens].
        :param scores: unused.
        """
        import torch

        new = ids[:, self.start :]
        line_ends = torch.tensor(sorted(self.line_ends), device=ids.device, dtype=ids.dtype)
        ended = torch.isin(new, line_ends)
        if not new.shape[1]:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return ended[:, -1] & (~ended).any(1)
