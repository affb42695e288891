"""errata serving a model of its own process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json

import httpx
import pytest

from errata.serve.batching import MicroBatcher
from errata.serve.errors import ApiError
from errata.serve.stopping import StopTrimmer
from tests.unit.helpers import CAPITAL, FACT, OTHER


def chat(text, **fields):
    messages = [{"role": "user", "content": text}]
    return {"model": "tiny", "messages": messages, "max_tokens": 6, "temperature": 0, **fields}


def post(url, body, headers=None):
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def content(response):
    return response.json()["choices"][0]["message"]["content"]


def streamed(response):
    chunks = [
        json.loads(line.removeprefix("data: "))
        for line in response.text.splitlines()
        if line.startswith("data: {")
    ]
    text = "".join(
        choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]
    )
    return text, chunks


def test_hits_are_corrected_and_misses_are_the_models_own(local):
    url = local()
    hit, miss = post(url, chat(CAPITAL)), post(url, chat(OTHER))
    assert content(hit) == "Astana" and hit.headers["x-errata-route"] == "verbatim"
    assert hit.headers["x-errata-patch"] == FACT.id
    alone = local.model.ask(OTHER, edits=False, max_new_tokens=6, do_sample=False)
    assert content(miss).strip() == alone.text and miss.headers["x-errata-route"] == "base"
    off = post(url, chat(CAPITAL), {"X-Errata-Edits": "off"})
    shadow = post(url, chat(CAPITAL), {"X-Errata-Edits": "shadow"})
    base = local.model.ask(CAPITAL, edits=False, max_new_tokens=6, do_sample=False)
    assert content(off).strip() == content(shadow).strip() == base.text != "Astana"
    assert shadow.headers["x-errata-route"] == "verbatim" and off.headers["x-errata-route"] == "off"


def test_a_stream_says_what_the_whole_answer_says(local):
    url = local()
    for text in (CAPITAL, OTHER):
        whole = post(url, chat(text))
        response = post(url, chat(text, stream=True, stream_options={"include_usage": True}))
        said, chunks = streamed(response)
        assert said.strip() == content(whole).strip() and said.strip()
        assert response.headers["x-errata-route"] == whole.headers["x-errata-route"]
        assert chunks[-1]["usage"] == whole.json()["usage"]
        assert chunks[-2]["choices"][0]["finish_reason"] == finish(whole)


def finish(response):
    return response.json()["choices"][0]["finish_reason"]


def test_stop_strings_are_cut_off(local):
    url = local()
    said = content(post(url, chat(OTHER)))
    stop = said[3:5]
    whole = post(url, chat(OTHER, stop=[stop]))
    assert content(whole) == said.partition(stop)[0] != said and finish(whole) == "stop"
    assert streamed(post(url, chat(OTHER, stop=[stop], stream=True)))[0] == content(whole)


def test_seeds_choices_and_lengths(local):
    url = local()
    sampled = chat(OTHER, temperature=1.0, seed=7, n=3)
    first, second = post(url, sampled).json(), post(url, sampled).json()
    texts = [choice["message"]["content"] for choice in first["choices"]]
    assert texts == [choice["message"]["content"] for choice in second["choices"]]
    assert len(set(texts)) > 1
    long = post(url, chat(OTHER, max_tokens=5))
    assert long.json()["usage"]["completion_tokens"] == 5 and finish(long) == "length"


def test_completions_continue_a_prompt(local):
    url = local()
    body = {"model": "tiny", "prompt": [CAPITAL, OTHER], "max_tokens": 5, "temperature": 0}
    response = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
    texts = [choice["text"] for choice in response.json()["choices"]]
    assert texts[0].strip() == "Astana" and texts[1].strip()


@pytest.mark.parametrize(
    ("field", "status", "code"),
    [
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter"),
        ({"logprobs": True}, 400, "unsupported_parameter"),
        ({"model": "other"}, 404, "model_not_found"),
        ({"max_tokens": 100_000}, 400, "context_length_exceeded"),
        ({"temperature": 3}, 400, "invalid_value"),
        ({"n": 1000}, 400, None),
    ],
)
def test_what_a_local_model_cannot_do_is_refused(local, field, status, code):
    response = post(local(), chat(OTHER, **field))
    assert response.status_code == status and response.json()["error"]["code"] == code


def test_concurrent_calls_share_batches(local):
    url = local()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = [CAPITAL, OTHER] * 16
        made = list(pool.map(lambda text: content(post(url, chat(text))), texts))
    alone = content(post(url, chat(OTHER)))
    assert set(made[::2]) == {"Astana"} and set(made[1::2]) == {alone}
    text = httpx.get(f"{url}/metrics").text
    (count,) = (line for line in text.splitlines() if line.startswith("errata_batch_size_count"))
    assert float(count.split()[1]) < 33, "33 calls took fewer batches"


def test_a_batch_that_fails_is_run_one_by_one():
    def run(key, items):
        if "bad" in items:
            raise ValueError("bad")
        return [f"{key}{item}" for item in items]

    async def all_of():
        batcher = MicroBatcher(run, max_batch=8, max_waiting=100)
        tasks = [batcher.submit("k", item) for item in ("a", "bad", "b")]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return found

    first, bad, last = asyncio.run(all_of())
    assert (first, last) == ("ka", "kb") and isinstance(bad, ValueError)


def test_batches_have_one_key_each_and_the_queue_a_limit():
    seen = []

    def run(key, items):
        seen.append((key, len(items)))
        return items

    async def all_of():
        batcher = MicroBatcher(run, max_batch=3, max_waiting=6)
        tasks = [batcher.submit(key, at) for at, key in enumerate("aabaab")]
        found = await asyncio.gather(*tasks)
        full = [batcher.submit("a", at) for at in range(7)]
        refused = await asyncio.gather(*full, return_exceptions=True)
        batcher.close()
        return found, refused

    found, refused = asyncio.run(all_of())
    assert found == list(range(6)) and seen[:3] == [("a", 3), ("b", 2), ("a", 1)]
    assert [type(one) for one in refused].count(ApiError) == 1


def test_a_stream_is_cut_before_a_stop_string_however_it_is_split():
    for size in range(1, 8):
        trimmer, text = StopTrimmer(["END", "E!"]), "an ENE answer END and more"
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        assert "".join(map(trimmer.put, parts)) + trimmer.end() == "an ENE answer "
    trimmer = StopTrimmer(None)
    assert trimmer.put("all of it") + trimmer.end() == "all of it"
