"""A gateway in memory: enough of the contract to hold the client against, and trouble on demand.

`trouble` is a list of (part of the path, what happens); the
first entry that fits a request is used up by it (a third part lets so many pass before):
- "lose": the connection breaks before anything is done
- "lose-answer", "hide-answer": everything is done, then the connection breaks, or a 503 comes
- a number: a problem with that status; 429 and 503 carry Retry-After
With `weather` every fifth request to inventory meets one of these, by chance.
"""

import asyncio
import json
import random
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from aiohttp import web

from tests.fixtures.ports import free_port

MOMENT = "2024-05-01T00:00:00Z"


@dataclass
class Stub:
    url: str = ""
    accounts: dict = field(default_factory=dict)  # email → (password, user)
    tokens: dict = field(default_factory=dict)  # access → email
    refreshes: dict = field(default_factory=dict)  # refresh → email
    items: dict = field(default_factory=dict)
    ledger: list = field(default_factory=list)
    notifications: list = field(default_factory=list)
    vendors: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)  # key → (hash, status, body)
    trouble: list = field(default_factory=list)
    weather: random.Random | None = None
    seen: list = field(default_factory=list)  # (method, path, key) of every request
    in_flight: dict = field(default_factory=dict)  # item → movements being worked on
    overlaps: int = 0  # movements of one item that met
    expires_in: int = 900
    page_size: int = 200

    def calls(self, part: str) -> list:
        return [call for call in self.seen if part in call[1]]


def plain(value):
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(value)


def answer(status, body=None, headers=None):
    text = "" if body is None else json.dumps(body, default=plain)
    return web.Response(status=status, text=text, headers=headers, content_type="application/json")


def problem(status, code, headers=None, **more):
    body = {"code": code, "title": code, "status": status, "requestId": "r1", **more}
    return answer(status, body, headers)


def app_of(stub: Stub) -> web.Application:
    app = web.Application(middlewares=[_trouble(stub)])
    _auth_routes(app, stub)
    _item_routes(app, stub)
    _movement_routes(app, stub)
    _other_routes(app, stub)
    return app


def _trouble(stub: Stub):
    @web.middleware
    async def middleware(request, handler):
        stub.seen.append((request.method, request.path, request.headers.get("Idempotency-Key")))
        entry = next((e for e in stub.trouble if e[0] in request.path), None)
        what = None
        if entry is not None:
            place = stub.trouble.index(entry)
            if len(entry) == 3 and entry[2] > 0:
                stub.trouble[place] = (*entry[:2], entry[2] - 1)
            else:
                del stub.trouble[place]
                what = entry[1]
        elif stub.weather and "/inventory" in request.path and stub.weather.random() < 0.2:
            what = stub.weather.choice(["lose", "lose-answer", 429, 503, 504])
        if what == "lose":
            request.transport.abort()
            return web.Response()
        if isinstance(what, int):
            after = {"Retry-After": "0"} if what in (429, 503) else {}
            return problem(what, f"stub.{what}", after)
        response = await handler(request)
        if what == "lose-answer":
            request.transport.abort()
        if what == "hide-answer":
            return problem(503, "stub.503", {"Retry-After": "0"})
        return response

    return middleware


def _signed(stub: Stub, email: str, *, status: int) -> web.Response:
    access, refresh = f"a-{uuid.uuid4()}", f"r-{uuid.uuid4()}"
    stub.tokens[access] = email
    stub.refreshes[refresh] = email
    user = stub.accounts[email][1]
    return answer(
        status,
        {"user": user, "token": access, "refreshToken": refresh, "expiresIn": stub.expires_in},
    )


def _auth_routes(app: web.Application, stub: Stub) -> None:
    async def register(request):
        data = await request.json()
        if data["email"] in stub.accounts:
            return problem(409, "auth.email_taken")
        user = {
            "id": str(uuid.uuid4()),
            "email": data["email"],
            "name": data["name"],
            "role": data.get("role", "user"),
            "workspaceId": str(uuid.uuid4()),
            "createdAt": MOMENT,
            "updatedAt": MOMENT,
            "somethingNew": 1,
        }
        stub.accounts[data["email"]] = (data["password"], user)
        return _signed(stub, data["email"], status=201)

    async def login(request):
        data = await request.json()
        known = stub.accounts.get(data["email"])
        if known is None or known[0] != data["password"]:
            return problem(401, "auth.wrong_credentials")
        return _signed(stub, data["email"], status=200)

    async def refresh(request):
        email = stub.refreshes.pop((await request.json())["refreshToken"], None)
        return problem(401, "auth.ended") if email is None else _signed(stub, email, status=200)

    async def verify(request):
        user = user_of(stub, request)
        return problem(401, "auth.unauthenticated") if user is None else answer(200, user)

    app.router.add_post("/api/auth/register", register)
    app.router.add_post("/api/auth/login", login)
    app.router.add_post("/api/auth/refresh", refresh)
    app.router.add_get("/api/auth/verify", verify)


def user_of(stub: Stub, request):
    email = stub.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
    return stub.accounts[email][1] if email else None


def shown(item):
    threshold = item["minThreshold"]
    low = threshold is not None and item["quantity"] <= threshold
    status = "out" if item["quantity"] == 0 else "low" if low else "ok"
    return item | {"isLowStock": low, "status": status}


def page(stub: Stub, request, rows):
    limit = min(int(request.query.get("limit", 50)), stub.page_size)
    start = int(request.query.get("cursor", 0))
    headers = {}
    if len(rows) > start + limit:
        more = f"http://elsewhere.example{request.path}?limit={limit}&cursor={start + limit}"
        headers["Link"] = f'<{more}>; rel="next"'
    return answer(200, rows[start : start + limit], headers)


def write_row(stub: Stub, item, delta: Decimal, data, user):
    before = item["quantity"]
    item["quantity"] = before + delta
    item["version"] += 1
    rows = [row for row in stub.ledger if row["itemId"] == item["id"]]
    row = {
        "id": str(uuid.uuid4()),
        "itemId": item["id"],
        "userId": user["id"],
        "previousQuantity": before,
        "newQuantity": item["quantity"],
        "delta": delta,
        "reason": data["reason"],
        "note": data.get("note"),
        "ref": data.get("ref"),
        "seq": len(rows) + 1,
        "createdAt": MOMENT,
    }
    stub.ledger.append(row)
    tell(stub, item, before, user, first=not rows)
    return row


def tell(stub: Stub, item, before, user, *, first):
    after, threshold = item["quantity"], item["minThreshold"]
    floor = 0 if threshold is None else threshold
    if threshold is not None and after <= threshold and (first or before > threshold):
        notify(stub, item, user, "low_stock")
    if before > 0 and after == 0:
        notify(stub, item, user, "out_of_stock")
    if not first and before <= floor < after:
        notify(stub, item, user, "back_in_stock")


def notify(stub: Stub, item, user, kind):
    stub.notifications.insert(
        0,
        {
            "id": str(uuid.uuid4()),
            "userId": user["id"],
            "type": kind,
            "message": f"{kind}: {item['name']}",
            "itemId": item["id"],
            "read": False,
            "createdAt": MOMENT,
            "seq": len(stub.notifications) + 1,
            "data": {},
        },
    )


def _move(stub: Stub, item, data, user):
    """(status, body) of one movement."""
    delta = Decimal(str(data["delta"]))
    if item is None:
        return 404, {"code": "inventory.item_not_found", "title": "gone", "status": 404}
    if item["quantity"] + delta < 0:
        body = {"code": "inventory.insufficient_stock", "title": "too little", "status": 409}
        return 409, body | {"available": item["quantity"]}
    return 201, write_row(stub, item, delta, data, user)


def _item_routes(app: web.Application, stub: Stub) -> None:
    async def create(request):
        user = user_of(stub, request)
        if user is None:
            return problem(401, "auth.unauthenticated")
        data = await request.json()
        key = request.headers["Idempotency-Key"]
        if key in stub.answers:
            return answer(201, stub.answers[key])
        if any(i["sku"] == data["sku"] for i in stub.items.values() if data.get("sku")):
            return problem(409, "inventory.sku_taken")
        item = {
            "id": str(uuid.uuid4()),
            "name": data["name"],
            "quantity": Decimal(0),
            "minThreshold": data["minThreshold"],
            "unit": data["unit"],
            "category": data["category"],
            "sku": data.get("sku"),
            "userId": user["id"],
            "workspaceId": user["workspaceId"],
            "createdAt": MOMENT,
            "updatedAt": MOMENT,
            "version": 0,
        }
        stub.items[item["id"]] = item
        opening = {"reason": "Initial stock"}
        write_row(stub, item, Decimal(str(data["quantity"])), opening, user)
        stub.answers[key] = shown(item)
        return answer(201, shown(item))

    async def listing(request):
        return page(stub, request, [shown(i) for i in reversed(stub.items.values())])

    async def one(request):
        item = stub.items.get(request.match_info["id"])
        return answer(200, shown(item)) if item else problem(404, "inventory.item_not_found")

    async def logs(request):
        rows = [r for r in reversed(stub.ledger) if r["itemId"] == request.match_info["id"]]
        return page(stub, request, rows)

    root = "/api/inventory"
    app.router.add_post(f"{root}/items", create)
    app.router.add_get(f"{root}/items", listing)
    app.router.add_get(f"{root}/items/{{id}}", one)
    app.router.add_get(f"{root}/items/{{id}}/logs", logs)


def _movement_routes(app: web.Application, stub: Stub) -> None:
    async def movement(request):
        user = user_of(stub, request)
        if user is None:
            return problem(401, "auth.unauthenticated")
        item_id = request.match_info["id"]
        stub.in_flight[item_id] = stub.in_flight.get(item_id, 0) + 1
        stub.overlaps += stub.in_flight[item_id] > 1
        await asyncio.sleep(0)
        stub.in_flight[item_id] -= 1
        key = request.headers["Idempotency-Key"]
        if key not in stub.answers:
            status, body = _move(stub, stub.items.get(item_id), await request.json(), user)
            if status != 201:
                return answer(status, body)
            stub.answers[key] = body
        return answer(201, stub.answers[key])

    async def batch(request):
        user = user_of(stub, request)
        data = await request.json()
        key = request.headers["Idempotency-Key"]
        results = []
        for place, change in enumerate(data["movements"]):
            if (key, place) in stub.answers:
                results.append({"status": 201, "movement": stub.answers[key, place]})
                continue
            status, body = _move(stub, stub.items.get(change["itemId"]), change, user)
            if status == 201:
                stub.answers[key, place] = body
                results.append({"status": 201, "movement": body})
            else:
                results.append({"status": status, "problem": body})
        return answer(200, {"results": results})

    root = "/api/inventory"
    app.router.add_post(f"{root}/items/{{id}}/movements", movement)
    app.router.add_post(f"{root}/movements:batch", batch)


async def _ready(request):
    return answer(200, {"status": "ready"})


def _other_routes(app: web.Application, stub: Stub) -> None:
    async def told(request):
        return page(stub, request, stub.notifications)

    async def forget(request):
        before = len(stub.notifications)
        wanted = request.match_info["id"]
        stub.notifications[:] = [n for n in stub.notifications if n["id"] != wanted]
        gone = before > len(stub.notifications)
        return answer(204) if gone else problem(404, "notification.not_found")

    async def vendor(request):
        user = user_of(stub, request)
        data = await request.json()
        if any(v["email"] == data["email"] for v in stub.vendors):
            return problem(409, "vendor.email_taken")
        vendor = data | {
            "id": str(uuid.uuid4()),
            "rating": 0,
            "isActive": True,
            "registeredAt": MOMENT,
            "workspaceId": user["workspaceId"],
        }
        stub.vendors.append(vendor)
        return answer(201, vendor)

    async def vendors(request):
        wanted = request.query.get("search", "")
        return page(stub, request, [v for v in stub.vendors if wanted in v["name"]])

    async def contact(request):
        user = user_of(stub, request)
        data = await request.json()
        pair = (request.match_info["id"], data["itemId"])
        if any((r["vendorId"], r["itemId"]) == pair for r in stub.requests):
            return problem(409, "vendor.request_open")
        made = data | {
            "id": str(uuid.uuid4()),
            "vendorId": pair[0],
            "userId": user["id"],
            "workspaceId": user["workspaceId"],
            "status": "pending",
            "createdAt": MOMENT,
        }
        stub.requests.append(made)
        return answer(201, made)

    app.router.add_get("/health", _ready)
    app.router.add_get("/api/notifications", told)
    app.router.add_delete("/api/notifications/{id}", forget)
    app.router.add_post("/api/vendors", vendor)
    app.router.add_get("/api/vendors", vendors)
    app.router.add_post("/api/vendors/{id}/contact", contact)


@asynccontextmanager
async def serve_stub():
    """A running stub; `stub.url` is where."""
    stub = Stub()
    runner = web.AppRunner(app_of(stub), shutdown_timeout=1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stub.url = f"http://127.0.0.1:{port}"
    try:
        yield stub
    finally:
        await runner.cleanup()
