"""The probabilities of labels by the likelihood of their words, and how a patch changes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import LanguagePatch
from errata.cache.text.answer_match import same_answer
from errata.cache.text.normalize import needs_space
from errata.cache.text.then_clause import verbatim_answer
from errata.generation.chat import render_prompt
from errata.generation.request import AnswerWriter
from errata.reasoners.answer_logits import answer_logits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassifyConfig:
    """How a text is classified.

    :param prompt: what the model is asked, with ``{text}`` and ``{labels}``.
    :param note: what comes before it where a patch applies, with ``{consequence}``.
    :param chat: ask through the tokenizer's chat template, if it has one; otherwise the prompt is a
        text to go on with: ``"{text} It was"`` and labels whose words are "great" and "terrible".
    :param neutral: a text without content, whose probabilities are divided out (contextual
        calibration, Zhao et al. 2021): small models prefer one label whatever the text. None
        leaves them in.
    :param batch_size: prompts read at once.
    """

    prompt: str = '"{text}"\n\nWhich describes this best: {labels}? Answer with one of them.'
    note: str = "Note: {consequence}.\n\n"
    chat: bool = True
    neutral: str | None = "N/A"
    batch_size: int = 16


class LabelScorer:
    """Scores labels by the base model.

    :param model: the base model.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._writer = AnswerWriter(tokenizer)

    def probabilities(
        self, asked: Sequence[tuple[str, str]], labels: Sequence[str], config: ClassifyConfig
    ) -> Probabilities:
        """Return the probability of each label, float64 [n, labels], rows that sum to one.

        :param asked: a text and a patch's consequence each; an empty one for none.
        :param labels: two or more.
        :param config: how they are asked for.
        """
        prompts = [self._prompt(text, consequence, labels, config) for text, consequence in asked]
        scores = self._log_likelihoods(prompts, labels, config)
        if config.neutral is not None:
            neutral = [self._prompt(config.neutral, "", labels, config)]
            scores = scores - self._log_likelihoods(neutral, labels, config)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)

    def _prompt(
        self, text: str, consequence: str, labels: Sequence[str], config: ClassifyConfig
    ) -> str:
        listed = f"{', '.join(labels[:-1])} or {labels[-1]}"
        question = config.prompt.format(text=text, labels=listed)
        note = (
            config.note.format(consequence=consequence.strip().rstrip(".")) if consequence else ""
        )
        return render_prompt(note + question, self.tokenizer) if config.chat else note + question

    def _log_likelihoods(
        self, prompts: Sequence[str], labels: Sequence[str], config: ClassifyConfig
    ) -> Probabilities:
        """Return the sum of the logarithms of each label's tokens, float64 [prompts, labels]."""
        import torch

        chat = config.chat and bool(getattr(self.tokenizer, "chat_template", None))
        ids = [list(self.tokenizer(p, add_special_tokens=not chat)["input_ids"]) for p in prompts]
        words = [
            [self._writer.encode(f" {label}" if spaced else label) for label in labels]
            for spaced in (not chat and needs_space(prompt, labels[0]) for prompt in prompts)
        ]
        # labels of one token have one prediction in common
        single = all(len(word) == 1 for several in words for word in several)
        found: list[list[float]] = []
        for start in range(0, len(prompts), config.batch_size):
            places = range(start, min(start + config.batch_size, len(prompts)))
            rows = [(ids[i], word) for i in places for word in words[i][: 1 if single else None]]
            with torch.no_grad():
                logits = answer_logits(self.model, rows).log_softmax(-1)
            if single:
                pairs = zip(logits, places, strict=True)
                found += [[float(row[word[0]]) for word in words[i]] for row, i in pairs]
                continue
            targets = torch.tensor([token for _, word in rows for token in word])
            chosen = logits.gather(1, targets[:, None].to(logits.device))[:, 0]
            sums = [float(part.sum()) for part in chosen.split([len(word) for _, word in rows])]
            found += [sums[at : at + len(labels)] for at in range(0, len(sums), len(labels))]
        return np.array(found, dtype=np.float64)


def fixed_label(patch: LanguagePatch, labels: Sequence[str]) -> int | None:
    """Return the label that a consequence fixes ("the sentiment is positive"), None for none.

    :param patch: an override patch names a label, a feature patch what to believe of the text.
    :param labels: the labels.
    """
    answer = verbatim_answer(patch.consequence)
    if answer is None:
        return None
    return next((at for at, label in enumerate(labels) if same_answer(answer, label)), None)


def mixed(base: Probabilities, given: Probabilities, gate: float) -> Probabilities:
    """Return g·P(y|x,q) + (1 − g)·P(y|x) (Murty et al. 2022, equation 1).

    :param base: P(y|x).
    :param given: P(y|x,q).
    :param gate: g, the probability that the patch's condition holds of the text.
    """
    return gate * given + (1.0 - gate) * base
