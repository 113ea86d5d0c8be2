"""Several OpenAPI documents become one, and one that an older reader understands."""

import copy
from typing import Any

from restock.gateway.reference import in_openapi_3_0, merge
from restock.kernel.openapi import PROBLEM


def document(path: str, operation: str, **schemas: Any) -> dict[str, Any]:
    body = {"$ref": "#/components/schemas/Thing"}
    return {
        "paths": {path: {"get": {"operationId": operation, "responses": {"200": {"x": body}}}}},
        "components": {"schemas": schemas},
    }


def test_things_of_one_name_are_kept_apart() -> None:
    first, second = {"type": "string"}, {"type": "object", "properties": {"a": {"$ref": "#/x/Own"}}}
    documents = {
        "auth": document("/a", "read", Thing=first),
        "vendor": document("/b", "read", Thing=second, Own={"$ref": "#/components/schemas/Thing"}),
    }
    before = copy.deepcopy(documents)
    merged = merge(documents)
    assert merged["components"]["schemas"] == {
        "Problem": PROBLEM,
        "Thing": first,
        "VendorThing": second,
        "Own": {"$ref": "#/components/schemas/VendorThing"},
    }
    answer = merged["paths"]["/b"]["get"]["responses"]["200"]["x"]
    assert answer == {"$ref": "#/components/schemas/VendorThing"}
    assert merged["paths"]["/b"]["get"]["operationId"] == "vendor_read"
    assert merged["paths"]["/a"]["get"]["operationId"] == "read"
    assert documents == before


def test_the_same_thing_is_one() -> None:
    same = {"type": "string"}
    merged = merge(
        {"auth": document("/a", "x", Thing=same), "vendor": document("/b", "y", Thing=same)}
    )
    assert merged["components"]["schemas"] == {"Problem": PROBLEM, "Thing": same}


def test_new_words_become_old_ones() -> None:
    schema = {
        "properties": {
            "type": {"type": ["string", "null"]},
            "const": {"const": "fixed"},
            "examples": {"type": "integer", "examples": [3, 4], "exclusiveMinimum": 0},
            "maybe": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Thing"}]},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            "plain": {"anyOf": [{"type": "number", "exclusiveMaximum": 9.5}, {"type": "null"}]},
        }
    }
    turned = in_openapi_3_0({"openapi": "3.1.0", "components": schema})
    assert turned["openapi"] == "3.0.3"
    assert turned["components"]["properties"] == {
        "type": {"type": "string", "nullable": True},
        "const": {"enum": ["fixed"]},
        "examples": {"type": "integer", "example": 3, "minimum": 0, "exclusiveMinimum": True},
        "maybe": {"allOf": [{"$ref": "#/components/schemas/Thing"}], "nullable": True},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        "plain": {"type": "number", "maximum": 9.5, "exclusiveMaximum": True, "nullable": True},
    }
