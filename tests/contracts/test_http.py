"""The OpenAPI documents are complete: every refusal, every operation, nothing said twice."""

import importlib
import inspect
import re
from collections import Counter

import pytest

from restock.gateway.reference import merge
from restock.gateway.refusals import REFUSALS
from restock.kernel.faults import Fault
from tests.contracts.operations import DOCUMENTS, OPERATIONS, Operation

QUANTITIES = {
    "available",
    "delta",
    "minThreshold",
    "newQuantity",
    "previousQuantity",
    "quantity",
    "rating",
}
# what Envoy may answer in a service's place
TO_ALL = {
    (400, "gateway.request_malformed"),
    (408, "gateway.request_too_slow"),
    (413, "gateway.body_too_large"),
    (429, "gateway.rate_limited"),
    (431, "gateway.headers_too_large"),
    (502, "gateway.service_failed"),
    (503, "gateway.service_unavailable"),
    (504, "gateway.service_too_slow"),
}
TO_WHO_NEEDS_A_TOKEN = {(401, "gateway.token_invalid"), (503, "gateway.keys_unavailable")}
# what the server alone decides
SERVER_OWNED = {
    "createdAt",
    "id",
    "rating",
    "registeredAt",
    "seq",
    "updatedAt",
    "userId",
    "version",
    "workspaceId",
}


def _faults(service: str) -> list[type[Fault]]:
    """The refusals a service declares for itself."""
    try:
        module = importlib.import_module(f"restock.{service}.faults")
    except ModuleNotFoundError:
        return []
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Fault) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("service", DOCUMENTS)
def test_every_fault_is_documented_with_its_status(service: str) -> None:
    described: dict[str, str] = {}
    for operation in OPERATIONS:
        if operation.service == service:
            for status, answer in operation.described["responses"].items():
                described[status] = described.get(status, "") + answer["description"]
    for fault in _faults(service):
        declared = f"`{fault.code}`" in described.get(str(fault.status), "")
        assert declared, f"no operation of {service} declares {fault.__name__}"


def test_what_the_gateway_refuses_is_documented_with_its_status() -> None:
    for item in merge(DOCUMENTS)["paths"].values():
        for operation in item.values():
            told = {
                (int(status), code)
                for status, answer in operation["responses"].items()
                for code in re.findall("`(gateway[.][a-z_]+)`", answer["description"])
            }
            wanted = TO_ALL if operation["security"] == [] else TO_ALL | TO_WHO_NEEDS_A_TOKEN
            assert told == wanted, operation["operationId"]
    of_no_operation = {"gateway.upgrade_refused", "gateway.origin_refused"}
    of_no_operation.add("gateway.route_not_found")
    known = {code for _, code in TO_ALL | TO_WHO_NEEDS_A_TOKEN} | of_no_operation
    assert {refusal.code for refusal in REFUSALS} == known


def test_fault_codes_are_told_apart_and_named_after_their_service() -> None:
    codes = Counter(fault.code for name in DOCUMENTS for fault in _faults(name))
    assert [code for code, times in codes.items() if times > 1] == []
    for name in DOCUMENTS:
        for fault in _faults(name):
            assert fault.code.split(".")[0] in {name, "request"}, fault


def test_operations_are_told_apart() -> None:
    names = Counter(operation.name for operation in OPERATIONS)
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_says_what_it_does_and_how_it_may_end(operation: Operation) -> None:
    assert operation.described["summary"]
    answers = operation.described["responses"]
    assert any(status.startswith("2") for status in answers)
    assert {"429", "503"} <= set(answers)
    assert ("401" in answers) or operation.is_public
    for status, answer in answers.items():
        if status.startswith(("4", "5")):
            assert "application/problem+json" in answer["content"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_is_sent_is_closed_and_leaves_the_servers_fields_alone(operation: Operation) -> None:
    if operation.body is not None:
        assert operation.body.get("additionalProperties") is False
        assert SERVER_OWNED & set(operation.body["properties"]) == set()


@pytest.mark.parametrize("service", DOCUMENTS)
def test_quantities_are_numbers(service: str) -> None:
    for name, schema in DOCUMENTS[service].get("components", {}).get("schemas", {}).items():
        for field in QUANTITIES & set(schema.get("properties", ())):
            described = schema["properties"][field]
            kinds = {kind.get("type") for kind in described.get("anyOf", [described])}
            assert kinds <= {"number", "null"}, f"{name}.{field}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_list_is_paged(operation: Operation) -> None:
    content = operation.described["responses"].get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if operation.method == "GET" and schema.get("type") == "array":
        parameters = {parameter["name"] for parameter in operation.described["parameters"]}
        assert {"limit", "cursor"} <= parameters
