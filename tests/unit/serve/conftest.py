"""Servers for tests: an upstream stub, errata in front of it, and errata with a tiny model."""

from __future__ import annotations

import contextlib

import pytest

from errata import Decider
from errata.gates.cosine import CosineGate
from errata.serve.app import create_app
from errata.serve.config import ServeConfig
from errata.serve.local import LocalEngine
from errata.serve.upstream import UpstreamEngine
from tests.fakes import StubEncoder
from tests.unit.helpers import FACT, editable
from tests.unit.serve.stub import StubUpstream, served


def decider(*edits, **options):
    """Return a decider with a plain cosine gate."""
    encoder = StubEncoder()
    made = Decider(**{"encoder": encoder, "gate": CosineGate(encoder, 0.9), **options})
    for edit in edits:
        made.edit(edit)
    return made


def asked_upstream(messages):
    raise NotImplementedError


@pytest.fixture
def stub():
    """Return an upstream that keeps what it got."""
    return StubUpstream()


@pytest.fixture
def upstream(stub):
    """Return a function that serves errata in front of the stub and gives its URL."""
    with contextlib.ExitStack() as stack:

        def start(*edits, access=None, config=None, own=True, **options):
            url = stack.enter_context(served(stub))
            made = decider(*(edits or (FACT,) * own), complete=asked_upstream, **options)
            engine = UpstreamEngine(made, f"{url}/v1", config or ServeConfig())
            start.engine = engine
            return stack.enter_context(served(create_app(engine, access, config)))

        yield start


@pytest.fixture
def local(models, chat_tokenizer):
    """Return a function that serves errata with a tiny chat model and gives its URL."""
    with contextlib.ExitStack() as stack:

        def start(*edits, access=None, config=None, **options):
            model = editable(models("llama"), chat_tokenizer, *(edits or (FACT,)), **options)
            engine = LocalEngine(model, "tiny", config or ServeConfig(max_tokens=8))
            start.engine, start.model = engine, model
            return stack.enter_context(served(create_app(engine, access, config)))

        yield start
