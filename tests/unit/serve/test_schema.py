"""The OpenAPI document: whatever fits it, or does not, gets an answer that it describes."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from errata.serve.app import create_app
from errata.serve.upstream import UpstreamEngine
from tests.unit.helpers import FACT
from tests.unit.serve.conftest import asked_upstream, decider
from tests.unit.serve.stub import StubUpstream, served
from tests.unit.serve.test_admin import ACCESS, ADA, ROOT

MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def api_schema():
    """Serve errata in front of a stub, and return its schema."""
    with served(StubUpstream(keep=False)) as url:
        engine = UpstreamEngine(decider(FACT, complete=asked_upstream), f"{url}/v1")
        app = create_app(engine, ACCESS, writable=True)
        with served(app) as base:
            yield schemathesis.openapi.from_url(f"{base}/openapi.json")


def operations():
    """Return the operations, without a server."""
    engine = UpstreamEngine(decider(FACT), "http://127.0.0.1:9/v1")
    paths = create_app(engine).openapi()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_described(api_schema, method, path):
    key = ROOT if "/admin/" in path else ADA
    # what a patch may say goes beyond a schema: `errata check` knows
    excluded = [positive_data_acceptance] if "/admin/" in path else []
    for mode in MODES:
        strategy = api_schema[path][method.upper()].as_strategy(generation_mode=mode)

        @settings(
            max_examples=5, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=strategy)
        def answered(case):
            headers = {"Authorization": f"Bearer {key}"}
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        try:
            answered()
        except Unsatisfiable:  # there is nothing to send that would not fit
            assert mode is MODES[1]
