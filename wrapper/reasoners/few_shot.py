"""The prompted reasoner with demonstrations, as in IKE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import Demonstration

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

DEMONSTRATIONS: tuple[Demonstration, ...] = (
    (("Who is the mayor of Vellmoor? Ada Quint",), "Vellmoor's mayor is called what?", "Ada Quint"),
    (("Where does Tom Brannick work? Lyon",), "In which country does Tom Brannick work?", "France"),
    (("Who painted The Grey Door? Ines Maro",), "Did Karl Ott paint The Grey Door?", "No"),
    (("Which sport does Lena Holm play? tennis",), "What is the capital of Japan?", "Tokyo"),
)
"""One of each kind: a paraphrase, one hop, a yes-or-no question, an unrelated question."""


class FewShotReasoner(PromptedReasoner):
    """The prompted reasoner with four demonstrations before each query (IKE, Zheng et al. 2023).

    They are of invented people and places. For others, make a
    :class:`~errata.reasoners.prompted.PromptedReasoner` with ``demonstrations=``.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(base, tokenizer, DEMONSTRATIONS)
