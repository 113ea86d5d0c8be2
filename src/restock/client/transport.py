"""One call: sent, and sent again for as long as that is safe and patience lasts.

What is repeated:
- 429, after its Retry-After: nothing was done.
- no connection could be made: nothing was sent.
- the connection broke, or 502, 503, 504 came: only where a second sending has no second effect.
  That is GET and DELETE, and every call that carries an Idempotency-Key (all other POST and PATCH
  outside `/api/auth`).
- 401, once, with a renewed token.
Every other answer is the caller's: a value, or an ApiProblem.
"""

import asyncio
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import msgspec

from restock.client.pacing import Pacer
from restock.client.refusals import ApiProblem, GatewayUnreachable

T = TypeVar("T")

FIRST_WAIT = 0.1  # seconds
LONGEST_WAIT = 5.0
ATTEMPT_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
AWAY = {502, 503, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `params` and `body` leave out what is None or UNSET themselves.

    `key` is its Idempotency-Key; `repeatable` says that a second sending has no second effect.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = msgspec.UNSET
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    repeatable: bool = True
    paced: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, kind: type[T]) -> T:
        """The body as one kind. Raises msgspec.DecodeError when it isn't."""
        return _decoder(kind).decode(self.body)


class TokenSource:
    """Where the transport gets the token of a call, and a newer one when that was refused."""

    async def token(self) -> str | None:
        """The token to send now; None sends none."""
        return None

    async def renew(self, refused: str) -> str | None:
        """A token other than `refused`, or None when there is no other."""
        return None


class Transport:
    """Calls to one gateway. `patience` is how long, in seconds, one call may be repeated."""

    def __init__(self, url: str, *, patience: float = 30.0, pacer: Pacer | None = None) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        self.pacer = pacer or Pacer()
        self.limited = 0  # answers 429 so far
        self.repeated = 0  # sendings again for any other reason
        self._http: aiohttp.ClientSession | None = None

    async def open(self, connections: int) -> None:
        """Make ready for calls, at most `connections` at once."""
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=30)
        self._http = unrepeating_session(
            connector=connector, timeout=ATTEMPT_TIMEOUT, headers={"User-Agent": "restock"}
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def send(self, call: Call, tokens: TokenSource | None = None) -> Reply:
        """The 2xx answer to a call.

        Raises ApiProblem for a refusal and GatewayUnreachable when no answer came in time.
        """
        attempts = _Attempts(self, call)
        token = await tokens.token() if tokens else None
        renewed = False
        while True:
            try:
                reply = await self._attempt(call, token)
            except aiohttp.ClientConnectorError as error:
                await attempts.wait_after(error, sent=False)
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                await attempts.wait_after(error, sent=True)
                continue
            if reply.status < 300:
                return reply
            if reply.status == 404 and call.method == "DELETE" and attempts.maybe_done:
                return reply  # gone by an earlier sending whose answer was lost
            problem = ApiProblem.read(reply.status, reply.body, reply.headers)
            if reply.status == 401 and tokens and token and not renewed:
                renewed = True
                token = await tokens.renew(token)
                if token is not None:
                    continue
            await attempts.wait_out(problem)
            if tokens:
                token = await tokens.token()

    async def _attempt(self, call: Call, token: str | None) -> Reply:
        if self._http is None:
            raise RuntimeError("Open the gateway first: async with Gateway(…) as gateway")
        headers = dict(call.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        data = None
        if call.body is not msgspec.UNSET:
            data = encode(call.body)
            headers["Content-Type"] = "application/json"
        if call.paced:
            await self.pacer.turn()
        async with self._http.request(
            call.method,
            self.url + call.path,
            params=_query(call.params),
            data=data,
            headers=headers,
            allow_redirects=False,
        ) as response:
            body = await response.read()
            if call.paced and response.status != 429:
                self.pacer.accepted()
            return Reply(response.status, response.headers, body)


class _Attempts:
    """The tries of one call: what may be tried again, and when."""

    def __init__(self, transport: Transport, call: Call) -> None:
        self._transport = transport
        self._call = call
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + transport.patience
        self._waits = 0
        self.maybe_done = False

    async def wait_after(self, error: Exception, *, sent: bool) -> None:
        """Wait before the next try after a broken connection; raises GatewayUnreachable."""
        self.maybe_done |= sent
        if sent and not self._call.repeatable:
            raise self._unreachable(error) from error
        self._transport.repeated += 1
        if not await self._sleep(self._growing_wait()):
            raise self._unreachable(error) from error

    async def wait_out(self, problem: ApiProblem) -> None:
        """Wait before the next try after a refusal, or raise it."""
        asked = retry_after(problem.headers)
        if problem.status == 429:
            self._transport.limited += 1
            if self._call.paced:
                self._transport.pacer.refused(asked if asked is not None else 1.0)
            wait = asked or 0.0  # a paced call then waits for its turn
            if not self._call.paced:
                wait = (asked or 1.0) + random.random()  # noqa: S311
        elif problem.status in AWAY and self._call.repeatable:
            self.maybe_done = True  # it may have reached the service all the same
            self._transport.repeated += 1
            wait = max(asked or 0.0, self._growing_wait())
        else:
            raise problem
        if not await self._sleep(wait):
            raise problem

    def _growing_wait(self) -> float:
        """Twice as long each time, and anywhere in its upper half, so that crowds disperse."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._waits, 16))
        self._waits += 1
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 – nothing secret in a delay

    async def _sleep(self, wait: float) -> bool:
        """False when patience would end before."""
        if self._now() + wait > self._deadline:
            return False
        await asyncio.sleep(wait)
        return True

    def _unreachable(self, error: Exception) -> GatewayUnreachable:
        call = self._call
        reason = str(error) or type(error).__name__
        return GatewayUnreachable(
            f"{call.method} {self._transport.url}{call.path}: {reason}",
            may_have_happened=self.maybe_done,
        )


def unrepeating_session(**options: Any) -> aiohttp.ClientSession:
    """A session that sends nothing again by itself: a DELETE that was repeated unseen would seem
    never done, and a poll would lose the events of its first answer."""
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), **options)
    session._retry_connection = False
    return session


def new_key() -> str:
    """An Idempotency-Key nobody else has."""
    return str(uuid.uuid4())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds a Retry-After asks for; None without a readable one."""
    asked = headers.get("Retry-After")
    if asked is None:
        return None
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def encode(body: Any) -> bytes:
    """JSON with Decimals as plain numbers."""
    return _encoder.encode(_without_unset(body))


def _without_unset(body: Any) -> Any:
    if isinstance(body, dict):
        return {
            name: _without_unset(value)
            for name, value in body.items()
            if value is not msgspec.UNSET
        }
    if isinstance(body, list):
        return [_without_unset(value) for value in body]
    if isinstance(body, Decimal):
        return Decimal(format(body, "f"))
    return body


def _query(params: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
        if value is not None
    }


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]


_encoder = msgspec.json.Encoder(decimal_format="number")
