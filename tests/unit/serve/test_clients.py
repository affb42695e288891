"""The official client of OpenAI and LangChain's, against a local model and an upstream."""

from __future__ import annotations

import asyncio

import openai
import pytest
from langchain_openai import ChatOpenAI

from tests.unit.helpers import CAPITAL, OTHER


@pytest.fixture(params=["local", "upstream"])
def served_by(request):
    """Return the URL of a server, and the name of its model."""
    start = request.getfixturevalue(request.param)
    return f"{start()}/v1", "tiny" if request.param == "local" else "stub-1"


def turns(text):
    return [{"role": "user", "content": text}]


def test_openai(served_by):
    url, model = served_by
    with openai.OpenAI(base_url=url, api_key="none") as client:
        assert [one.id for one in client.models.list()] == [model]
        hit = client.chat.completions.with_raw_response.create(
            model=model, messages=turns(CAPITAL), max_tokens=8
        )
        assert hit.headers["x-errata-route"] == "verbatim"
        assert hit.parse().choices[0].message.content == "Astana"
        off = client.chat.completions.create(
            model=model, messages=turns(CAPITAL), max_tokens=8,
            extra_headers={"X-Errata-Edits": "off"},
        )  # fmt: skip
        assert off.choices[0].message.content != "Astana" and off.usage.total_tokens > 0
        for text in (CAPITAL, OTHER):
            whole = client.chat.completions.create(
                model=model, messages=turns(text), max_tokens=8, temperature=0
            )
            stream = client.chat.completions.create(
                model=model, messages=turns(text), max_tokens=8, temperature=0, stream=True
            )
            said = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
            assert said.strip() == whole.choices[0].message.content.strip() != ""
        text = client.completions.create(model=model, prompt=CAPITAL, max_tokens=8)
        assert text.choices[0].text.strip() == "Astana"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model=model, messages=[], max_tokens=8)


def test_openai_async(served_by):
    url, model = served_by

    async def run():
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            asked = [
                client.chat.completions.create(model=model, messages=turns(CAPITAL), max_tokens=8)
                for _ in range(4)
            ]
            whole = [one.choices[0].message.content for one in await asyncio.gather(*asked)]
            stream = await client.chat.completions.create(
                model=model, messages=turns(CAPITAL), max_tokens=8, stream=True
            )
            return whole, "".join([c.choices[0].delta.content or "" async for c in stream])

    assert asyncio.run(run()) == (["Astana"] * 4, "Astana")


def test_langchain(served_by):
    url, model = served_by
    chat = ChatOpenAI(base_url=url, api_key="none", model=model, max_tokens=8, temperature=0)
    assert chat.invoke(CAPITAL).content == "Astana"
    assert "".join(part.content for part in chat.stream(CAPITAL)) == "Astana"
    assert asyncio.run(chat.ainvoke(CAPITAL)).content == "Astana"
    miss = chat.invoke(OTHER).content
    assert miss and "Astana" not in miss
