"""The edge of a service: where a request becomes a principal and a transaction, and where the
transaction ends before the first byte of the answer leaves (decision 0009).
"""

from typing import Any
from urllib.parse import parse_qsl

import asyncpg

from restock.kernel import idempotency
from restock.kernel.database import Tx
from restock.kernel.faults import Fault, Internal, Invalid, Malformed, TooLarge, Unauthenticated
from restock.kernel.idempotency import AlreadyAnswered, KeyReused, RequestKey
from restock.kernel.identity import Principal
from restock.kernel.paging import BadCursor
from restock.kernel.reply import Answer, Headers, render
from restock.kernel.routing import Route
from restock.kernel.service import Context
from restock.kernel.telemetry import log, request_id
from restock.kernel.tenants import NOBODY
from restock.kernel.wire import encode

BODY_MOST = 1024 * 1024
# What a client mends by other headers, not by another body: the key must stay good for that.
NEVER_KEPT = (401, 412, 428, 429)


class Exchange:
    """One request, and what the edge found out about it.

    `places` are the values in its path. Of headers that came twice the first counts.
    """

    __slots__ = (
        "_query",
        "body",
        "context",
        "headers",
        "key",
        "lost_claim",
        "places",
        "route",
        "scope",
        "tx",
        "who",
    )

    def __init__(
        self,
        context: Context,
        route: Route,
        places: list[Any],
        scope: Any,
        headers: dict[bytes, bytes],
    ) -> None:
        self.context = context
        self.route = route
        self.places = places
        self.scope = scope
        self.headers = headers
        self.body = b""
        self.who: Principal | None = None
        self.key: RequestKey | None = None
        self.tx: Tx | None = None
        self.lost_claim = False
        self._query: list[tuple[str, str]] | None = None

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def peer(self) -> str:
        """The address at the other end of the connection: the gateway's, behind one."""
        client = self.scope["client"]
        return str(client[0]) if client else ""

    @property
    def query(self) -> list[tuple[str, str]]:
        if self._query is None:
            text = self.scope["query_string"].decode("utf-8", "replace")
            self._query = parse_qsl(text, keep_blank_values=True)
        return self._query

    def open_tx(self) -> Tx:
        """The request's transaction, the same whenever it is asked for."""
        if self.tx is None:
            tenant = NOBODY if self.who is None else self.who.tenant
            self.tx = self.context.database.begin(single=self.route.single, tenant=tenant)
            if self.keeps:
                self.tx.on_begin = self._claim
        return self.tx

    @property
    def keeps(self) -> bool:
        """Whether the answer is to be kept under the request's key."""
        return self.key is not None and self.route.key == "kept"

    async def answer(self, receive: Any) -> Answer:
        """The answer, its transaction ended as its status says."""
        try:
            try:
                answer = render(await self._call(receive), self.route.answers)
            except Exception as error:
                answer = self._refusal(error)
            if self.tx is None and not self.keeps:
                return answer
            try:
                await self._settle(answer)
            except Exception as error:  # nothing was sent yet, so it can still be said properly
                answer = self._refusal(error)
            return answer
        finally:
            tx, self.tx = self.tx, None
            if tx is not None:
                await tx.rollback()  # nothing is left to undo after a commit

    async def _call(self, receive: Any) -> Any:
        route = self.route
        if not route.public:
            self.who = await self.context.verifier.verify(self._token())
        given = self.headers.get(b"idempotency-key") if route.key is not None else None
        if route.plan.body is not None or given is not None:
            self.body = await _whole_body(receive)
        if given is not None and self.who is not None:
            await self._read_key(given, self.who)
        return await route.function(*route.plan.arguments(self))

    @property
    def _asked_by_cursor(self) -> bool:
        return self.route.plan.paged and any(name == "cursor" for name, _ in self.query)

    def _token(self) -> str:
        """The token of the one Authorization header (RFC 6750). Raises Unauthenticated."""
        value = self.headers.get(b"authorization", b"").decode("latin-1")
        scheme, _, token = value.partition(" ")
        token = token.strip()
        if not token or scheme.lower() != "bearer":
            raise Unauthenticated()
        if self._given_times(b"authorization") != 1:
            raise Unauthenticated()
        return token

    def _given_times(self, header: bytes) -> int:
        pairs = self.scope["headers"]
        if len(pairs) == len(self.headers):  # nothing came twice
            return int(header in self.headers)
        return sum(name == header for name, _ in pairs)

    async def _read_key(self, given: bytes, who: Principal) -> None:
        """Raises BadKey, and AlreadyAnswered or KeyReused when it was used before."""
        if self._given_times(b"idempotency-key") != 1:
            raise idempotency.BadKey("There are several.")
        method = str(self.scope["method"])
        key = idempotency.read_key(given.decode("latin-1"), method, self.path, self.body)
        if self.route.key == "kept":
            async with self.context.database.tx(single=True, tenant=who.tenant) as tx:
                await idempotency.look_up(tx, who, key)
        self.key = key

    async def _claim(self) -> None:
        """The transaction's first statement: the key is ours, or its answer is there already.

        So late, that whatever a handler does before it needs its database holds no connection.
        """
        if self.tx is None or self.who is None or self.key is None:
            return
        try:
            await idempotency.claim(self.tx, self.who, self.key)
        except (AlreadyAnswered, KeyReused):
            self.lost_claim = True
            raise
        await self.tx.savepoint()

    async def _settle(self, answer: Answer) -> None:
        """End the transaction as the answer's status says.

        Raises AlreadyAnswered when the key got its answer meanwhile, and DatabaseAway.
        """
        status = answer.status
        kept = self.keeps and status < 500 and status not in NEVER_KEPT and not self.lost_claim
        if kept:
            await self.open_tx().begin()
        tx = self.tx
        if tx is None:
            return
        refused = status >= 400 or self.lost_claim
        # no trace where the answer can't be kept: the key would stay claimed, without an answer
        leaves_trace = tx.keep_on_refusal and status < 500 and not self.keeps
        if refused and not kept and not leaves_trace:
            await tx.rollback()
            return
        if kept and self.who is not None and self.key is not None:
            if refused and not tx.keep_on_refusal:
                await tx.rollback_to_savepoint()
            headers = _texts(answer.headers)
            tx.tenant = self.who.tenant
            await idempotency.keep(tx, self.who, self.key, status, headers, answer.body)
        await tx.commit()

    def _refusal(self, error: Exception) -> Answer:
        """What is answered instead when something was raised."""
        match error:
            case Fault():
                return problem(error)
            case AlreadyAnswered():
                return _again(error)
            # what came by the URL and no PostgreSQL type can hold; anywhere else it is our mistake
            case asyncpg.CharacterNotInRepertoireError():
                return problem(Invalid("Text must not contain a NUL character."))
            case asyncpg.DataError() if self._asked_by_cursor:
                return problem(BadCursor())
        log.error("request.failed", exc_info=error)
        return problem(Internal())


def problem(fault: Fault) -> Answer:
    """A fault as its problem document."""
    headers = [(b"content-type", b"application/problem+json")]
    headers += [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in fault.headers.items()
    ]
    return Answer(fault.status, headers, encode(fault.problem(request_id() or "")))


def messages(answer: Answer) -> list[Any]:
    """An answer as ASGI messages."""
    status, headers, body = answer
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body, "more_body": False},
    ]


def problem_messages(fault: Fault) -> list[Any]:
    """A fault as the ASGI messages of its problem document."""
    return messages(problem(fault))


async def _whole_body(receive: Any) -> bytes:
    """Raises TooLarge, and Malformed: half a body must not be taken for a whole one."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Malformed("The request ended before its body did.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_MOST:
            raise TooLarge()
        if not message.get("more_body", False):
            return b"".join([*parts, part])
        parts.append(part)


def _again(answered: AlreadyAnswered) -> Answer:
    """The kept answer, marked as one."""
    headers: Headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in [*answered.headers, idempotency.REPLAYED]
        if name != "content-length"
    ]
    return Answer(answered.status, headers, answered.body)


def _texts(headers: Headers) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
