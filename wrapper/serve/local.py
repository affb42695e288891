"""A model in this process: answers in batches, or streamed one by one."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi.responses import JSONResponse, Response, StreamingResponse

from errata.cache.errors import GenerationError
from errata.generation.chat import Prompt
from errata.output import Answer, CallOptions, Completion
from errata.reasoners.prompts import context_length_of
from errata.serve.batching import MicroBatcher
from errata.serve.bodies import until_stop
from errata.serve.config import ServeConfig
from errata.serve.engine import BothAnswers
from errata.serve.errors import ApiError
from errata.serve.local_options import check_supported, generation_options
from errata.serve.metrics import Metrics
from errata.serve.requests import Call, EditMode
from errata.serve.responses import EVENTS, Finish, Reply, Usage, decision_headers
from errata.serve.stopping import ClientGone, StopTrimmer

if TYPE_CHECKING:
    from errata.model import EditableModel
    from errata.pipelines.base import RoutedBatch

T = TypeVar("T")
Options = tuple[tuple[str, Any], ...]
"""Options of generation, in a form that can be compared."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all rows of a batch have in common.

    :param mode: which edits are in force.
    :param options: of generation.
    :param alone: makes a row that no other may join: one with a seed of its own.
    """

    mode: EditMode
    options: Options
    alone: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """One prompt of a call.

    :param prompt: the prompt.
    :param user: what rollouts draw by; None: the conversation.
    """

    prompt: Prompt
    user: str | None


class LocalEngine:
    """Answers calls by a model in this process.

    :param model: the model with its edits.
    :param name: what clients call it.
    :param config: limits.
    """

    def __init__(self, model: EditableModel, name: str, config: ServeConfig | None = None) -> None:
        self.model, self.name, self.router = model, name, model
        self.config = config or ServeConfig()
        self.metrics = Metrics(self.router)
        self.created = int(time.time())
        self._context = context_length_of(model.base)
        self._batcher: MicroBatcher[_Batch, _Row, Completion] = MicroBatcher(
            self._complete, max_batch=self.config.max_batch, max_waiting=self.config.max_waiting,
            on_batch=self.metrics.batches.observe,
        )  # fmt: skip
        self._threads = ThreadPoolExecutor(
            self.config.stream_threads, thread_name_prefix="errata-stream"
        )

    # -- answering ---------------------------------------------------------------------------

    async def answer(self, call: Call) -> Response:
        """Answer a call by the model and its edits."""
        check_supported(call, self.name)
        prompts = self._prompts(call)
        lengths = await self._in_thread(lambda: list(map(self._length, prompts)))
        options = generation_options(call, max(lengths), self._context, self.config)
        if call.streamed and call.choices == len(prompts) == 1:
            return await self._streamed(call, prompts[0], lengths[0], options)
        sampled = options.get("do_sample") and call.fields.seed is not None
        shared = _Batch(
            call.mode, tuple(sorted(options.items())), uuid.uuid4().hex if sampled else ""
        )
        rows = [_Row(prompt, call.fields.user) for prompt in prompts]
        try:
            made = await asyncio.gather(*(self._batcher.submit(shared, row) for row in rows))
        except GenerationError as error:
            raise _refused(error) from error
        shown = next((one for one in made if one.decision.hit), made[0])
        seconds = sum(step.seconds for step in shown.trace.steps if step.stage in _DECIDING)
        headers = self._headers(call, shown, seconds)
        said = [text for one in made for text in one.texts]
        texts = [until_stop(text, call.fields.stop) for text in said]
        ended = [finished for one in made for finished in one.finished]
        finishes: list[Finish] = [
            "stop" if finished or text != whole else "length"
            for finished, text, whole in zip(ended, texts, said, strict=True)
        ]
        usage = Usage(sum(one.prompt_tokens for one in made), sum(sum(one.tokens) for one in made))
        return Reply(self.name, texts, finishes, usage, headers=headers).response(call)

    def _headers(self, call: Call, shown: Completion, seconds: float) -> dict[str, str]:
        if call.mode.off:
            return decision_headers(None, 0.0)
        self.metrics.decided(shown.decision, seconds, shadow=call.mode.shadow)
        replaced = next(iter(shown.trace.replacements), ())
        return decision_headers(shown.decision, seconds, replaced, shadow=call.mode.shadow)

    def _complete(self, batch: _Batch, rows: Sequence[_Row]) -> list[Completion]:
        """Answer a batch; in the batcher's thread."""
        options = dict(batch.options)
        seed = options.pop("seed", None)
        if seed is not None:
            _set_seed(seed)
        keys = [row.user or row.prompt.conversation for row in rows]
        call = CallOptions(batch.mode.selection, keys, batch.mode.shadow)
        return self.model.complete([row.prompt for row in rows], call, **self._plain(options))

    # -- streaming ---------------------------------------------------------------------------

    async def _streamed(
        self, call: Call, prompt: Prompt, length: int, options: Mapping[str, Any]
    ) -> Response:
        """Stream one answer as it is generated; the headers wait for the decision only."""
        from transformers import AsyncTextIteratorStreamer, StoppingCriteriaList

        loop = asyncio.get_running_loop()
        streamer = AsyncTextIteratorStreamer(
            self.model.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        decided: asyncio.Future[tuple[RoutedBatch | None, float]] = loop.create_future()
        gone, start = threading.Event(), time.perf_counter()

        def on_decision(batch: RoutedBatch | None) -> None:
            seconds = time.perf_counter() - start
            loop.call_soon_threadsafe(_set, decided, (batch, seconds))

        key = call.fields.user or prompt.conversation
        own = CallOptions(call.mode.selection, key, call.mode.shadow, on_decision)
        given = self._plain(dict(options))
        given |= {
            "streamer": streamer,
            "stopping_criteria": StoppingCriteriaList([ClientGone(gone)]),
        }
        seed = given.pop("seed", None)

        def run() -> Completion:
            try:
                if seed is not None:
                    _set_seed(seed)
                return self.model.complete([prompt], own, **given)[0]
            finally:
                loop.call_soon_threadsafe(streamer.text_queue.put_nowait, streamer.stop_signal)

        made = loop.run_in_executor(self._threads, run)
        waited: list[asyncio.Future[Any]] = [made, decided]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if made.done() and made.exception() is not None:
            raise _refused(made.exception()) from made.exception()
        batch, seconds = await decided
        headers = decision_headers(None, 0.0)
        if batch is not None:
            self.metrics.decided(batch.decisions[0], seconds, shadow=call.mode.shadow)
            headers = decision_headers(
                batch.decisions[0], seconds, batch.rewrites[0], shadow=call.mode.shadow
            )
        events = self._events(call, streamer, made, length, gone)
        return StreamingResponse(events, media_type=EVENTS, headers=headers)

    async def _events(
        self,
        call: Call,
        streamer: AsyncIterator[str],
        made: asyncio.Future[Completion],
        length: int,
        gone: threading.Event,
    ) -> AsyncIterator[bytes]:
        """Yield an answer as events, up to a stop string."""
        reply, first = Reply(self.name, (), ()), True
        trimmer = StopTrimmer(call.fields.stop)
        try:
            async for text in streamer:
                ready = trimmer.put(text)
                if ready or first:
                    yield reply.event(call, 0, ready, first=first)
                    first = False
            rest = trimmer.end()
            if rest or first:
                yield reply.event(call, 0, rest, first=first)
            completion = await made
            finish: Finish = "stop" if completion.finished[0] or trimmer.stopped else "length"
            yield reply.event(call, 0, "", finish=finish)
            for event in reply.last_events(call, Usage(length, sum(completion.tokens))):
                yield event
        finally:
            gone.set()

    # -- requests ----------------------------------------------------------------------------

    def _prompts(self, call: Call) -> list[Prompt]:
        """Return the prompts of a call.

        :raises ApiError: there is no question in one of them.
        """
        try:
            if call.endpoint == "chat/completions":
                return [self.model.prompt_of(call.messages)]
            given = call.body["prompt"]
            texts = [given] if isinstance(given, str) else given
            if not texts or not all(isinstance(text, str) for text in texts):
                raise ApiError(400, "expected a text or texts, found ids of tokens", param="prompt")
            return [self.model.prompt_of(text, raw=True) for text in texts]
        except GenerationError as error:
            raise _refused(error) from error
        except Exception as error:
            if isinstance(error, ApiError):
                raise
            # of a chat template: roles that do not alternate, and the like
            raise ApiError(
                400,
                "expected a conversation that the model's chat template takes",
                param="messages",
            ) from error

    def _plain(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return options as `generate` takes them."""
        if "stop_strings" in options:
            options["stop_strings"] = list(options["stop_strings"])
            options["tokenizer"] = self.model.tokenizer
        return options

    def _length(self, prompt: Prompt) -> int:
        ids = self.model.tokenizer(prompt.text, add_special_tokens=not prompt.chat)["input_ids"]
        return len(ids)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function)

    # -- the rest of the contract ------------------------------------------------------------

    async def models(self, headers: Mapping[str, str], *, keyed: bool) -> Response:
        """Return the list of the one model."""
        del headers, keyed
        one = {
            "id": self.name, "object": "model", "created": self.created, "owned_by": "errata"
        }  # fmt: skip
        return JSONResponse({"object": "list", "data": [one]})

    async def ready(self) -> str:
        """Return an empty text: a model that is loaded answers."""
        return ""

    async def both(self, question: str) -> BothAnswers:
        """Return a question's answers with and without edits."""
        start = time.perf_counter()
        prompt = self.model.prompt_of(question)
        options: Options = (("max_new_tokens", self.model.ask_config.max_new_tokens),)
        corrected = await self._batcher.submit(_Batch(EditMode(), options), _Row(prompt, None))
        seconds = time.perf_counter() - start
        off = _Batch(EditMode(off=True), options)
        base = await self._batcher.submit(off, _Row(prompt, None))
        said = base.texts[0].strip()
        return BothAnswers(corrected.texts[0].strip(), said, corrected.decision, seconds)

    def ask_many(self, questions: Sequence[str]) -> list[Answer]:
        """Return the answers to several questions; blocks."""
        return self.model.ask_many(questions)

    async def close(self) -> None:
        """End the threads, and close the model."""
        self._batcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.model.close()


_DECIDING = ("rewrite", "cache", "gate")


def _set(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _set_seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _refused(error: BaseException | None) -> Exception:
    """Return an error that the caller can do something about as one of the API."""
    if isinstance(error, GenerationError):
        return ApiError(400, "expected a question and options that the model takes, found others")
    return error if isinstance(error, Exception) else RuntimeError("generation ended")
