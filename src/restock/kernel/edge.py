"""The edge of a service: where a request becomes a principal and a transaction, and where the
transaction ends before the first byte of the answer leaves (decision 0009).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from restock.kernel import idempotency
from restock.kernel.database import DatabaseAway, Tx
from restock.kernel.faults import Fault, TooLarge, Unauthenticated
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.service import Context
from restock.kernel.telemetry import request_id
from restock.kernel.wire import encode

BODY_MOST = 1024 * 1024
NEVER_KEPT = (401, 429)

KeyRule = Literal["kept", "ledger"] | None


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route says of itself to the edge."""

    name: str
    public: bool
    single: bool
    key: KeyRule
    faults: tuple[type[Fault], ...]


@dataclass(slots=True)
class Exchange:
    """One request and what the edge found out about it."""

    context: Context
    operation: Operation
    who: Principal | None = None
    key: RequestKey | None = None
    tx: Tx | None = None
    claimed: bool = False

    def open_tx(self) -> Tx:
        if self.tx is None:
            self.tx = self.context.database.begin(single=self.operation.single)
        return self.tx

    async def settle(self, status: int, headers: list[Any], body: bytes) -> None:
        """End the transaction as the answer's status says. Raises DatabaseAway."""
        if self.tx is None:
            return
        refused = status >= 400
        keeps = self.claimed and status < 500 and status not in NEVER_KEPT
        if refused and not keeps and not (self.tx.keep_on_refusal and status < 500):
            await self.tx.rollback()
            return
        if keeps:
            assert self.who is not None  # noqa: S101  it claimed the key
            assert self.key is not None  # noqa: S101
            if refused and not self.tx.keep_on_refusal:
                await self.tx.rollback_to_savepoint()
            await idempotency.keep(self.tx, self.who, self.key, status, _texts(headers), body)
        await self.tx.commit()


class Edge:
    """ASGI middleware around each route."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self.app = app
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = scope["route_handler"].opt.get("operation")
        if operation is None:
            await self.app(scope, receive, send)
            return
        exchange = Exchange(self.context, operation)
        scope["state"]["exchange"] = exchange
        try:
            if not operation.public:
                token = bearer_token(scope["headers"])
                exchange.who = await self.context.verifier.verify(token)
            if operation.key is not None and exchange.who is not None:
                receive, kept = await self._read_key(scope, receive, exchange)
                if kept is not None:
                    await exchange.open_tx().rollback()
                    await _send_kept(send, kept)
                    return
            await self.app(scope, receive, _settling(exchange, send))
        finally:
            if exchange.tx is not None:
                await exchange.tx.rollback()  # nothing is left to undo after a commit

    async def _read_key(
        self, scope: Scope, receive: Receive, exchange: Exchange
    ) -> tuple[Receive, idempotency.KeptAnswer | None]:
        header = _header(scope["headers"], b"idempotency-key")
        if header is None:
            return receive, None
        body, receive = await _whole_body(receive)
        method = str(scope["method"])  # type: ignore[typeddict-item]
        exchange.key = idempotency.read_key(header.decode("latin-1"), method, scope["path"], body)
        if exchange.operation.key != "kept":
            return receive, None
        assert exchange.who is not None  # noqa: S101  keys are read after the token
        tx = exchange.open_tx()
        kept = await idempotency.claim(tx, exchange.who, exchange.key)
        if kept is None:
            await tx.savepoint()
            exchange.claimed = True
        return receive, kept


def bearer_token(headers: Any) -> str:
    """The token of the one Authorization header (RFC 6750). Raises Unauthenticated."""
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        raise Unauthenticated()
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated()
    return str(token.strip())


def problem_messages(fault: Fault) -> list[Message]:
    """A fault as the ASGI messages of its problem document."""
    body = encode(fault.problem(request_id() or ""))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in fault.headers.items()),
    ]
    return [
        {"type": "http.response.start", "status": fault.status, "headers": headers},
        {"type": "http.response.body", "body": body, "more_body": False},
    ]


def _settling(exchange: Exchange, send: Send) -> Callable[[Message], Awaitable[None]]:
    """A `send` that ends the transaction before it lets the answer go."""
    start: Message | None = None

    async def settle_then_send(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        if start is not None:
            held: Any = start
            start = None
            body: Any = message.get("body", b"")
            try:
                await exchange.settle(held["status"], held["headers"], body)
            except DatabaseAway as fault:
                for part in problem_messages(fault):
                    await send(part)
                return
            await send(held)
        await send(message)

    return settle_then_send


async def _whole_body(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it again. Raises TooLarge."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MOST:
            raise TooLarge()
        if not message.get("more_body", False):
            break
    body = b"".join(parts)
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again


async def _send_kept(send: Send, kept: idempotency.KeptAnswer) -> None:
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in [*kept.headers, idempotency.REPLAYED]
    ]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body, "more_body": False})


def _header(headers: Any, wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)


def _texts(headers: list[Any]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
