"""The health of the whole is that of its worst part."""

from pathlib import Path

import pytest

from tests.fixtures.ports import free_port
from tests.gateway.processes import SERVICES, GatewayProcess, gateway_process


async def test_ready_when_every_part_is(process: GatewayProcess) -> None:
    status, found = await process.whole()
    assert status == 200
    assert found["service"] == "gateway"
    assert found["status"] == "ready"
    assert {name: part["status"] for name, part in found["services"].items()} == dict.fromkeys(
        (*SERVICES, "envoy"), "ready"
    )


@pytest.mark.parametrize("name", SERVICES)
async def test_degraded_still_works(process: GatewayProcess, name: str) -> None:
    process.health[name] = {"status": "degraded", "checks": {"nats": "away"}}
    status, found = await process.whole()
    assert (status, found["status"]) == (200, "degraded")
    assert found["services"][name] == {"status": "degraded", "checks": {"nats": "away"}}


@pytest.mark.parametrize("name", SERVICES)
async def test_unready_is_503(process: GatewayProcess, name: str) -> None:
    process.health[name] = {"status": "unready", "checks": {"database": "away"}}
    status, found = await process.whole()
    assert (status, found["status"]) == (503, "unready")
    assert found["services"][name]["checks"] == {"database": "away"}
    others = [found["services"][other]["status"] for other in SERVICES if other != name]
    assert others == ["ready"] * 3


async def test_a_service_that_does_not_answer_is_away(process: GatewayProcess) -> None:
    await process.stubs["vendor"].stop()
    status, found = await process.whole()
    assert (status, found["status"]) == (503, "unready")
    assert found["services"]["vendor"] == {"status": "away"}


async def test_each_socket_worker_counts(process: GatewayProcess) -> None:
    process.health["worker"] = {"status": "unready", "checks": {}}
    status, found = await process.whole()
    assert status == 503
    assert found["services"]["notification"]["status"] == "unready"


async def test_one_of_two_places_away_is_degraded(tmp_path: Path) -> None:
    """Not unready: so it is whenever a deploy restarts them one after the other."""
    away = f"127.0.0.1:{free_port()}"
    async with gateway_process(tmp_path, vendor_too=away) as process:
        status, found = await process.whole()
        assert (status, found["status"]) == (200, "degraded")
        assert found["services"]["vendor"] == {"status": "degraded"}
        await process.stubs["vendor"].stop()
        assert (await process.whole())[0] == 503


async def test_an_answer_that_is_no_health_is_away(process: GatewayProcess) -> None:
    process.health["auth"] = {"status": "fine"}
    status, found = await process.whole()
    assert status == 503
    assert found["services"]["auth"] == {"status": "away"}


async def test_the_process_answers_the_same_on_its_own_port(process: GatewayProcess) -> None:
    port = process.environ["RESTOCK_GATEWAY_PORT"]
    async with process.session.get(f"http://127.0.0.1:{port}/health") as answer:
        assert await answer.json() == (await process.whole())[1]
