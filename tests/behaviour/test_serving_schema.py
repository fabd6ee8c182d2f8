"""schemathesis over the server's own description: what it says is what it does, and nothing makes it fail."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.behaviour.serving_rig import rig, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    limits = {"queue": 100_000, "pixels": 128 * 128, "steps": 4}
    with rig(tmp_path_factory.mktemp("schema"), limits=limits) as one, served(one) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_the_routes_are_as_they_are_described(described: schemathesis.BaseSchema):
    ours = described.include(path_regex="^/(v1/(jobs|annot|models|info)|healthz|metrics)")
    told = [found.ok() for found in ours.get_all_operations()]
    assert len(told) >= 14
    for operation in told:
        _try(operation)


def _try(operation: schemathesis.APIOperation) -> None:
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operation.as_strategy())
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=60)

    holds()
