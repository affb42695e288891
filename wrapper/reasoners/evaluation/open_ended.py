"""Open-ended requests that name a fact's subject: how often the answer states what it corrects."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any

from errata.cache.storage.tables import read_table
from errata.facts import FactSource
from errata.facts.table import Split
from errata.generation.chat import PromptReader
from errata.generation.judge import names
from errata.intervals import Rate, rate
from errata.reasoners.background import BackgroundReasoner
from errata.reasoners.base import Reasoner, answer_prompts
from errata.reasoners.data.draws import EditDrawer
from errata.reasoners.data.examples import ReasonerExample
from errata.reasoners.data.groups import english
from errata.reasoners.evaluation.chat import AnswerFile, KeptReasoner
from errata.reasoners.prompts import Prompter
from errata.reasoners.unedited import UneditedReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

OPEN_ENDED = "open-ended request"
MAX_NEW_TOKENS = 48
"""Of an answer: some three sentences."""


def open_ended_examples(
    source: FactSource, count: int, seed: int = 0, split: Split = "test"
) -> list[ReasonerExample]:
    """Return requests such as "Tell me about Kazakhstan", each with an edit about its subject.

    :param source: facts and sentences; a subject is asked about once.
    :param count: of the examples; fewer where there are no more subjects.
    :param seed: of the draws.
    :param split: of the subjects.
    """
    rng = random.Random(f"open ended/{seed}")
    requests = read_table("errata.reasoners.data", "statements.yaml")["open_ended"]
    drawer = OpenEndedDrawer(english(source), split, rng)
    found: dict[str, ReasonerExample] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        one = drawer.example(rng.choice(requests))
        if one is not None:
            found.setdefault(one.answer or "", one)
    return list(found.values())


class OpenEndedDrawer(EditDrawer):
    """Draws edits, with requests about their subjects."""

    def example(self, request: str) -> ReasonerExample | None:
        """Return a request about the subject of a drawn edit; the subject is its ``answer``.

        :param request: with ``{s}`` in the place of the subject.
        """
        change = self._change()
        if change is None:
            return None
        subject, old = change.fact.subject, change.fact.believed
        if names(subject, old) or names(change.target, old):
            return None
        edit = self._edit(change)
        return ReasonerExample(OPEN_ENDED, (edit,), request.format(s=subject), subject, old=old)


def open_ended_rates(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[ReasonerExample],
    kept: AnswerFile,
) -> dict[str, Rate]:
    """Return how often an answer states the old object, with ``mentions`` off and ``context``.

    :param base: a chat model.
    :param tokenizer: its tokenizer.
    :param examples: as :func:`open_ended_examples` draws them.
    :param kept: where answers are kept.
    """
    import torch

    generation: Any = copy.deepcopy(base.generation_config)
    generation.do_sample, generation.num_beams, generation.num_return_sequences = False, 1, 1
    generation.max_new_tokens = MAX_NEW_TOKENS
    reader, prompter = PromptReader(tokenizer), Prompter(tokenizer)
    ids = [torch.tensor([prompter.query_ids(one.query)]) for one in examples]
    prompts = [reader.read(row, None)[0] for row in ids]
    reasoners: dict[str, Reasoner] = {
        "off": UneditedReasoner(base, tokenizer), "context": BackgroundReasoner(base, tokenizer),
    }  # fmt: skip
    found = {}
    for name, reasoner in reasoners.items():
        once = KeptReasoner(f"mentions {name}", reasoner, kept)
        edits = [one.edits for one in examples]
        replies = answer_prompts(once, prompts, edits, generation)
        found[name] = rate(
            [names(row[0].text, one.old) for row, one in zip(replies, examples, strict=True)]
        )
    return found
