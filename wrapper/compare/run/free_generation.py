"""Free generation: the question alone, greedy, until a line ends or the model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.gates.base import Decision
from errata.generation.chat import render_prompt, tokenize_prompts
from errata.generation.request import read_request
from errata.generation.token_writer import AnswerWriter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Decisions = Sequence[Decision | None]
Generate = Callable[..., tuple["torch.Tensor", Decisions]]
"""Takes what ``generate`` takes, returns sequences and, of a pipeline, each row's decision."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer.

    :param ids: its tokens, without the one that ends it.
    :param text: the same up to its first line end.
    :param fired: ids of the edits that governed the question, best first; with the file and line
        where they have one.
    :param route: who answered.
    """

    ids: tuple[int, ...]
    text: str
    fired: tuple[str, ...] = ()
    route: str = "base"

    @property
    def hit(self) -> bool:
        """Whether an edit governed the question."""
        return bool(self.fired)


class Asker:
    """Asks questions freely, always in the batches they were given in.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param new_tokens: most tokens of an answer.
    :param batch: most questions in a batch.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        new_tokens: int,
        batch: int,
    ) -> None:
        self.base, self.tokenizer = base, tokenizer
        self.new_tokens, self.batch = new_tokens, batch
        self._writer = AnswerWriter(tokenizer)
        self._breaks = line_ends(tokenizer)
        call = read_request(base, None, {"do_sample": False})
        self._pad, self._ends = call.pad_token_id, frozenset(call.eos_token_ids)

    def alone(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, Decisions]:
        """Generate by the base model as its weights are now."""
        output = self.base.generate(*arguments, **options)
        return output, [None] * len(output)

    def ask(self, questions: Sequence[str], generate: Generate | None = None) -> list[Said]:
        """Return the answers, in order.

        :param questions: as a user would type them.
        :param generate: answers; by default the base model.
        """
        found: list[Said] = []
        for start in range(0, len(questions), self.batch):
            found += self._asked(questions[start : start + self.batch], generate or self.alone)
        return found

    def continued(
        self, question: str, generate: Generate | None, tokens: int, seed: int
    ) -> str | None:
        """Return a prompt with its continuation, sampled among the 5 likeliest tokens.

        As CounterFact's generations are made (Meng et al. 2022): no end before ``tokens`` tokens.
        None where an edit fired: a stored answer is no running text.

        :param question: the prompt.
        :param generate: continues; by default the base model.
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
            output, decisions = (generate or self.alone)(
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

    def _asked(self, questions: Sequence[str], generate: Generate) -> list[Said]:
        import torch

        ids, mask = self._encoded(questions)
        start = ids.shape[1] if self._causal else 1
        with torch.no_grad():
            output, decisions = generate(
                ids, attention_mask=mask, do_sample=False, num_beams=1,
                max_new_tokens=self.new_tokens, pad_token_id=self._pad,
                stopping_criteria=[_LineEnd(self._breaks, start)],
            )  # fmt: skip
        rows = [self._trimmed(row) for row in output[:, start:].tolist()]
        return [self._said(row, decision) for row, decision in zip(rows, decisions, strict=True)]

    def _trimmed(self, row: Sequence[int]) -> tuple[int, ...]:
        for i, token in enumerate(row):
            if token in self._ends or token == self._pad:
                return tuple(row[:i])
        return tuple(row)

    def _said(self, row: tuple[int, ...], decision: Decision | None) -> Said:
        lines = self._writer.decode(row).strip().splitlines()
        text = lines[0].strip() if lines else ""
        if decision is None:
            return Said(row, text)
        fired = tuple(
            f"{edit.id} ({edit.location})" if edit.location else edit.id for edit in decision.fired
        )
        return Said(row, text, fired, decision.route)


def line_ends(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of the tokens that hold a line end."""
    # Byte-level vocabularies write a line end as Ċ, those with a byte fallback as <0x0A>.
    marks = ("\n", "Ċ")
    return frozenset(
        number
        for token, number in tokenizer.get_vocab().items()
        if token == "<0x0A>" or any(mark in token for mark in marks)
    )


class _LineEnd:
    """Stops a row at its first line end, once something else was said.

    :param breaks: ids of tokens that hold a line end.
    :param start: where the answers begin.
    """

    def __init__(self, breaks: frozenset[int], start: int) -> None:
        self.breaks, self.start = breaks, start

    def __call__(self, ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        """Tell of each row whether it has ended.

        :param ids: prompts and answers so far, int64 [rows, tokens].
        :param scores: not needed.
        """
        import torch

        new = ids[:, self.start :]
        known = torch.tensor(sorted(self.breaks), device=ids.device, dtype=ids.dtype)
        broken = torch.isin(new, known)
        if not new.shape[1]:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return broken[:, -1] & (~broken).any(1)
