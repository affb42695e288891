"""errata in front of an OpenAI-compatible server: hits are corrected, misses pass byte for byte."""

from __future__ import annotations

import json
import random

import httpx
import pytest

from errata.cache.records import Fact, LanguagePatch, RegexPatch
from tests.unit.helpers import CAPITAL, FACT, OTHER
from tests.unit.serve.conftest import decider

MISSES = 200
"""benchmarks/serve.py sends 1,000 and more."""
LIVES = Fact("Where does Jane Roe live?", forget=True, secret="12 Elm Street")


def chat(text, **fields):
    return {"model": "stub-1", "messages": [{"role": "user", "content": text}], **fields}


def post(url, body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    return httpx.post(f"{url}/v1/chat/completions", content=raw, headers=headers, timeout=60)


def content(response):
    return response.json()["choices"][0]["message"]["content"]


def test_a_hit_is_the_stored_answer_and_a_miss_the_upstreams(upstream, stub):
    url = upstream()
    hit, miss = post(url, chat(CAPITAL)), post(url, chat(OTHER))
    assert content(hit) == "Astana" and hit.headers["x-errata-route"] == "verbatim"
    assert hit.headers["x-errata-patch"] == FACT.id and "x-stub" not in hit.headers
    assert content(miss) == f"stub: {OTHER}" and miss.headers["x-errata-route"] == "base"
    assert miss.headers["x-stub"] == "yes" and len(stub.got) == 1


def test_misses_pass_byte_for_byte(upstream, stub):
    url = upstream()
    draw = random.Random(1)
    with httpx.Client(timeout=60) as client:
        for at in range(MISSES):
            body = odd_body(draw, at)
            response = client.post(
                f"{url}/v1/chat/completions", content=body,
                headers={"content-type": "application/json"},
            )  # fmt: skip
            assert response.status_code == 200
            assert stub.got[-1] == body, "the upstream got the caller's bytes"
            assert response.content == stub.sent[-1], "the caller got the upstream's bytes"
    assert len(stub.got) == MISSES


def odd_body(draw, at):
    """Return a body no JSON library would write: blanks, order, numbers, tools, pictures."""
    blank = " " * draw.randrange(3) + draw.choice(["", "\n", "\t"])
    parts = [
        f'"messages"{blank}:[{{"role":"system","content":"é{at}"}},{{"role":"user","content":{{}}}}]',
        f'"temperature":{blank}0.{draw.randrange(10)}00',
        f'"seed":{at}',
        f'"x-own-{at}":[1e{draw.randrange(5)},null,{{"a":"\\u00e9"}}]',
    ]
    if draw.random() < 0.3:
        parts.append('"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]')
    if draw.random() < 0.3:
        parts.append('"stream":true')
    picture = '[{"type":"image_url","image_url":{"url":"data:,x"}},{"type":"text","text":"Who?"}]'
    text = json.dumps(f"Tell me about number {draw.random()}.")
    draw.shuffle(parts)
    return (
        ("{" + f",{blank}".join(parts) + "}")
        .replace('"content":{}', f'"content":{picture if draw.random() < 0.2 else text}')
        .encode()
    )


def test_a_stream_passes_byte_for_byte(upstream, stub):
    url = upstream()
    response = post(url, chat(OTHER, stream=True))
    assert response.content == stub.sent[-1] and response.content.endswith(b"data: [DONE]\n\n")


def test_a_hit_is_streamed_as_events(upstream, stub):
    url = upstream()
    body = chat(CAPITAL, stream=True, n=2, stream_options={"include_usage": True})
    events = post(url, body).text.split("\n\n")
    chunks = [json.loads(one.removeprefix("data: ")) for one in events if "{" in one]
    said = ["", ""]
    for chunk in chunks:
        for choice in chunk["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == ["Astana", "Astana"] and events[-2] == "data: [DONE]" and not stub.got
    assert chunks[-1]["usage"]["total_tokens"] == 0, "no model was asked"


def test_the_header_switches_edits_off_or_to_shadow_or_to_tags(upstream, stub):
    tagged = Fact("Who leads Lima?", "Ana", tags=("a", "b"))
    url = upstream(FACT, tagged)

    def said(question, header):
        response = post(url, chat(question), {"X-Errata-Edits": header})
        return content(response), response.headers.get("x-errata-route")

    assert said(CAPITAL, "off") == (f"stub: {CAPITAL}", "off")
    assert said(CAPITAL, "shadow") == (f"stub: {CAPITAL}", "verbatim")
    assert said(CAPITAL, "tag=b")[0].startswith("stub")
    assert said(tagged.question, "tag=c,b") == ("Ana", "verbatim")
    assert said(CAPITAL, f"id={FACT.id}") == ("Astana", "verbatim")
    refused = post(url, chat(CAPITAL), {"X-Errata-Edits": "nonsense"})
    assert refused.status_code == 400 and "X-Errata-Edits" in refused.text


def test_what_follows_from_an_edit_is_asked_of_the_upstream(upstream, stub):
    french = LanguagePatch("Tell me about Lima.", "answer in French")
    url = upstream(french)
    asked = chat("Tell me about Lima.", temperature=0.5, user="u1")
    response = post(url, asked, {"Authorization": "Bearer own"})
    assert response.headers["x-errata-route"] == "reason"
    sent = json.loads(stub.got[-1])
    assert sent["messages"][-1]["content"] == "Tell me about Lima.\n\nAnswer in French."
    assert sent["temperature"] == 0.5 and stub.headers[-1]["authorization"] == "Bearer own"
    assert response.json()["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(
    "form",
    [{"response_format": {"type": "json_object"}}, {"tools": [{"type": "function"}]}],
)
def test_an_answer_that_has_to_keep_a_form_is_the_upstreams(upstream, stub, form):
    url = upstream()
    response = post(url, chat(CAPITAL, **form))
    assert response.headers["x-errata-form"] == "kept" and response.content == stub.sent[-1]
    sent = json.loads(stub.got[-1])
    assert CAPITAL in sent["messages"][-1]["content"]
    assert "Astana" in sent["messages"][-1]["content"]
    assert {k: sent[k] for k in form} == form


def test_a_refusal_is_a_refusal_where_a_form_was_asked_for(upstream, stub):
    url = upstream(LIVES)
    plain = post(url, chat(LIVES.question))
    formed = post(url, chat(LIVES.question, response_format={"type": "json_object"}))
    assert content(plain) == "I can't share that." and not stub.got
    assert formed.json()["choices"][0]["message"]["refusal"] == "I can't share that."
    assert content(formed) is None


def test_output_patterns_and_secrets_hold_for_the_upstreams_answers(upstream, stub):
    url = upstream(LIVES, RegexPatch("Swaziland", "Eswatini"))
    stub.answer = "She is in Swaziland, at 12 Elm Street, they say."
    whole = post(url, chat(OTHER))
    assert content(whole) == "She is in Eswatini, at [withheld], they say."
    stub.answer = "Nothing of it."
    assert post(url, chat(OTHER)).content == stub.sent[-1], "without a match byte for byte"


def test_a_query_pattern_rewrites_the_question(upstream, stub):
    url = upstream(RegexPatch("Bombay", "Mumbai", target="query"))
    body = chat("Who leads Bombay?", tools=[])
    post(url, body)
    sent = json.loads(stub.got[-1])
    assert sent["messages"][-1]["content"] == "Who leads Mumbai?" and sent["tools"] == []


def test_completions_of_several_prompts(upstream, stub):
    url = upstream()
    body = {"model": "m", "prompt": [OTHER, CAPITAL]}
    response = httpx.post(f"{url}/v1/completions", json=body)
    assert [one["text"] for one in response.json()["choices"]] == [f"stub: {OTHER}", "Astana"]
    ids = httpx.post(f"{url}/v1/completions", json={"prompt": [1, 2, 3]})
    assert ids.content == stub.sent[-1] and ids.headers["x-errata-route"] == "off"


def test_an_upstream_that_is_gone_is_an_error_in_the_apis_form(tmp_path):
    import asyncio

    from errata.serve.app import create_app
    from errata.serve.upstream import UpstreamEngine

    async def run():
        engine = UpstreamEngine(decider(FACT), "http://127.0.0.1:9/v1")
        transport = httpx.ASGITransport(create_app(engine))
        async with httpx.AsyncClient(transport=transport, base_url="http://errata") as client:
            miss = await client.post("/v1/chat/completions", json=chat(OTHER))
            hit = await client.post("/v1/chat/completions", json=chat(CAPITAL))
            ready = await client.get("/readyz")
        await engine.close()
        return miss, hit, ready

    miss, hit, ready = asyncio.run(run())
    assert miss.status_code == 502 and miss.json()["error"]["code"] == "upstream_unreachable"
    assert content(hit) == "Astana", "a stored answer needs no upstream"
    assert ready.status_code == 503
