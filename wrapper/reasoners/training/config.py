"""Settings of a reasoner's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from errata.reasoners.data.examples import KINDS, LOCALITY, SAME_ANSWER_LOCALITY, SHARES

SHORT_FORM = {"system": "Facts:\n{notes}", "user": "{query}", "note": "{edit}"}
"""The prompts of a chat model's adapter: the edits in the place of the template's default system
message. Trained for them, it needs no instruction; a prompt has some 25 tokens beside the edit."""

Kind = Literal["adapter", "model"]

SETTINGS_OF_0_1 = {
    "batch": "batch_size", "rate": "learning_rate", "every": "eval_steps", "each": "eval_examples",
}  # fmt: skip
"""Names of settings in checkpoints of errata 0.1, each with its name now."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a reasoner is trained.

    :param kind: a LoRA adapter on the base model, or a whole separate model.
    :param seed: of all draws.
    :param steps: at most.
    :param batch_size: examples a step.
    :param learning_rate: at its peak.
    :param warmup: steps.
    :param rank: of the adapter; its alpha is twice that.
    :param eval_steps: steps between evaluations.
    :param patience: evaluations without a gain before stopping.
    :param eval_examples: tune examples of each kind in an evaluation.
    :param chat: train for a chat model: answers are sentences, the edits stand in the system
        message, and a step has groups of examples that share their edits, ``batch_size`` of them.
    :param decision_weight: of a chat model's loss of the decision whether an edit governs the
        query, beside 1 of the answers' tokens: without it, one token in ten decides.
    """

    kind: Kind = "adapter"
    seed: int = 0
    steps: int = 6000
    batch_size: int = 32
    learning_rate: float = 1.2e-3
    warmup: int = 100
    rank: int = 64
    eval_steps: int = 500
    patience: int = 4
    eval_examples: int = 60
    chat: bool = False
    decision_weight: float = 1.0

    @property
    def lora(self) -> dict[str, Any]:
        """Options of :class:`peft.LoraConfig`."""
        return {"r": self.rank, "lora_alpha": 2 * self.rank, "lora_dropout": 0.0}

    @property
    def shares(self) -> tuple[float, ...]:
        """Sampling weights of the kinds of examples, in the order of ``KINDS``.

        A separate model gets no locality examples: it is not called where no edit governs the
        query (SERAC, Mitchell et al. 2022, section 3.2), and lacks the base's knowledge.
        """
        separate = self.kind == "model"
        return tuple(
            0.0 if separate and kind in (LOCALITY, SAME_ANSWER_LOCALITY) else share
            for kind, share in zip(KINDS, SHARES, strict=True)
        )
