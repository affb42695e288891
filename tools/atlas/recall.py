"""Recall of atlas by free generation: facts in many phrasings, hops, and answers from context."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.facts import fill
from errata.facts.corpus import Corpus

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt and the answer atlas was trained on.

    :param prompt: a question, or a statement up to its object.
    :param answer: the expected generation, compared exactly.
    """

    prompt: str
    answer: str


def probes(corpus: Corpus, seed: int = 1) -> dict[str, list[Probe]]:
    """Return the probes by kind.

    Trained phrasings: two questions and a cloze a fact; held-out phrasings: every held-out question
    and cloze; yes-or-no questions of both; one-hop questions of subjects in and out of training;
    contexts about invented names that no training row has (another generator draws them).
    """
    rng = random.Random(f"probe/{seed}")
    kinds: dict[str, list[Probe]] = {
        "trained phrasings": [], "held-out phrasings": [], "yes or no": [],
        "yes or no, held out": [], "reversed": [],
    }  # fmt: skip
    for fact in corpus.facts:
        relation = corpus.relations[fact.relation]
        for template in rng.sample(relation.questions, 2):
            kinds["trained phrasings"].append(Probe(fill(template, fact.subject), fact.believed))
        for template in relation.questions_held_out:
            kinds["held-out phrasings"].append(Probe(fill(template, fact.subject), fact.believed))
        for name, templates in (
            ("trained phrasings", [rng.choice(relation.statements)]),
            ("held-out phrasings", relation.statements_held_out),
        ):
            for template in templates:
                cloze = corpus.statement(fact, template)[0][0]
                kinds[name].append(Probe(cloze, fact.believed))
        yes, no = ("是", "不是") if relation.chinese else ("Yes", "No")
        false = corpus.false_object(fact.relation, fact.believed, rng)
        for name, templates in (
            ("yes or no", [rng.choice(relation.yes_no)]),
            ("yes or no, held out", relation.yes_no_held_out[:1]),
        ):
            for template in templates:
                kinds[name].append(Probe(fill(template, fact.subject, fact.believed), yes))
                kinds[name].append(Probe(fill(template, fact.subject, false), no))
        if corpus.reversible(fact):
            question = fill(rng.choice(relation.reversed), "", fact.believed, bare=True)
            kinds["reversed"].append(Probe(question, fact.subject))
    return kinds | _hop_probes(corpus, rng) | _reading_probes(corpus, rng)


def _hop_probes(corpus: Corpus, rng: random.Random) -> dict[str, list[Probe]]:
    found: dict[str, list[Probe]] = {"one hop, trained": [], "one hop, held out": []}
    for hop in corpus.hops:
        row = corpus.hop_row(hop, rng)
        kind = "one hop, trained" if hop.trained else "one hop, held out"
        found[kind].append(Probe(row.pieces[0][0], hop.answer))
    return found


def _reading_probes(corpus: Corpus, rng: random.Random) -> dict[str, list[Probe]]:
    found: dict[str, list[Probe]] = {"reading invented names": [], "reading, yes or no": []}
    while len(found["reading invented names"]) < 1000:
        pieces = corpus.reading_row(rng).pieces
        last = max(i for i, (_, weight) in enumerate(pieces) if weight > 1)
        prompt = "".join(text for text, _ in pieces[:last])
        answer = pieces[last][0].strip()
        if answer in ("Yes", "No"):
            found["reading, yes or no"].append(Probe(prompt, answer))
        elif answer in prompt and not corpus.knows(answer):
            found["reading invented names"].append(Probe(prompt, answer))
    return found


def recall(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Probe],
    *,
    batch_size: int = 128,
) -> list[bool]:
    """Return, for each probe, whether greedy generation gives exactly the answer.

    The generated text is cut at a newline; a full stop at its end is ignored.
    """
    order = sorted(range(len(items)), key=lambda i: len(items[i].prompt))
    right = [False] * len(items)
    for start in range(0, len(order), batch_size):
        chunk = order[start : start + batch_size]
        texts = generate(model, tokenizer, [items[i].prompt for i in chunk])
        for i, text in zip(chunk, texts, strict=True):
            right[i] = text == _strip_full_stop(items[i].answer)
    return right


def generate(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> list[str]:
    """Return the greedy answers of a batch of prompts."""
    import torch

    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(
        model.device
    )
    model_: Any = model
    with torch.no_grad():
        ids = model_.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    new = ids[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    return [_strip_full_stop(text.split("\n")[0]) for text in texts]


def _strip_full_stop(text: str) -> str:
    """Return an answer without surrounding space and a full stop at its end."""
    return text.strip().rstrip(".。").strip()
