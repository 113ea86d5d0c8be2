"""The OpenAPI documents are complete: every refusal, every operation, nothing said twice."""

import importlib
import inspect
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restock import system
from restock.kernel.faults import Fault

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    service.name: json.loads((ROOT / f"contracts/http/{service.name}.json").read_text())
    for service in system.services()
}
METHODS = {"get", "post", "patch", "delete", "put"}


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


ALL = [
    pytest.param(operation, id=place)
    for document in DOCUMENTS.values()
    for place, operation in _operations(document)
]


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
    described: dict[str, set[str]] = {}
    for _, operation in _operations(DOCUMENTS[service]):
        for status, answer in operation["responses"].items():
            described.setdefault(status, set()).add(answer["description"])
    for fault in _faults(service):
        texts = " ".join(described.get(str(fault.status), ()))
        assert f"`{fault.code}`" in texts, f"no operation of {service} declares {fault.__name__}"


def test_fault_codes_are_told_apart_and_named_after_their_service() -> None:
    codes = Counter(fault.code for name in DOCUMENTS for fault in _faults(name))
    assert [code for code, times in codes.items() if times > 1] == []
    for name in DOCUMENTS:
        for fault in _faults(name):
            assert fault.code.split(".")[0] in {name, "request"}, fault


def test_operations_are_told_apart() -> None:
    names = Counter(operation.values[0]["operationId"] for operation in ALL)
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("operation", ALL)
def test_an_operation_says_what_it_does_and_how_it_may_end(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    statuses = set(operation["responses"])
    assert any(status.startswith("2") for status in statuses)
    assert {"429", "503"} <= statuses
    assert ("401" in statuses) or operation["security"] == []
    for status, answer in operation["responses"].items():
        if status.startswith(("4", "5")):
            assert "application/problem+json" in answer["content"]


QUANTITIES = {
    "available",
    "delta",
    "minThreshold",
    "newQuantity",
    "previousQuantity",
    "quantity",
    "rating",
}


@pytest.mark.parametrize("service", DOCUMENTS)
def test_quantities_are_numbers_and_requests_are_closed(service: str) -> None:
    document = DOCUMENTS[service]
    for name, schema in document["components"]["schemas"].items():
        for field in QUANTITIES & set(schema.get("properties", ())):
            described = schema["properties"][field]
            kinds = {kind.get("type") for kind in described.get("anyOf", [described])}
            assert kinds <= {"number", "null"}, f"{name}.{field}"
    for _, operation in _operations(document):
        if body := operation.get("requestBody"):
            name = body["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1]
            closed = document["components"]["schemas"][name].get("additionalProperties")
            assert closed is False, f"{name} does not say that unknown fields are refused"


def test_every_list_is_paged() -> None:
    for document in DOCUMENTS.values():
        for place, operation in _operations(document):
            content = operation["responses"].get("200", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            if place.startswith("GET") and schema.get("type") == "array":
                names = {parameter["name"] for parameter in operation.get("parameters", ())}
                assert {"limit", "cursor"} <= names, place
