"""contracts/topology.toml, written by hand, and the code say the same."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from restock import system
from restock.engines import streams
from restock.events import Event
from restock.gateway import settings as gateway
from restock.kernel import runner
from restock.kernel.service import Service

ROOT = Path(__file__).parents[2]
TOPOLOGY = tomllib.loads((ROOT / "contracts/topology.toml").read_text())
DRAWN: dict[str, dict[str, Any]] = TOPOLOGY["services"]
SERVICES = {service.name: service for service in system.services()}


def _subjects(kinds: Any) -> set[str]:
    return {kind.subject for kind in kinds}


def _events(parent: type[Event] = Event) -> set[type[Event]]:
    """Every event type; those beginning with an underscore are parents of some."""
    kinds: set[type[Event]] = set()
    for kind in parent.__subclasses__():
        kinds |= _events(kind)
        if not kind.__name__.startswith("_"):
            kinds.add(kind)
    return kinds


def _calls(service: Service) -> set[str]:
    """Whom its settings let it ask: `<service>_url` or `<service>_upstream`, and the keys."""
    fields = service.settings.__struct_fields__
    asked = {name for name in SERVICES if {f"{name}_url", f"{name}_upstream"} & set(fields)}
    return asked - {service.name} | {"auth"}


def test_the_same_services() -> None:
    assert set(DRAWN) == set(SERVICES)


@pytest.mark.parametrize("name", DRAWN)
def test_a_service_is_as_drawn(name: str) -> None:
    drawn, service = DRAWN[name], SERVICES[name]
    assert system.PARTS[name].port == service.port
    assert system.PARTS[name].database is service.database
    assert drawn.get("own_port", drawn["port"]) == service.port
    assert ("database" in drawn) is service.database
    assert drawn.get("database", f"restock_{name}") == f"restock_{name}"
    assert set(drawn["publishes"]) == _subjects(service.publishes)
    assert set(drawn["consumes"]) == _subjects(service.consumers)
    assert set(drawn["calls"]) == _calls(service)


def test_the_gateway_listens_as_drawn() -> None:
    assert DRAWN["gateway"]["port"] == gateway.PUBLIC_PORT
    assert DRAWN["gateway"]["own_port"] == gateway.PROCESS_PORT
    assert TOPOLOGY["engines"]["envoy"]["admin_port"] == gateway.ADMIN_PORT
    assert DRAWN["notification"]["worker_ports"] == gateway.SOCKET_PORT
    ports = {name: drawn["port"] for name, drawn in DRAWN.items() if name != "gateway"}
    assert ports == gateway.SERVICE_PORTS


def test_streams_are_as_drawn() -> None:
    drawn = TOPOLOGY["engines"]["nats"]
    assert drawn["port"] == system.NATS_PORT == runner.NATS_PORT
    assert drawn["streams"] == list(streams.LARGEST_BYTES)


def test_no_port_is_taken_twice() -> None:
    ports = [drawn[key] for drawn in DRAWN.values() for key in ("port", "own_port") if key in drawn]
    ports += [TOPOLOGY["engines"]["nats"]["port"], TOPOLOGY["engines"]["envoy"]["admin_port"]]
    assert len(ports) == len(set(ports))
    assert max(ports) < DRAWN["notification"]["worker_ports"]


@pytest.mark.parametrize("kind", sorted(_events(), key=lambda kind: kind.subject))
def test_each_event_is_published_by_its_owner(kind: type[Event]) -> None:
    owner = kind.subject.split(".")[0]
    publishers = {name for name, service in SERVICES.items() if kind in service.publishes}
    assert publishers == {owner}
    assert kind.__module__ == f"restock.events.{owner}"
    said = "".join(kind.subject.split(".")[1:]).replace("_", "")
    assert kind.__name__.lower() == said  # ItemFellLow = inventory.item.fell_low


def test_whatever_is_consumed_is_published() -> None:
    published = {subject for drawn in DRAWN.values() for subject in drawn["publishes"]}
    heard = {s for drawn in DRAWN.values() for s in (*drawn["consumes"], *drawn["follows"])}
    assert heard <= published


def test_nobody_waits_for_himself_in_a_circle() -> None:
    """Calls over HTTP form no cycle, auth's look at its own keys apart."""
    calls = {name: set(drawn["calls"]) - {name} for name, drawn in DRAWN.items()}
    while calls:
        free = {name for name, asked in calls.items() if not asked & set(calls)}
        assert free, f"a circle among {sorted(calls)}"
        calls = {name: asked for name, asked in calls.items() if name not in free}
