"""The AsyncAPI document holds together, and what is sent is what it describes."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from restock import system
from restock.notification.schemas import CLIENT_MESSAGES, SERVER_MESSAGES

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "contracts/events.yaml").read_text())
PUBLISHED = sorted(
    {kind for service in system.services() for kind in service.publishes},
    key=lambda kind: kind.subject,
)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, part in node.items():
            if name == "$ref":
                yield part
            else:
                yield from _references(part)
    elif isinstance(node, list):
        for part in node:
            yield from _references(part)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(_references(DOCUMENT)):
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_an_event_is_described_field_by_field(kind: Any) -> None:
    assert DOCUMENT["channels"][kind.subject]["address"] == kind.subject
    schema = DOCUMENT["components"]["schemas"][kind.__name__]
    assert list(schema["properties"]) == list(kind.__struct_encode_fields__)
    assert inspect.getdoc(kind), f"{kind.__name__} does not say what happened"


def test_every_socket_message_is_described() -> None:
    described = set(DOCUMENT["channels"]["socket"]["messages"])
    answers = {f"{name}.answer" for name in CLIENT_MESSAGES}
    assert described == {*SERVER_MESSAGES, *CLIENT_MESSAGES, *answers}
