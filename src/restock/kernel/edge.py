"""The edge of a service: where a request becomes a principal and a transaction, and where the
transaction ends before the first byte of the answer leaves (decision 0009).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from restock.kernel import idempotency
from restock.kernel.database import Tx
from restock.kernel.faults import Fault, Internal, TooLarge, Unauthenticated
from restock.kernel.idempotency import AlreadyAnswered, RequestKey
from restock.kernel.identity import Principal
from restock.kernel.service import Context
from restock.kernel.telemetry import log, request_id
from restock.kernel.wire import encode

BODY_MOST = 1024 * 1024
# What a client mends by other headers, not by another body: the key must stay good for that.
NEVER_KEPT = (401, 412, 428, 429)

KeyRule = Literal["kept", "ledger"] | None


class ClientGone(Exception):
    """The client left before it had sent its whole request."""


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
    lost_claim: bool = False

    def open_tx(self) -> Tx:
        if self.tx is None:
            self.tx = self.context.database.begin(single=self.operation.single)
            if self.keeps:
                self.tx.on_begin = self._claim
        return self.tx

    @property
    def keeps(self) -> bool:
        """Whether the answer is to be kept under the request's key."""
        return self.key is not None and self.operation.key == "kept"

    async def settle(self, status: int, headers: list[Any], body: bytes) -> None:
        """End the transaction as the answer's status says.

        Raises AlreadyAnswered when the key got its answer meanwhile, and DatabaseAway.
        """
        kept = self.keeps and status < 500 and status not in NEVER_KEPT and not self.lost_claim
        if kept:
            await self.open_tx().begin()
        if self.tx is None:
            return
        refused = status >= 400 or self.lost_claim
        if refused and not kept and not (self.tx.keep_on_refusal and status < 500):
            await self.tx.rollback()
            return
        if kept and self.who is not None and self.key is not None:
            if refused and not self.tx.keep_on_refusal:
                await self.tx.rollback_to_savepoint()
            await idempotency.keep(self.tx, self.who, self.key, status, _texts(headers), body)
        await self.tx.commit()

    async def _claim(self) -> None:
        """The transaction's first statement: the key is ours, or its answer is there already.

        So late, that whatever a handler does before it needs its database holds no connection.
        """
        if self.tx is None or self.who is None or self.key is None:
            return
        try:
            await idempotency.claim(self.tx, self.who, self.key)
        except (AlreadyAnswered, idempotency.KeyReused):
            self.lost_claim = True
            raise
        await self.tx.savepoint()


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
                receive = await self._read_key(scope, receive, exchange)
            await self.app(scope, receive, _settling(exchange, send))
        finally:
            if exchange.tx is not None:
                await exchange.tx.rollback()  # nothing is left to undo after a commit

    async def _read_key(self, scope: Scope, receive: Receive, exchange: Exchange) -> Receive:
        """The key, if there is one. Raises AlreadyAnswered."""
        header = _header(scope["headers"], b"idempotency-key")
        if header is None or exchange.who is None:
            return receive
        body, receive = await _whole_body(receive)
        method = str(scope["method"])  # type: ignore[typeddict-item]
        exchange.key = idempotency.read_key(header.decode("latin-1"), method, scope["path"], body)
        if exchange.keeps:
            async with self.context.database.tx(single=True) as tx:
                await idempotency.look_up(tx, exchange.who, exchange.key)
        return receive


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
            for part in await _settled(exchange, held, body) or (held, message):
                await send(part)
            return
        await send(message)

    return settle_then_send


async def _settled(exchange: Exchange, start: Any, body: bytes) -> list[Message] | None:
    """End the transaction; the answer to give instead, where that went otherwise than meant."""
    try:
        await exchange.settle(start["status"], start["headers"], body)
    except AlreadyAnswered as answered:
        return kept_messages(answered)
    except Fault as fault:
        return problem_messages(fault)
    except Exception as error:  # nothing has been sent yet, so it can still be said properly
        log.error("request.not_settled", exc_info=error)
        return problem_messages(Internal())
    return None


async def _whole_body(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it again. Raises TooLarge and ClientGone."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone()  # half a body must not be taken for a whole one
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


def kept_messages(answered: AlreadyAnswered) -> list[Message]:
    """A kept answer as ASGI messages."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in [*answered.headers, idempotency.REPLAYED]
    ]
    start: Any = {"type": "http.response.start", "status": answered.status, "headers": headers}
    return [start, {"type": "http.response.body", "body": answered.body, "more_body": False}]


def _header(headers: Any, wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)


def _texts(headers: list[Any]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
