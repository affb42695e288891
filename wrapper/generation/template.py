"""Chat templates: render a conversation, and read one back from its rendering."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from errata.gates.text import QUESTION_WORDS, starts_yes_no, words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = tuple[str, str]
"""Role and text of a message."""

_FIRST, _REPLY, _LAST, _SYSTEM = "errataFIRST", "errataREPLY", "errataLAST", "errataSYSTEM"

_LABEL = re.compile(r"[\W_]*[^\W\d_][\w'’-]*(?: [\w'’-]+){0,3}\s*[:：](?!/)[*_]*\s*")
"""``Question:``, ``**User question:**``, ``### Query:`` at the beginning of a line."""
_TAGS = re.compile(r"</?[\w-]+>")
_SENTENCES = re.compile(r"(?<=[.!?。？！])\s+")


@dataclass(frozen=True, slots=True)
class _Markers:
    """The texts around the turns of a rendered conversation.

    :param user: what precedes every user turn.
    :param end: what follows a user turn.
    :param closing: what follows the last one without a generation prompt.
    :param reply: what stands between a user turn and the reply.
    :param reply_end: what follows a reply.
    :param system: what surrounds a system turn that stands inside the first user turn, as in
        Llama 2; empty where it does not, or where nothing precedes it.
    """

    user: str
    end: str
    closing: str
    reply: str
    reply_end: str
    system: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class ReadTurn:
    """The last user turn of a rendered conversation.

    :param start: where its text begins.
    :param end: where it ends.
    :param history: the turns before it.
    """

    start: int
    end: int
    history: tuple[Turn, ...]


class ChatTemplate:
    """A tokenizer's chat template.

    What surrounds the turns is found by difference: conversations of sentinels are rendered with
    and without a reply, and with and without the generation prompt.

    :param tokenizer: the base model's, with a chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._in_parts, self._markers = False, None
        systems: tuple[tuple[Turn, ...], ...] = ((), (("system", _SYSTEM),))
        for self._in_parts, system in product((False, True), systems):
            # some templates raise without a system turn, or read contents as lists of parts
            try:
                self._markers = self._find_markers(system)
            except Exception:  # jinja's, or any that a template causes
                continue
            if self._markers is not None:
                return
        self._in_parts = False

    @property
    def readable(self) -> bool:
        """Whether turns can be found in what it renders."""
        return self._markers is not None

    def render(self, messages: Sequence[Mapping[str, Any]], *, prompted: bool = True) -> str:
        """Return the prompt of a conversation.

        :param messages: with texts or lists of parts as contents.
        :param prompted: whether the generation prompt follows.
        """
        text = self._tokenizer.apply_chat_template(
            [{**message, "content": self._content(message.get("content"))} for message in messages],
            tokenize=False, add_generation_prompt=prompted,
        )  # fmt: skip
        return str(text)

    def read(self, text: str) -> ReadTurn | None:
        """Return the last user turn in a rendered conversation; None where there is no user turn.

        :param text: with its special tokens.
        """
        markers = self._markers
        starts = (
            [] if markers is None else [m.end() for m in re.finditer(re.escape(markers.user), text)]
        )
        if markers is None or not starts:
            return None
        history: list[Turn] = []
        for start, following in pairwise(starts):
            turn = text[start : following - len(markers.user)]
            asked, _, reply = turn.partition(markers.reply)
            reply = reply.strip().removesuffix(markers.reply_end).strip()
            history += [("user", asked.partition(markers.end)[0].strip()), ("assistant", reply)]
        start, rest = starts[-1], text[starts[-1] :]
        end = rest.find(markers.end)
        turn = rest[:end] if end >= 0 else rest.removesuffix(markers.closing)
        before, after = markers.system
        if before and len(starts) == 1 and turn.lstrip().startswith(before):
            system, _, turn = turn.partition(after)
            start += len(system) + len(after)
        begin = start + len(turn) - len(turn.lstrip())
        return ReadTurn(begin, begin + len(turn.strip()), tuple(history))

    def _content(self, content: Any) -> Any:
        if isinstance(content, str) and self._in_parts:
            return [{"type": "text", "text": content}]
        if self._in_parts or not isinstance(content, Sequence) or isinstance(content, str):
            return content
        only_text = all(isinstance(part, Mapping) and "text" in part for part in content)
        return content_text(content) if only_text else content

    def _find_markers(self, system: tuple[Turn, ...]) -> _Markers | None:
        single = self._of_turns(*system, ("user", _FIRST))
        double = self._of_turns(*system, ("user", _FIRST), ("assistant", _REPLY), ("user", _LAST))
        unprompted = self._of_turns(*system, ("user", _FIRST), prompted=False)
        if repr(_FIRST) in single:  # a list of parts, written out as Python writes it
            return None
        if (
            not (_FIRST in single and _FIRST in unprompted and _REPLY in double and _LAST in double)
            or _FIRST not in double
        ):
            return None
        between = double.split(_REPLY, 1)[1].split(_LAST, 1)[0]
        user = _common_suffix(single.split(_FIRST, 1)[0], between).lstrip()
        replied = double.split(_FIRST, 1)[1].split(_REPLY, 1)[0]
        prompt = _common_prefix(single.split(_FIRST, 1)[1], replied)
        closing = unprompted.split(_FIRST, 1)[1]
        # Without an end-of-turn mark (GLM-4, Vicuna), the beginning of the reply ends the turn.
        end = _common_prefix(prompt, closing)
        end = (end if end.strip() else prompt).rstrip()
        if not user.strip() or not end.strip():
            return None
        user, around = self._beside_system(user.strip())
        reply_end = between[: between.rindex(user)].strip()
        return _Markers(user, end, closing, replied.rstrip(), reply_end, around)

    def _beside_system(self, user: str) -> tuple[str, tuple[str, str]]:
        """Return a user marker that also follows a system turn, or what surrounds one inside it.

        :param user: what precedes user turns without a system turn.
        """
        try:
            before = self._of_turns(("system", _SYSTEM), ("user", _FIRST)).split(_FIRST, 1)[0]
        except Exception:  # a template without system turns
            return user, ("", "")
        head, _, tail = before.rpartition(_SYSTEM)
        shared = _common_suffix(user, tail.rstrip()).strip()
        if shared:
            return shared, ("", "")
        inside = head.rpartition(user)[2].strip() if user in head else ""
        return user, (inside, tail)

    def _of_turns(self, *turns: Turn, prompted: bool = True) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return self.render(messages, prompted=prompted)


def content_text(content: object) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    texts = [part.get("text", "") for part in parts if isinstance(part, Mapping)]
    return " ".join(text for text in texts if text)


def find_question(text: str) -> tuple[str, int]:
    """Return the question in a turn, and where it begins.

    Of one line, the whole text. Of several, as in a prompt of retrieval, the last line that is one
    question, with or without a label (``Question: …``); else the last sentence that asks; else,
    before a label without a text (``Answer:``), the last line with a label. Questions on adjacent
    lines are asked together: the whole text.

    :param text: a user turn, or a prompt that is no chat.
    """
    whole = text.strip(), len(text) - len(text.lstrip())
    lines = [match.span() for match in re.finditer(r"[^\n\r]*\S[^\n\r]*", text)]
    if len(lines) < 2:
        return whole
    units = [_unit(text, *line) for line in lines]
    asking = [at for at, (start, end) in enumerate(units) if _asks(text[start:end])]
    if asking:
        if asking[-1] - 1 in asking:
            return whole
        start, end = units[asking[-1]]
        return text[start:end], start
    for start, end in reversed(units):
        begins = [start, *(start + m.end() for m in _SENTENCES.finditer(text[start:end]))]
        for first, last in zip(reversed(begins), [end, *reversed(begins[1:])], strict=True):
            if _asks(text[first:last].rstrip()):
                return text[first:last].rstrip(), first
    bare = [start == end for start, end in units]  # a label without a text
    if bare[-1]:
        for at in range(len(units) - 2, -1, -1):
            start, end = units[at]
            if not bare[at] and (start > lines[at][0] or (at > 0 and bare[at - 1])):
                return text[start:end], start
    return whole


def _unit(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span of a line without its label, tags and surrounding blanks."""
    for pattern in (_TAGS, _LABEL, _TAGS):
        while text[start:end][:1].isspace():
            start += 1
        found = pattern.match(text, start, end)
        start = found.end() if found else start
    line = text[start:end].rstrip()
    tag = re.search(r"</[\w-]+>$", line)
    line = line[: tag.start()].rstrip() if tag else line
    return start, start + len(line)


def _asks(sentence: str) -> bool:
    """Return whether a text is one sentence that asks."""
    if not sentence or _SENTENCES.search(sentence.strip()):
        return False
    first = words(sentence)[:1]
    opens = bool(first) and first[0].plain in QUESTION_WORDS
    return sentence.rstrip("\"'”’)]").endswith(("?", "？")) or opens or starts_yes_no(sentence)


def _common_prefix(a: str, b: str) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _common_suffix(a: str, b: str) -> str:
    return _common_prefix(a[::-1], b[::-1])[::-1]
