"""Evaluating reasoners of a chat model: free generation with the right edit given."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ErrataError
from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact
from errata.generation.chat import Prompt, PromptReader
from errata.generation.judge import names
from errata.intervals import Rate, rate
from errata.reasoners.base import (
    ConversationReasoner,
    FactWriter,
    Reasoner,
    Reply,
    answer_prompts,
    replies,
)
from errata.reasoners.data.examples import ONE_HOP, ReasonerExample
from errata.reasoners.evaluation.chat_examples import INSTRUCTION
from errata.reasoners.evaluation.judge import follows, right
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

BATCH = 32
MAX_NEW_TOKENS = 32

Examples = Mapping[str, Sequence[ReasonerExample]]


@dataclass(frozen=True, slots=True)
class ChatConfig:
    """How the answers of an evaluation are generated.

    :param batch_size: queries a batch.
    :param max_new_tokens: of an answer: a sentence or two.
    """

    batch_size: int = BATCH
    max_new_tokens: int = MAX_NEW_TOKENS


class AnswerFile:
    """Answers kept in a file of JSON lines, so that an interrupted evaluation goes on.

    :param path: the file; None keeps the answers in memory only.
    :raises ErrataError: the file is of another form.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        if path is not None and path.is_file():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    key, answer = json.loads(line)
                    self._known[key] = answer
                except (ValueError, TypeError) as error:
                    raise ErrataError(
                        f"{path}:{number}: expected an answer of `errata reasoner eval`, found "
                        f"{line[:60]!r}; name another file"
                    ) from error

    def get(self, key: str) -> str | None:
        """Return a kept answer, None where there is none."""
        return self._known.get(key)

    def add(self, answers: Mapping[str, str]) -> None:
        """Keep answers, by key."""
        self._known.update(answers)
        if self._path is not None:
            lines = [json.dumps(pair, ensure_ascii=False) + "\n" for pair in answers.items()]
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(lines)


class KeptReasoner:
    """A reasoner whose answers are kept: asked again, it does not generate.

    :param name: of the reasoner, and of what else its answers depend on.
    :param reasoner: answers what is not kept.
    :param answers: where they are kept.
    :param batch_size: queries a call, those of similar length together.
    """

    def __init__(
        self, name: str, reasoner: Reasoner, answers: AnswerFile, batch_size: int = BATCH
    ) -> None:
        self.name, self.reasoner, self.batch_size = name, reasoner, batch_size
        self._answers = answers

    def supports(self, edit: Edit) -> bool:
        """Return whether the reasoner supports the edit."""
        return self.reasoner.supports(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return one answer for each query."""

        def ask(rows: Sequence[int]) -> list[str]:
            asked = [queries[row] for row in rows], [edits[row] for row in rows]
            return [texts[0] for texts in self.reasoner.answer(*asked, generation)]

        keys = [self._key("", query, each) for query, each in zip(queries, edits, strict=True)]
        return [[text] for text in self._kept(keys, ask)]

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return one answer to the query of each prompt."""
        reasoner = self.reasoner
        if not isinstance(reasoner, ConversationReasoner):
            return replies(self.answer([prompt.query for prompt in prompts], edits, generation))

        def ask(rows: Sequence[int]) -> list[str]:
            asked = [prompts[row] for row in rows], [edits[row] for row in rows]
            return [row[0].text for row in reasoner.answer_prompts(*asked, generation)]

        pairs = zip(prompts, edits, strict=True)
        keys = [self._key("prompt", prompt.text, each) for prompt, each in pairs]
        return replies([[text] for text in self._kept(keys, ask)])

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact, empty where the reasoner writes none."""
        reasoner = self.reasoner
        if not isinstance(reasoner, FactWriter):
            return [""] * len(facts)

        def ask(rows: Sequence[int]) -> list[str]:
            return reasoner.write_facts([facts[row] for row in rows], generation)

        return self._kept([self._key("sentence", "", [fact]) for fact in facts], ask)

    def _kept(self, keys: Sequence[str], ask: Callable[[Sequence[int]], list[str]]) -> list[str]:
        """Return the answers of keys; those that are not kept are asked for, by row."""
        rows = {key: row for row, key in enumerate(keys) if self._answers.get(key) is None}
        order = sorted(rows.values(), key=lambda row: len(keys[row]))
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            found = zip(chunk, ask(chunk), strict=True)
            self._answers.add({keys[row]: text for row, text in found})
        return [self._answers.get(key) or "" for key in keys]

    def _key(self, kind: str, query: str, edits: Sequence[Edit]) -> str:
        kinds = [kind] if kind else []
        return json.dumps([self.name, *kinds, [context(edit) for edit in edits], query])


class ChatEvaluation:
    """Measures reasoners on the same examples.

    :param base: the base model, whose generation config is used, greedily.
    :param tokenizer: its tokenizer; instructions are followed in a chat.
    :param unedited: answers by the base model without any edit.
    :param examples: by row; of one hop and of instructions those remain that the base masters
        without errata.
    :param per_row: examples of each row at most.
    :param config: how answers are generated.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        unedited: Reasoner,
        examples: Examples,
        per_row: int,
        config: ChatConfig = ChatConfig(),
    ) -> None:
        self._generation = copy.deepcopy(base.generation_config)
        self._generation.do_sample, self._generation.num_beams = False, 1
        self._generation.num_return_sequences = 1
        self._generation.max_new_tokens = config.max_new_tokens
        self._unedited, self._tokenizer = unedited, tokenizer
        self.examples = {
            row: self._mastered(row, found)[:per_row] for row, found in examples.items()
        }

    def _mastered(self, row: str, examples: Sequence[ReasonerExample]) -> Sequence[ReasonerExample]:
        """Return the examples of which the base answers what has to be known."""
        if row not in (ONE_HOP, INSTRUCTION):
            return examples
        known = [one.known or ("", "") for one in examples]
        answers = self._asked(self._unedited, [question for question, _ in known], examples)
        check: Callable[[str, str], bool] = follows if row == INSTRUCTION else names
        return [
            one
            for one, answer, (_, wanted) in zip(examples, answers, known, strict=True)
            if check(answer, wanted)
        ]

    def rates(self, reasoner: Reasoner, limit: int | None = None) -> dict[str, Rate]:
        """Return the rate of right answers of each row whose edits the reasoner supports.

        :param reasoner: the reasoner.
        :param limit: examples of each row at most.
        """
        found = {}
        for row, examples in self.examples.items():
            chosen = examples[:limit]
            if chosen and all(reasoner.supports(edit) for one in chosen for edit in one.edits):
                found[row] = rate(self._outcomes(reasoner, row, chosen))
        return found

    def _outcomes(
        self, reasoner: Reasoner, row: str, examples: Sequence[ReasonerExample]
    ) -> list[bool]:
        if row == INSTRUCTION:
            answers = self._instructed(reasoner, examples)
            marks = [one.answer or "" for one in examples]
            return [follows(text, mark) for text, mark in zip(answers, marks, strict=True)]
        answers = self._asked(reasoner, [one.query for one in examples], examples)
        two = [one for one in examples if one.false_query]
        texts = self._asked(reasoner, [one.false_query or "" for one in two], two)
        false = dict(zip(map(id, two), texts, strict=True))
        local = [one for one in examples if one.answer is None]
        own = self._asked(self._unedited, [one.query for one in local], local)
        base = dict(zip(map(id, local), own, strict=True))
        return [
            right(one, text, false.get(id(one), ""), base.get(id(one), ""))
            for one, text in zip(examples, answers, strict=True)
        ]

    def _instructed(self, reasoner: Reasoner, examples: Sequence[ReasonerExample]) -> list[str]:
        """Return the answers to queries in a chat, where the reasoner reads one."""
        import torch

        reader, prompter = PromptReader(self._tokenizer), Prompter(self._tokenizer)
        ids = [torch.tensor([prompter.query_ids(one.query)]) for one in examples]
        prompts = [reader.read(row, None)[0] for row in ids]
        edits = [one.edits for one in examples]
        found = answer_prompts(reasoner, prompts, edits, self._generation)
        return [row[0].text for row in found]

    def _asked(
        self, reasoner: Reasoner, queries: Sequence[str], examples: Sequence[ReasonerExample]
    ) -> list[str]:
        edits = [one.edits for one in examples]
        return [texts[0] for texts in reasoner.answer(queries, edits, self._generation)]
