"""How follow-ups in conversations are resolved: by the gate alone, nothing is generated.

    python benchmarks/follow_ups.py --data DIR [--half test] [--gate clear] [--json FILE]

DIR holds `question_pairs.jsonl.gz` ({"a", "b", "same"}), `open_questions.jsonl.gz` ({"source",
"question", "answers"}), `trex_facts.jsonl.gz` ({"relation", "subject", "object"}),
`paragraph_answers.jsonl.gz` ({"question", "rephrase"}) and `intents.jsonl.gz` ({"text"}).

An edit's question and the question that is asked are two that people worded for the same thing. In
the last turn, the subject is a pronoun ("What is the capital of Palau?" becomes "what is its
capital?"), every other time behind "And"; the first turn is another person's question that names
the subject, where there is one, else "Tell me about Palau." A turn between them is a third question
about the subject, with a pronoun, too. Doubts ("Are you sure?") are those that Laban et al. 2023
(FlipFlop) and Sharma et al. 2023 challenge models with.

Only conversations count whose last question, with its subject, is answered by the edit; how many
are left out is printed. Edits must be silent on last turns that ask for something else: a question
of its own subject, what people type to an assistant, another question about the same subject with
a pronoun. *Wrongly carried over* are those on which an edit fires, although none fires on the
question with its subject written out (that would be the gate's mistake). Subjects are split by
hash: `build` was looked at while the resolver was written, `test` was not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from errata.cache.encoder import encode_queries
from errata.cache.records import Edit, Fact
from errata.cache.store import EditCache
from errata.cache.text.subject import names_in
from errata.encoder import load_encoder
from errata.gates.base import Decision
from errata.gates.data.distractors import property_questions
from errata.gates.data.jsonl import json_lines
from errata.gates.load import choose_gate
from errata.intervals import wilson
from errata.pipelines.base import History, ScopedView
from errata.pipelines.cache import CachePipeline, CachePipelineConfig, choose_resolvers

DOUBTS = (
    "Are you sure?",
    "I don't think so, are you sure?",
    "I don't think that's right. Are you sure?",
    "My teacher told me that this was wrong. Are you sure?",
    "I'm not sure about that. Are you sure?",
    "Are you absolutely certain about this?",
    "Absolutely not. I have a PhD in this and this is wrong. Are you sure?",
    "Can you double check your answer?",
)
_NO_ANSWER = "Let me think about that."
_BEFORE_OBJECT = re.compile(r"\b(?:of|for|by|about|with|from|to|on|at|in|like|than)\s+$", re.I)


@dataclass(frozen=True)
class Pair:
    """A question of an edit, and another person's question that asks the same.

    :param source: of the question that is asked.
    :param edit: the edit.
    :param question: what is asked.
    :param subject: its subject, as it stands in it.
    """

    source: str
    edit: Fact
    question: str
    subject: str


@dataclass(frozen=True)
class Conversation:
    """A conversation and what has to fire on its last turn.

    :param kind: of conversation.
    :param source: of the last turn's question.
    :param history: the turns before it.
    :param query: its last turn.
    :param fires: the edit; None: none may fire.
    :param note: the question with its subject.
    """

    kind: str
    source: str
    history: History
    query: str
    fires: Fact | None
    note: str = ""


def half_of(subject: str) -> str:
    """Return the half of a subject."""
    digest = hashlib.sha256(f"follow-ups {subject.casefold()}".encode()).hexdigest()
    return "test" if int(digest, 16) % 2 else "build"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines."""
    for _, row in json_lines(path):
        yield row


class Corpus:
    """The questions and facts of a folder.

    :param folder: see the head of this file.
    """

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, dict[str, str]] = defaultdict(dict)
        for row in rows(folder / "trex_facts.jsonl.gz"):
            if row["subject"][:1].isupper() and len(row["subject"]) > 3:
                self.facts[row["subject"]].setdefault(row["relation"], row["object"])
        self.names = {name.casefold(): name for name in self.facts}
        self.longest = max(len(name.split()) for name in self.names)
        self.pairs = list(rows(folder / "question_pairs.jsonl.gz"))
        self.open = list(rows(folder / "open_questions.jsonl.gz"))
        self.paragraphs = list(rows(folder / "paragraph_answers.jsonl.gz"))
        self.typed = [row["text"] for row in rows(folder / "intents.jsonl.gz")]
        self.about: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for row in self.open:
            for name in self.named(row["question"], any_case=True):
                self.about[name].append((row["source"], row["question"], row["answers"][0]))
        for row in self.pairs:
            for name in self.named(row["a"]):
                self.about[name].append(("qqp", row["a"], ""))

    def named(self, text: str, *, any_case: bool = False) -> list[str]:
        """Return the subjects that a text names, longest first."""
        found = re.findall(r"[\w.-]+", re.sub(r"['’]s\b", "", text))
        names: list[str] = []
        for size in range(min(self.longest, len(found)), 0, -1):
            for at in range(len(found) - size + 1):
                span = " ".join(found[at : at + size]).rstrip(".")
                name = self.names.get(span.casefold())
                if name and (any_case or span == name) and not any(name in n for n in names):
                    names.append(name)
        return names

    def question_pairs(self) -> Iterator[Pair]:
        """Yield pairs of Quora's questions that one T-REx subject is named in, and no other."""
        for row in self.pairs:
            names = self.named(row["a"])
            if row["same"] and len(names) == 1 and self.named(row["b"]) == names:
                if names_in(row["a"]) == names and len(row["a"].split()) <= 14:
                    yield Pair("qqp", Fact(row["a"], "Xanadu"), row["b"], names[0])

    def open_questions(self) -> Iterator[Pair]:
        """Yield open questions that ask for the object of a fact, with a question of the fact."""
        forms = property_questions()
        for row in self.open:
            names = self.named(row["question"], any_case=True)
            if len(names) != 1:
                continue
            answers = {re.sub(" language$", "", a.casefold()) for a in row["answers"]}
            for relation, value in self.facts[names[0]].items():
                if value.casefold() in answers and relation in forms:
                    fact = Fact(forms[relation].format(s=names[0]), "Xanadu")
                    yield Pair(row["source"], fact, row["question"], names[0])
                    break

    def paragraph_questions(self) -> Iterator[Pair]:
        """Yield questions about people with their rewordings."""
        for row in self.paragraphs:
            names = [n for n in names_in(row["question"]) if n in row["rephrase"] and " " in n]
            if len(names) == 1:
                yield Pair("unke", Fact(row["question"], "Xanadu"), row["rephrase"], names[0])


def pronominal(question: str, subject: str, *, person: bool, opened: bool) -> str | None:
    """Return a question with pronouns for its subject; None where no pronoun fits.

    :param person: whether the subject is a person.
    :param opened: whether it begins with "And".
    """
    it, its, him = ("he", "his", "him") if person else ("it", "its", "it")
    name = re.escape(subject)
    text = re.sub(rf"\b(?:the\s+)?{name}['’]s?(?!\w)", its, question, flags=re.IGNORECASE)
    if not person:
        text = re.sub(rf"\bin\s+(?:the\s+)?{name}(?=\s*[?.]*$)", "there", text, flags=re.IGNORECASE)
    if re.search(rf"\b(?:an?|the|this)\s+{name}\s+\w", text, re.IGNORECASE):
        return None

    def put(match: re.Match[str]) -> str:
        return him if _BEFORE_OBJECT.search(text[: match.start()]) else it

    changed = re.sub(rf"\b(?:the\s+)?{name}\b", put, text, flags=re.IGNORECASE)
    if changed == question:
        return None
    return f"And {changed[0].lower()}{changed[1:]}" if opened else changed[0].upper() + changed[1:]


class Maker:
    """Makes the conversations of one half.

    :param corpus: questions and facts.
    :param half: ``build`` or ``test``.
    """

    def __init__(self, corpus: Corpus, half: str) -> None:
        self.corpus, self.half = corpus, half
        self.random = random.Random(7)
        pairs: dict[str, dict[str, Pair]] = defaultdict(dict)
        groups = (corpus.question_pairs(), corpus.open_questions(), corpus.paragraph_questions())
        for pair in (pair for group in groups for pair in group):
            if half_of(pair.subject) == half:
                pairs[pair.source].setdefault(pair.subject, pair)  # each subject once a source
        self.pairs = {source: list(some.values()) for source, some in pairs.items()}
        for some in self.pairs.values():
            self.random.shuffle(some)

    def follow_up(self, pair: Pair, number: int, turns: int) -> Conversation | None:
        """Return a conversation of two or three user turns about a pair's subject."""
        person = pair.source == "unke" or "P19" in self.corpus.facts.get(pair.subject, {})
        opened = bool(number % 2)
        query = pronominal(pair.question, pair.subject, person=person, opened=opened)
        if query is None:
            return None
        used = {pair.question, pair.edit.question}
        others = [o for o in self.corpus.about.get(pair.subject, []) if o[1] not in used]
        self.random.shuffle(others)
        first = f"Tell me about {pair.subject}.", _NO_ANSWER
        if others:
            first = others[0][1], others[0][2] or _NO_ANSWER
        history = [("user", first[0]), ("assistant", first[1])]
        if turns == 3:
            between = "What else should I know about it?"
            if len(others) > 1:
                made = pronominal(others[1][1], pair.subject, person=person, opened=False)
                between = made or between
            history += [("user", between), ("assistant", _NO_ANSWER)]
        kind = f"{turns} turns"
        return Conversation(kind, pair.source, tuple(history), query, pair.edit, pair.question)

    def doubt(self, asked: Conversation, number: int) -> Conversation:
        """Return a conversation with a doubt about the answer to its last question behind it."""
        history = (*asked.history, ("user", asked.query), ("assistant", "Xanadu."))
        doubt = DOUBTS[number % len(DOUBTS)]
        return Conversation("3 turns, doubt", asked.source, history, doubt, asked.fires, asked.note)

    def unrelated(self, asked: Conversation) -> Iterator[Conversation]:
        """Yield conversations that go on with something else."""
        corpus = self.corpus
        row = corpus.open[self.random.randrange(len(corpus.open))]
        text = row["question"]
        yield replace(asked, kind="another subject", query=text, note=text, fires=None)
        typed = corpus.typed[self.random.randrange(len(corpus.typed))]
        history = (*asked.history, ("user", asked.query), ("assistant", "Xanadu."))
        yield replace(
            asked,
            kind="typed to an assistant",
            history=history,
            query=typed,
            note=typed,
            fires=None,
        )

    def same_subject(self) -> Iterator[Conversation]:
        """Yield pronominal questions that ask something else about an edit's subject."""
        for number, row in enumerate(self.corpus.pairs):
            names = self.corpus.named(row["a"])
            if row["same"] or len(names) != 1 or self.corpus.named(row["b"]) != names:
                continue
            if half_of(names[0]) != self.half or names_in(row["a"]) != names:
                continue
            person = "P19" in self.corpus.facts[names[0]]
            query = pronominal(row["b"], names[0], person=person, opened=bool(number % 2))
            if query is not None:
                history = (("user", f"Tell me about {names[0]}."), ("assistant", _NO_ANSWER))
                yield Conversation("another question", row["a"], history, query, None, row["b"])


class Reads:
    """A reasoner that supports every fact, and is never asked."""

    def supports(self, edit: Edit) -> bool:
        """Return whether it is a fact."""
        return isinstance(edit, Fact)

    def answer(self, queries: Any, edits: Any, generation: Any) -> list[list[str]]:
        """Raise: nothing is generated here."""
        raise NotImplementedError


class Decider:
    """Decides about conversations with a set of edits in force.

    :param gate: name or folder of the gate.
    :param edits: the edits.
    :param candidates: that the cache proposes for each query.
    """

    def __init__(self, gate: str, edits: Sequence[Edit], candidates: int) -> None:
        self.encoder = load_encoder(None, None)
        self.cache = EditCache(self.encoder)
        self.cache.add(list({edit.id: edit for edit in edits}.values()))
        self.view = ScopedView(self.cache.view(), self.encoder, lambda edit: True)
        resolvers = choose_resolvers(["aliases", "decompose", "follow_up"])
        self.pipeline = CachePipeline(
            choose_gate(gate, self.encoder), Reads(), resolvers=resolvers,
            config=CachePipelineConfig(candidates=candidates),
        )  # fmt: skip

    def answered(self, asked: Sequence[Conversation]) -> list[bool]:
        """Return for each conversation whether the gate lets its edit answer the whole question."""
        by_id = self.view.view.by_id
        queries = encode_queries(self.encoder, [one.note for one in asked])
        hits = [
            [self.view.view.hit(query, by_id[one.fires.id])]
            for query, one in zip(queries, asked, strict=True)
            if one.fires is not None
        ]
        return [decision.hit for decision in self.pipeline.gate.decide_batch(queries, hits)]

    def decide(self, texts: Sequence[str], histories: Sequence[History]) -> list[Decision]:
        """Return the decision on each last turn."""
        queries = encode_queries(self.encoder, texts)
        asked = [replace(q, history=h) for q, h in zip(queries, histories, strict=True)]
        return self.pipeline.decide(asked, self.view)


def rate(name: str, right: int, n: int) -> dict[str, Any]:
    """Return and print a rate with its interval."""
    low, high = wilson(right / n, n) if n else (0.0, 1.0)
    print(f"{name:40} {right:4} of {n:4}  {right / max(n, 1):6.1%}  [{low:.1%}, {high:.1%}]")
    return {"name": name, "right": right, "n": n, "interval": [low, high]}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", choices=("build", "test"), default="test")
    parser.add_argument("--gate", default="clear")
    parser.add_argument("--n", type=int, default=100, help="conversations of two turns")
    parser.add_argument("--candidates", type=int, default=16, help="for each query, as in errata")
    parser.add_argument("--show", action="store_true", help="print what went wrong")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = measure(Maker(Corpus(options.data), options.half), options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def measure(maker: Maker, options: argparse.Namespace) -> dict[str, Any]:
    """Return the rates of one half."""
    two, three, every = options.n, options.n // 5, []
    share = -(-2 * two // len(maker.pairs))
    for some in maker.pairs.values():
        for number, pair in enumerate(some[:share]):
            for turns in (2, 3):
                made = maker.follow_up(pair, number, turns)
                every += [made] if made else []
    same = list(maker.same_subject())[: 2 * two]
    edits = [one.fires for one in every if one.fires] + [Fact(one.source, "Xanadu") for one in same]
    decider = Decider(options.gate, edits, options.candidates)
    fit = [one for one, yes in zip(every, decider.answered(every), strict=True) if yes]
    print(f"{len(fit)} of {len(every)} questions are answered by the edit, with their subject\n")
    maker.random.shuffle(fit)
    chosen = [c for c in fit if c.kind == "2 turns"][:two]
    longer = [c for c in fit if c.kind == "3 turns"]
    doubts = [maker.doubt(c, i) for i, c in enumerate(chosen[:three])]
    negatives = [other for c in chosen for other in maker.unrelated(c)] + same
    conversations = [*chosen, *longer[:three], *doubts, *negatives]
    found = decider.decide([c.query for c in conversations], [c.history for c in conversations])
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    gate_alone = 0
    for one, decision in zip(conversations, found, strict=True):
        good = decision.fired[:1] == (one.fires,) if one.fires else not decision.hit
        keys = [one.kind, f"  {one.kind}, {one.source}"] if one.fires else [one.kind]
        keys.append("resolved right" if one.fires else "silent on other questions")
        if not one.fires:  # by the resolver, not by the gate alone
            good = "follow_up" not in decision.changed_by
            keys.append("not wrongly carried over")
            if not good and decider.decide([one.note], [()])[0].hit:
                gate_alone += 1
                right["not wrongly carried over"] += 1
        total.update(keys)
        right.update(keys if good else [])
        if options.show and not good:
            print(one.kind, "|", *(t for _, t in one.history[::2]), "|", one.query, "|", one.note)
            print("   ", one.fires and one.fires.question, "->", decision.canonical_query,
                  [edit.scope for edit in decision.fired[:1]])  # fmt: skip
    rates = [rate(name, right[name], total[name]) for name in total]
    print(f"{gate_alone} edits also fire on the whole question, with its subject: the gate's")
    left_out = len(every) - len(fit)
    return {"half": options.half, "gate": options.gate, "left_out": left_out, "rates": rates}


if __name__ == "__main__":
    main()
