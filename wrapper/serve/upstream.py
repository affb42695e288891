"""An OpenAI-compatible server as the base model: what no edit governs passes byte for byte."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi.responses import Response

from errata.cache.errors import GenerationError
from errata.decider import Decider, RoutedQuery
from errata.generation.chat import Messages
from errata.generation.template import content_text
from errata.output import Answer, Trace
from errata.serve.batching import MicroBatcher
from errata.serve.bodies import asking, dumped, keeps_form, text_of, until_stop
from errata.serve.config import ServeConfig
from errata.serve.engine import BothAnswers
from errata.serve.metrics import Metrics
from errata.serve.requests import Call, EditMode
from errata.serve.responses import Reply, Usage, decision_headers
from errata.serve.upstream_http import Asked, Upstream, checked_answer

log = logging.getLogger("errata")

T = TypeVar("T")


class UpstreamEngine:
    """Decides, and passes on what no edit governs.

    :param decider: decides.
    :param url: of the upstream, such as ``http://127.0.0.1:8001/v1``.
    :param config: limits.
    :param model: the model's name where a call has none; by default the upstream's first.
    :raises errata.cache.errors.ErrataError: the address is none.
    """

    def __init__(
        self, decider: Decider, url: str, config: ServeConfig | None = None, *, model: str = ""
    ) -> None:
        self.name, self.decider, self.router = model, decider, decider.router
        self.config = config or ServeConfig()
        self.metrics = Metrics(self.router)
        self.upstream = Upstream(url, self.config, self.metrics)
        self._threads = ThreadPoolExecutor(
            self.config.answer_threads, thread_name_prefix="errata-answer"
        )
        self._batcher: MicroBatcher[EditMode, tuple[Messages, str | None], RoutedQuery] = (
            MicroBatcher(
                self._route, max_batch=self.config.max_batch, max_waiting=self.config.max_waiting,
                on_batch=self.metrics.batches.observe,
            )
        )  # fmt: skip

    # -- answering ---------------------------------------------------------------------------

    async def answer(self, call: Call) -> Response:
        """Answer a call: by the edits that govern it, else by the upstream."""
        if call.mode.off:
            return await self._pass_on(call)
        if call.endpoint == "completions":
            return await self._complete(call)
        routed = await self._decide(call.messages, call)
        if routed is None:
            return await self._pass_on(call)
        headers = decision_headers(
            routed.decision, routed.seconds, routed.batch.rewrites[0], shadow=call.mode.shadow
        )
        if call.mode.shadow or not routed.affected:
            return await self._pass_on(call, [routed], headers)
        formed = keeps_form(call.body)
        if (
            routed.decision.hit
            and routed.edits
            and (not formed or routed.decision.route == "refuse")
        ):
            answers = await self._by_edits(routed, call)
            return self._reply(call, [answers], headers, refusal=formed)
        if routed.edits and not self._readable(routed):
            log.warning("%s stays silent: the answer has to keep a form", routed.edits[0].id)
            return await self._pass_on(call, [routed], headers)
        self.decider.log(routed)
        if routed.edits:
            headers["X-Errata-Form"] = "kept"
        body = dumped(asking(call.body, routed))
        return await self.upstream.forward(call, body, headers, routed.batch.output_filters[0])

    async def _complete(self, call: Call) -> Response:
        """Answer a call of the endpoint without chats: a text, or several."""
        given = call.body["prompt"]
        texts = [given] if isinstance(given, str) else given
        if not texts or not all(isinstance(text, str) for text in texts):
            return await self._pass_on(call)  # ids of tokens, of a vocabulary that is not known
        decided = [self._decide([{"role": "user", "content": text}], call) for text in texts]
        routed = await asyncio.gather(*decided)
        found = [one for one in routed if one is not None]
        if not found:
            return await self._pass_on(call)
        shown = next((one for one in found if one.affected), found[0])
        headers = decision_headers(
            shown.decision, shown.seconds, shown.batch.rewrites[0], shadow=call.mode.shadow
        )
        if call.mode.shadow or not shown.affected:
            return await self._pass_on(call, found, headers)
        rows = zip(routed, texts, strict=True)
        answers = await asyncio.gather(
            *(
                self._by_edits(one, call) if one is not None and one.affected
                else self._continued(one, call, text)
                for one, text in rows
            )
        )  # fmt: skip
        return self._reply(call, answers, headers)

    async def _pass_on(
        self,
        call: Call,
        routed: Sequence[RoutedQuery] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the upstream's response to the caller's own bytes; log what was decided."""
        for one in routed:
            self.decider.log(one, shadow=call.mode.shadow)
        output_filter = (
            routed[0].batch.output_filters[0] if routed and not call.mode.shadow else None
        )
        headers = decision_headers(None, 0.0) if headers is None else headers
        return await self.upstream.forward(call, call.raw, headers, output_filter)

    async def _by_edits(self, routed: RoutedQuery, call: Call) -> tuple[list[str], Usage]:
        """Return the answers to a query that an edit governs, and the tokens they took."""
        asked, count = Asked(self.upstream, call), call.choices
        if routed.stored:  # nothing to wait for
            answers = self.decider.answers(routed, count=count)
        else:
            answers = await self._in_thread(
                lambda: self.decider.answers(routed, complete=asked, count=count)
            )
        return [one.text for one in answers], asked.usage

    async def _continued(
        self, routed: RoutedQuery | None, call: Call, text: str
    ) -> tuple[list[str], Usage]:
        """Return what the upstream says behind one of several prompts, and its tokens."""
        body = {**call.body, "prompt": text, "stream": False}
        body.pop("stream_options", None)
        response = await self.upstream.send(call, dumped(body), plain=True)
        raw = await response.aread()
        await response.aclose()
        asked = Asked(self.upstream, call)
        made = asked.checked(response.status_code, raw)
        texts = [str(choice.get("text", "")) for choice in made.get("choices", ())]
        if routed is not None:
            self.decider.log(routed)
            texts = [routed.filter(one)[0] for one in texts]
        return texts, asked.usage

    def _reply(
        self,
        call: Call,
        answers: Sequence[tuple[list[str], Usage]],
        headers: dict[str, str],
        *,
        refusal: bool = False,
    ) -> Response:
        texts = [until_stop(text, call.fields.stop) for some, _ in answers for text in some]
        usage = Usage(sum(u.prompt for _, u in answers), sum(u.completion for _, u in answers))
        model = call.fields.model or self.name or "default"
        return Reply(model, texts, ["stop"] * len(texts), usage, refusal, headers).response(call)

    # -- deciding ----------------------------------------------------------------------------

    async def _decide(self, messages: Messages, call: Call) -> RoutedQuery | None:
        """Return the decision about a conversation; None where it has no question."""
        try:
            routed = await self._batcher.submit(call.mode, (messages, call.fields.user))
        except GenerationError:
            return None
        self.metrics.decided(routed.decision, routed.seconds, shadow=call.mode.shadow)
        return routed

    def _route(
        self, mode: EditMode, items: Sequence[tuple[Messages, str | None]]
    ) -> list[RoutedQuery]:
        """Decide about a batch of conversations; in the batcher's thread."""
        conversations = [messages for messages, _ in items]
        keys = [user or _first_turn(messages) for messages, user in items]
        return self.decider.route(conversations, edits=mode.selection, key=keys)

    def _readable(self, routed: RoutedQuery) -> bool:
        """Return whether the edits can go into a prompt."""
        return all(self.router.pipeline.reasoner.supports(edit) for edit in routed.edits)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    # -- the rest of the contract ------------------------------------------------------------

    async def models(self, headers: Mapping[str, str], *, keyed: bool) -> Response:
        """Return the upstream's list of models."""
        response = await self.upstream.models(headers, keyed)
        kind = response.headers.get("content-type")
        return Response(response.content, response.status_code, media_type=kind)

    async def ready(self) -> str:
        """Return why calls cannot be answered now; empty where they can."""
        return await self.upstream.ready()

    async def both(self, question: str) -> BothAnswers:
        """Return a question's answers with and without edits."""
        start = time.perf_counter()
        (routed,) = await self._in_thread(lambda: self.decider.route([question]))
        base = asyncio.create_task(self._in_thread(lambda: self._complete_once(question)))
        answers = await self._in_thread(
            lambda: self.decider.answers(routed, complete=self._complete_messages)
        )
        seconds = time.perf_counter() - start
        said = await base
        corrected = answers[0].text if answers else routed.filter(said)[0]
        return BothAnswers(corrected, said, routed.decision, seconds)

    def ask_many(self, questions: Sequence[str]) -> list[Answer]:
        """Return the answers to several questions; blocks."""
        found = []
        for routed, question in zip(self.decider.route(questions), questions, strict=True):
            answers = self.decider.answers(routed, complete=self._complete_messages)
            if answers:
                found.append(answers[0])
                continue
            text, replaced = routed.filter(self._complete_once(question))
            trace = Trace((routed.decision,), (replaced,), routed.steps)
            found.append(Answer(text, routed.decision, trace))
        return found

    def _complete_once(self, question: str) -> str:
        return self._complete_messages([{"role": "user", "content": question}])

    def _complete_messages(self, messages: Messages) -> str:
        """Return the upstream's greedy answer to messages; blocks."""
        self.name = self.name or self.upstream.first_model()
        body: dict[str, Any] = {"model": self.name, "messages": list(messages), "temperature": 0}
        response = self.upstream.ask(self.upstream.headers({}), body)
        return text_of(checked_answer(response.status_code, response.content))

    async def close(self) -> None:
        """Close connections, threads, cache and log."""
        self._batcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self.upstream.close()
        self.decider.close()


def _first_turn(messages: Messages) -> str:
    turns = (content_text(one.get("content")) for one in messages if one.get("role") == "user")
    return next(turns, "")
