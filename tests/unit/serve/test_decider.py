"""Decider: decisions without a model in the process, and the examples for three frameworks."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest

from errata.audit.log import AuditLog
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from tests.unit.helpers import CAPITAL, FACT, OTHER
from tests.unit.serve.conftest import decider

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def turns(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


def test_a_stored_answer_needs_no_model_and_a_miss_is_none():
    with decider(FACT) as made:
        answer = made.decide(CAPITAL)
        assert answer.text == "Astana" and answer.decision.fired == (FACT,)
        assert made.decide(turns("Hello.", "Hello!", CAPITAL)).text == "Astana"
        assert made.decide(OTHER) is None and made.decide(CAPITAL, edits=False) is None
        assert made.decide(CAPITAL, edits={"tags": ["other"]}) is None
        assert asyncio.run(made.adecide(CAPITAL)).text == "Astana"
        made.retract(FACT.id)
        assert made.decide(CAPITAL) is None


def test_what_has_to_be_thought_about_is_asked_of_the_model():
    asked = []

    def complete(messages):
        asked.append(messages)
        return "Bonjour de Lima, Swaziland."

    french = LanguagePatch(OTHER, "answer in French")
    with decider(french) as alone:
        assert alone.decide(OTHER) is None, "no model, nothing but stored answers"
    patches = (french, RegexPatch("Swaziland", "Eswatini"))
    with decider(*patches, complete=complete) as made:
        answer = made.decide(turns("Hello.", "Hi.", OTHER))
        assert answer.text == "Bonjour de Lima, Eswatini." and answer.decision.route == "reason"
        assert [turn["content"] for turn in asked[0][:2]] == ["Hello.", "Hi."]
        assert asked[0][-1]["content"] == f"{OTHER}.\n\nAnswer in French.".replace("..", ".")
        assert made.filter("In Swaziland.") == "In Eswatini."


def test_a_query_pattern_asks_the_model_the_rewritten_question():
    asked = []

    def complete(messages):
        asked.append(messages[-1]["content"])
        return "Ana"

    with decider(RegexPatch("Bombay", "Mumbai", target="query"), complete=complete) as made:
        assert made.decide("Who leads Bombay?").text == "Ana" and asked == ["Who leads Mumbai?"]
        assert made.decide("Who leads Lima?") is None


def test_an_answer_that_contradicts_the_edit_is_overruled():
    say = LanguagePatch(OTHER, "say that zebras in Lima eat quinoa and potatoes")
    with decider(say, complete=lambda messages: "Nothing at all.") as made:
        answer = made.decide(OTHER)
        assert "quinoa" in answer.text and answer.trace.outcomes == ("overruled",)


def test_decisions_are_logged(tmp_path):
    with decider(FACT, audit=tmp_path / "audit.sqlite3", model_name="a model") as made:
        made.decide(CAPITAL)
        made.decide(OTHER)
    with AuditLog(tmp_path / "audit.sqlite3") as log:
        logged = list(log.read())
    assert [(one.query, one.route) for one in logged] == [(CAPITAL, "verbatim"), (OTHER, "base")]
    assert logged[0].model == "a model" and logged[0].conversation


def test_rollouts_draw_by_the_key():
    half = Fact(CAPITAL, "Astana", rollout=0.5)
    with decider(half) as made:
        drawn = {made.decide(CAPITAL, key=f"user {at}") is None for at in range(20)}
        assert drawn == {True, False}


def test_what_was_decided_is_known_until_an_edit_changes():
    with decider(FACT, audit=None) as made:
        asked = []
        pipeline = made.router.pipeline.decide
        made.router.pipeline.decide = lambda queries, edits: (
            asked.extend(q.text for q in queries) or pipeline(queries, edits)
        )
        for _ in range(3):
            assert made.decide(CAPITAL, key="a").text == "Astana" and made.decide(OTHER) is None
        assert asked == [CAPITAL, OTHER], "each was decided once"
        assert made.decide(CAPITAL, edits={"tags": ["x"]}) is None, "another selection, another"
        made.edit(Fact(CAPITAL, "Akmola"))
        assert made.decide(CAPITAL).text == "Akmola", "another view, another decision"
        history = [*turns("Tell me about Lima.", "It is large."), *turns(CAPITAL)]
        made.decide(history)
        assert asked.count(CAPITAL) == 3, "another conversation, another"


# -- frameworks ------------------------------------------------------------------------------


def test_langchain():
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.messages import HumanMessage

    langchain = example("langchain_patches")
    model = FakeListChatModel(responses=["its own"])
    with decider(FACT, complete=langchain.complete_by(model)) as made:
        chain = langchain.patched(model, made)
        answer = chain.invoke([HumanMessage(CAPITAL)])
        assert answer.content == "Astana" and answer.response_metadata == {"errata": [FACT.id]}
        assert chain.invoke([HumanMessage(OTHER)]).content == "its own"
        assert asyncio.run(chain.ainvoke([HumanMessage(CAPITAL)])).content == "Astana"


@pytest.mark.filterwarnings("ignore")  # of its dependencies
def test_llama_index():
    from llama_index.core.llms import MockLLM

    llama = example("llama_index_patches")
    with decider(FACT) as made:
        llm = llama.PatchedLLM(MockLLM(), made)
        assert llm.complete(CAPITAL).text == "Astana"
        assert llm.complete(OTHER).text == MockLLM().complete(OTHER).text
        assert [part.delta for part in llm.stream_complete(CAPITAL)] == ["Astana"]


@pytest.mark.filterwarnings("ignore")
def test_litellm(monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it asks the network otherwise
    litellm = pytest.importorskip("litellm", reason="needs litellm, which no extra brings")
    patched = example("litellm_patches")
    with decider(FACT) as made:
        handler = {"provider": "patched", "custom_handler": patched.Patched(made)}
        litellm.custom_provider_map = [handler]
        try:
            answer = litellm.completion(model="patched/gpt", messages=turns(CAPITAL))
        finally:
            litellm.custom_provider_map = []
    assert answer.choices[0].message.content == "Astana"
