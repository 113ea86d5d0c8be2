"""What the gateway process serves, seen through Envoy."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from restock.kernel.web import openapi_document
from restock.system import load
from tests.gateway.processes import SERVICES, GatewayProcess, gateway_process
from tests.gateway.stubs import settled


async def test_openapi_has_every_operation_of_every_service(process: GatewayProcess) -> None:
    for name in SERVICES:
        process.documents[name] = openapi_document(load(name))
    wanted = {path for document in process.documents.values() for path in document["paths"]}
    merged = await _once(process, lambda merged: set(merged["paths"]) == wanted | {"/health"})
    assert merged["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    known = merged["components"]["schemas"]
    for name in re.findall(
        r'"#/components/schemas/([^"]+)"', await _text(process, "/openapi.json")
    ):
        assert name in known


async def test_openapi_names_who_is_missing(process: GatewayProcess) -> None:
    for name in ("auth", "inventory"):
        process.documents[name] = openapi_document(load(name))
    missing = "not shown: notification, vendor"
    merged = await _once(process, lambda merged: missing in merged["info"]["description"])
    assert "/api/auth/login" in merged["paths"]


async def _once(process: GatewayProcess, told: Callable[[Any], bool]) -> Any:
    """The document as soon as it is so: an earlier one is kept for a moment."""
    merged: Any = None

    async def is_told() -> bool:
        nonlocal merged
        async with process.session.get(f"{process.url}/openapi.json") as answer:
            merged = await answer.json()
        return told(merged)

    await settled(is_told)
    return merged


async def test_the_reference_page_takes_nothing_from_elsewhere(process: GatewayProcess) -> None:
    async with process.session.get(f"{process.url}/docs") as answer:
        page = await answer.text()
        policy = answer.headers["content-security-policy"]
        assert answer.content_type == "text/html"
    for part in policy.split("; "):
        assert set(part.split()[1:]) <= {"'self'", "'none'", "data:"}
    used = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(used) == 6
    for place in used:
        async with process.session.get(process.url + place) as answer:
            assert answer.status == 200, place
    assert "<script>" not in page
    assert "style=" not in page


async def test_what_the_page_reads_is_openapi_3_0(process: GatewayProcess) -> None:
    """Its Swagger UI refuses 3.1."""
    process.documents["inventory"] = openapi_document(load("inventory"))
    await _once(process, lambda merged: "/api/inventory/items" in merged["paths"])
    assert "/docs/openapi-3.0.json" in await _text(process, "/docs/restock.js")
    async with process.session.get(f"{process.url}/docs/openapi-3.0.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.0.3"
    threshold = document["components"]["schemas"]["Item"]["properties"]["minThreshold"]
    assert threshold["nullable"] is True
    assert threshold["type"] == "number"


@pytest.mark.parametrize("name", ["index.html", "swagger-ui.js.map", "x", "..", ".%2e"])
async def test_no_other_file_is_served(process: GatewayProcess, name: str) -> None:
    async with process.session.get(f"{process.url}/docs/{name}") as answer:
        assert answer.status == 404


async def test_events_are_described(process: GatewayProcess) -> None:
    page = await _text(process, "/events.html")
    for subject in ("auth.session.revoked", "inventory.item.fell_low", "vendor.request.opened"):
        assert f'id="{subject}"' in page
    for word in ("minThreshold", "new_notification", "vendor_contact_request", "auth_expiring"):
        assert word in page


async def _text(process: GatewayProcess, path: str) -> str:
    async with process.session.get(process.url + path) as answer:
        assert answer.status == 200
        return str(await answer.text())


async def test_the_process_killed_and_started_again_has_its_port_back(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as it:
        assert it.process is not None
        (left,) = psutil.Process(it.process.pid).children()
        it.process.kill()
        await it.process.wait()
        await it.start()
        assert (await it.whole())[0] == 200
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE


async def test_envoy_killed_is_back_by_itself(process: GatewayProcess) -> None:
    assert process.process is not None
    (envoy,) = psutil.Process(process.process.pid).children()
    envoy.send_signal(signal.SIGKILL)
    await asyncio.to_thread(envoy.wait, 10)
    await settled(process.answers)


async def test_it_ends_cleanly(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as it:
        assert it.process is not None
        children = psutil.Process(it.process.pid).children()
        assert await it.stop() == 0
        assert [child for child in children if child.is_running()] == []


async def test_without_an_envoy_of_its_own_it_serves_the_pages(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as it:
        it.environ |= {"RESTOCK_GATEWAY_RUN_ENVOY": "false"}
        await it.stop()
        it.environ["RESTOCK_GATEWAY_LISTEN_PORT"] = it.environ["RESTOCK_GATEWAY_PORT"]
        await it.start()
        assert it.process is not None
        assert psutil.Process(it.process.pid).children() == []
        assert (await it.whole())[0] == 200
