"""What is seen from outside: structured logs, metrics, and one id that follows a request.

The gateway gives each request an `x-request-id` (a UUID). It is the trace id of the W3C
`traceparent` (https://www.w3.org/TR/trace-context/) that events carry, so the same id stands in
the access log, in each service's log, in the event and in the log of whoever consumed it.
"""

import logging
import os
import re
import sys
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO, cast
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from restock.kernel.ids import new_id
from restock.kernel.settings import environment
from restock.kernel.wire import encode

log = structlog.get_logger()

REQUESTS = Counter(
    "restock_http_requests_total", "Requests answered.", ["service", "operation", "status"]
)
REQUEST_SECONDS = Histogram(
    "restock_http_request_seconds",
    "Time from a request's arrival to its answer.",
    ["service", "operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

NO_TRACE = "00000000-0000-0000-0000-000000000000"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class Unfailing:
    """A stream where what can't be written (the disk is full) is left out, and nobody fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class OperationMetrics:
    """Counts and times one operation of this process's service.

    Finding a labelled child costs as much as using it, so each is looked for once.
    """

    def __init__(self, service: str, operation: str) -> None:
        self._labels = (service, operation)
        self._seconds = REQUEST_SECONDS.labels(service, operation)
        self._answered: dict[int, Counter] = {}

    def record(self, status: int, seconds: float) -> None:
        """One request was answered."""
        answered = self._answered.get(status)
        if answered is None:
            answered = self._answered[status] = REQUESTS.labels(*self._labels, status)
        answered.inc()
        self._seconds.observe(seconds)


def _message(error: asyncpg.PostgresError) -> str:
    return str(error.args[0]) if error.args else ""


# PostgreSQL adds the whole row that it refused, a password's hash in it, and asyncpg appends that
# to its message, which ends any traceback, whoever prints it.
asyncpg.PostgresError.__str__ = _message


def set_up_logging(level: str, form: str, **bound: Any) -> None:
    """Write log lines to standard error: one JSON object a line, or text for people."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        rendering: list[Any] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    else:
        rendering = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # the prettier ones print local variables, and with them passwords and tokens
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    # libraries log through the standard module: theirs come out the same way, warnings only
    handler = logging.StreamHandler(Unfailing(sys.stderr))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    logging.basicConfig(level=max(numeric, logging.WARNING), handlers=[handler], force=True)


def start_request(given: str | None) -> str:
    """Take the gateway's id for what follows in this task, or make one."""
    # what the gateway writes needs no parsing
    chosen = given if given and _ID.fullmatch(given) else _parsed(given or "")
    if chosen is None or chosen == NO_TRACE:
        chosen = str(new_id())
    _request_id.set(chosen)
    return chosen


def _parsed(given: str) -> str | None:
    try:
        return str(UUID(given))
    except ValueError:
        return None


def request_id() -> str | None:
    """The id of the request, or of the request that caused the event being handled."""
    return _request_id.get()


def traceparent() -> str | None:
    """The W3C header value for what this request causes; None outside a request."""
    current = _request_id.get()
    if current is None:
        return None
    return f"00-{current.replace('-', '')}-{os.urandom(8).hex()}-01"


def follow(parent: str | None) -> None:
    """Go on under the id of a `traceparent`."""
    parts = (parent or "").split("-")
    start_request(parts[1] if len(parts) == 4 else None)


def metrics() -> tuple[bytes, str]:
    """The Prometheus exposition of this service (all its workers) and its content type."""
    if "PROMETHEUS_MULTIPROC_DIR" in environment():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
    return generate_latest(), CONTENT_TYPE_LATEST


def _add_request_id(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    current = _request_id.get()
    if current is not None:
        event["request_id"] = current
    return event


def _to_json(event: dict[str, Any], **_options: Any) -> str:
    return encode({key: _plain(value) for key, value in event.items()}).decode()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
